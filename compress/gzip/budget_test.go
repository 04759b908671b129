package gzip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestBudgetNeverDeadlocks has many calls with one encoder for all of them, and one that waits for its bytes, and for its
// writer, until all others are done.
func TestBudgetNeverDeadlocks(t *testing.T) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0x09, 0x6e, 0x88, 4, 0xff}
	plain := text(partSize+1<<20, 21)
	blob := member(t, Engine{ID: Pgzip, Level: 1, Variant: 4, Chunk: 1 << 20}, header, plain)
	r, _ := roundTrip(t, blob, 2)
	for _, size := range []int{1, 3} {
		budget := NewBudget(size)
		find, recreate := FindOptions{Budget: budget}, RecreateOptions{Budget: budget}
		blobIn, blobOut := io.Pipe()
		plainIn, plainOut := io.Pipe()
		var stuck, others errgroup.Group
		stuck.Go(func() error {
			_, err := Find(t.Context(), blobIn, io.Discard, find)
			return err
		})
		stuck.Go(func() error { return Recreate(t.Context(), r, bytes.NewReader(plain), plainOut, recreate) })
		_, err := blobOut.Write(blob[:len(blob)*3/4])
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			others.Go(func() error {
				_, err := Find(t.Context(), bytes.NewReader(blob), io.Discard, find)
				return err
			})
			others.Go(func() error { return Recreate(t.Context(), r, bytes.NewReader(plain), io.Discard, recreate) })
		}
		if err := others.Wait(); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = blobOut.Write(blob[len(blob)*3/4:])
			_ = blobOut.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, plainIn) }()
		if err := stuck.Wait(); err != nil {
			t.Fatal(err)
		}
		if budget.used != 0 || len(budget.waiting) != 0 {
			t.Errorf("a budget of %d: %d encoders are in use and %d calls wait at the end", size, budget.used, len(budget.waiting))
		}
	}
}

// TestBudgetShares holds who gets an encoder.
func TestBudgetShares(t *testing.T) {
	budget := NewBudget(4)
	large, other, third := newShare(budget, 0), newShare(budget, 0), newShare(budget, 1)
	must := func(s *share) {
		t.Helper()
		if err := s.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waits := func(s *share) (granted <-chan error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- s.acquire(t.Context()) }()
		for {
			budget.mu.Lock()
			n := len(budget.waiting)
			waiting := n > 0 && budget.waiting[n-1] == s
			budget.mu.Unlock()
			if waiting {
				return done
			}
			select {
			case <-done:
				t.Fatal("an encoder was given that there was no room for")
			case <-time.After(time.Millisecond):
			}
		}
	}
	for range 4 {
		must(large) // alone it has all
	}
	must(other) // nobody waits for the first one
	must(third)
	largeWaits, otherWaits := waits(large), waits(other)
	large.release()
	large.release()
	if len(budget.waiting) != 2 {
		t.Error("an encoder was given while as many as the budget has were in use")
	}
	large.release()
	if err := <-largeWaits; err != nil { // it waited longest
		t.Error(err)
	}
	large.release()
	if err := <-otherWaits; err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := third.acquire(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled call got %v", err)
	}
	for _, s := range []*share{large, other, third} {
		s.releaseAll()
	}
	if budget.used != 0 || len(budget.waiting) != 0 {
		t.Errorf("%d encoders are in use and %d calls wait at the end", budget.used, len(budget.waiting))
	}
	must(third)
	must(third) // one more than Parallel, which waits for the other to end
	thirdWaits := waits(third)
	must(other) // and stops nobody
	third.release()
	if err := <-thirdWaits; err != nil {
		t.Error(err)
	}
}
