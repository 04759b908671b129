package registry

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"":                              -1, "-1": -1, "1.5": -1, "99999999999999999999": -1, "soon": -1,
	} {
		got, ok := retryAfter(&http.Response{Header: http.Header{"Retry-After": {text}}}, now)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, jitter := range []float64{0, 0.999} {
		c := clock{jitter: func() float64 { return jitter }}
		for n := 1; n < 100; n++ {
			want := lastBackoff
			if n < 7 {
				want = firstBackoff << (n - 1)
			}
			if got := c.backoff(n); got > want || got < want/2 {
				t.Errorf("repetition %d with jitter %v: got %v, want %v down to a half", n, jitter, got, want)
			}
		}
	}
}

// All requests to a host keep the pause that one of them was told.
func TestPauseIsShared(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	raw, d := content(1000)
	srv.AddBlob("a", raw)
	srv.AddBlob("b", raw)
	c, clock := newTestClient(t, srv, Options{Retries: -1})
	srv.Fault(registrytest.Match{Repo: "a", Times: 1}, registrytest.TooManyRequests(30))
	_, err := readAll(c, repoOf(srv, "a"), d)
	if err == nil || clock.total() > 0 {
		t.Fatalf("got error %v after %v, want 429 at once", err, clock.total())
	}
	_, err = readAll(c, repoOf(srv, "b"), d)
	checkErr(t, err, nil)
	if clock.total() < 30*time.Second {
		t.Errorf("waited %v, want 30s", clock.total())
	}
}

// A host that has too much to do, and does not say until when, is left alone by all requests, too.
func TestBackoffIsShared(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"429": registrytest.Status(429, "slow down"), "503": registrytest.Status(503, "down"),
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{})
			raw, d := content(1000)
			srv.AddBlob("b", raw)
			c, clock := newTestClient(t, srv, Options{Retries: -1})
			srv.Fault(registrytest.Match{Method: "POST", Times: 1}, fault)
			err := c.Push(context.Background(), repoOf(srv, "a"), d, (&opener{raw: raw}).Open)
			var status *Error
			if !errors.As(err, &status) || clock.total() != 0 {
				t.Fatalf("got error %v after %v, want the answer at once", err, clock.total())
			}
			_, err = readAll(c, repoOf(srv, "b"), d)
			checkErr(t, err, nil)
			if clock.total() < firstBackoff {
				t.Errorf("another request waited %v, want %v", clock.total(), firstBackoff)
			}
		})
	}
}

func TestCancelEndsWaiting(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	raw, d := content(1000)
	srv.AddBlob("a", raw)
	for name, fault := range map[string]registrytest.Fault{
		"backoff": registrytest.Status(502, ""), "pause": registrytest.TooManyRequests(30),
	} {
		t.Run(name, func(t *testing.T) {
			srv.ClearFaults()
			srv.ResetCounts()
			srv.Fault(registrytest.Match{}, fault)
			ctx, cancel := context.WithCancel(context.Background())
			c := NewClient(Options{Events: func(Event) { cancel() }}) // with the real clock
			_, err := c.Open(ctx, repoOf(srv, "a"), d, 0)
			checkErr(t, err, context.Canceled)
			checkCounts(t, srv, map[string]int{"": 1})
		})
	}
}

func TestEvents(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	raw, d := content(1000)
	srv.AddBlob("a", raw)
	srv.Fault(registrytest.Match{Times: 1}, registrytest.Status(502, "bad gateway"))
	srv.Fault(registrytest.Match{Times: 1}, registrytest.TooManyRequests(30))
	srv.Fault(registrytest.Match{Times: 1}, registrytest.Cut(10))
	var events []Event
	c, _ := newTestClient(t, srv, Options{Events: func(e Event) { events = append(events, e) }})
	_, err := readAll(c, repoOf(srv, "a"), d)
	checkErr(t, err, nil)
	want := []Event{
		{Kind: EventRetry, Attempt: 1, Wait: firstBackoff},
		{Kind: EventWaiting, Attempt: 2, Wait: 30 * time.Second},
		{Kind: EventResumed, Attempt: 1},
	}
	if len(events) != len(want) {
		t.Fatalf("got events %v", events)
	}
	for i, got := range events {
		if got.Why == nil || got.Host != srv.Host() {
			t.Errorf("event %d: %v", i, got)
		}
		got.Why, got.Host = nil, ""
		if got != want[i] {
			t.Errorf("event %d: got %v, want %v", i, got, want[i])
		}
	}
}

// Where a host lets one request in at a time, each of many gets its turn.
func TestManySharePauses(t *testing.T) {
	const n = 8
	srv := registrytest.New(t, registrytest.Options{})
	raw, d := content(1000)
	srv.AddBlob("a", raw)
	srv.Fault(registrytest.Match{Times: 10 * n}, registrytest.TooManyRequests(1))
	c, _ := newTestClient(t, srv, Options{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got, err := readAll(c, repoOf(srv, "a"), d); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes and error %v", len(got), err)
			}
		})
	}
	wg.Wait()
	checkCounts(t, srv, map[string]int{"GET blob": 11 * n})
}
