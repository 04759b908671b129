package faults

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

const answer = "what was asked for"

// behind starts a server behind a front that fails in one way, and counts what the server did whole.
func behind(t *testing.T, opts Options) (url string, done *atomic.Int32) {
	t.Helper()
	done = &atomic.Int32{}
	server := httptest.NewServer(New(opts).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			done.Add(1)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		_, _ = io.WriteString(w, answer)
	})))
	t.Cleanup(server.Close)
	return server.URL, done
}

func TestKinds(t *testing.T) {
	for _, test := range []struct {
		kind   Kind
		status int // 0: no answer
		header string
		whole  bool // the server has read all
	}{
		{InternalError, 500, "", false},
		{BadGateway, 502, "", false},
		{Unavailable, 503, "", false},
		{UnavailableFor, 503, "1", false},
		{UnavailableUntil, 503, "GMT", false},
		{TooManyFor, 429, "1", false},
		{TooManyUntil, 429, "GMT", false},
		{Reset, 0, "", false},
		{CutRequest, 0, "", false},
		{CutAnswer, 200, "", true},
		{LostAnswer, 0, "", true},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			url, done := behind(t, Options{Share: 1, Only: test.kind})
			resp, err := http.Post(url, "text/plain", strings.NewReader("a body of some length"))
			if whole := done.Load() > 0; whole != test.whole {
				t.Errorf("the server has read all: %v, want %v", whole, test.whole)
			}
			if test.status == 0 {
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Fatalf("got %v, want a reset", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Retry-After"); resp.StatusCode != test.status || !strings.HasSuffix(got, test.header) {
				t.Errorf("got %s with Retry-After %q, want %d with %q", resp.Status, got, test.status, test.header)
			}
			if got, err := io.ReadAll(resp.Body); test.kind == CutAnswer && (err == nil || len(got) >= len(answer)) {
				t.Errorf("got %q and %v, want less", got, err)
			}
		})
	}
}

// asked returns what a front does to so many requests.
func asked(f *Front, paths []string) string {
	var all []string
	for _, path := range paths {
		kind, _ := f.choose(httptest.NewRequest(http.MethodGet, path, nil))
		all = append(all, path+" "+kind.String())
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestSeed(t *testing.T) {
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("/v2/a/blobs/sha256:%d", i/2))
	}
	front := New(Options{Seed: 1, Share: 0.05})
	first := asked(front, paths)
	slices.Reverse(paths)
	if again := asked(New(Options{Seed: 1, Share: 0.05}), paths); again != first {
		t.Error("the same seed fails in another way when the requests come in another order")
	}
	if other := asked(New(Options{Seed: 2, Share: 0.05}), paths); other == first {
		t.Error("another seed fails in the same way")
	}
	failed, all := front.Made()
	sum := 0
	for kind := None + 1; kind < kinds; kind++ {
		sum += failed[kind]
		if failed[kind] == 0 && kind != CutRequest {
			t.Errorf("none of 2000 requests failed by %s", kind)
		}
	}
	if all != len(paths) || sum < 60 || sum > 140 {
		t.Errorf("%d of %d requests failed, want about 100 of %d", sum, all, len(paths))
	}
}

func TestUploadsAreKnownByTheirDigest(t *testing.T) {
	a := httptest.NewRequest(http.MethodPut, "/v2/a/blobs/uploads/11?digest=sha256:1", nil)
	b := httptest.NewRequest(http.MethodPut, "/v2/a/blobs/uploads/22?digest=sha256:1", nil)
	c := httptest.NewRequest(http.MethodPut, "/v2/a/blobs/uploads/22?digest=sha256:2", nil)
	if subject(a) != subject(b) || subject(b) == subject(c) {
		t.Errorf("got %q, %q, %q", subject(a), subject(b), subject(c))
	}
}
