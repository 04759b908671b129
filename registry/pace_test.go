package registry

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// All transfers of a client, in both directions, share the line.
func TestLimitRate(t *testing.T) {
	const size, rate = 100_000, 50_000
	raw, d := content(size)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a", raw)
	c, clock := newTestClient(t, srv, Options{LimitRate: rate})
	got, err := readAll(c, repoOf(srv, "a"), d)
	checkErr(t, err, nil)
	checkErr(t, c.Push(context.Background(), repoOf(srv, "b"), d, (&opener{raw: raw}).Open), nil)
	if sent, _ := srv.Blob("b", d.Digest); !bytes.Equal(got, raw) || !bytes.Equal(sent, raw) {
		t.Error("other content")
	}
	want := time.Duration(2*size/rate) * time.Second
	if got := clock.total(); got < want-2*burst || got > want+burst {
		t.Errorf("it took %v, want %v", got, want)
	}
	for _, slept := range clock.slept {
		if slept > pieceTime+leastSleep {
			t.Errorf("stood still for %v", slept)
		}
	}
}

// A transfer that waits for its share of the line does not stand still.
func TestLimitRateIsNoStall(t *testing.T) {
	raw, d := content(30_000)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a", raw)
	c := NewClient(Options{LimitRate: 100_000, StallTimeout: 100 * time.Millisecond, Retries: -1}) // with the real clock
	_, err := readAll(c, repoOf(srv, "a"), d)
	checkErr(t, err, nil)
}

func TestRequestsPerSecond(t *testing.T) {
	raw, d := content(1000)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a", raw)
	c, clock := newTestClient(t, srv, Options{RequestsPerSecond: 4})
	start := clock.now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := readAll(c, repoOf(srv, "a"), d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// The clock of the test goes on by every sleep, those that would overlap too, so this is a lower bound alone.
	if took := clock.now().Sub(start); took < 19*time.Second/4-burst {
		t.Errorf("20 requests in %v", took)
	}
}

func TestPacer(t *testing.T) {
	var p pacer
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, want := range []time.Duration{-burst, time.Second - burst, 2*time.Second - burst} {
		if begins, ends := p.take(now, time.Second); begins != want || ends != want+time.Second {
			t.Errorf("number %d: from %v to %v, want from %v", i, begins, ends, want)
		}
	}
	if begins, _ := p.take(now.Add(time.Hour), time.Second); begins != -burst { // no credit for an idle hour
		t.Errorf("after an hour: %v", begins)
	}
}
