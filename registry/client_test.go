package registry

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

const (
	testUser     = "robot$ferry"
	testPassword = "hunter2-is-secret"
)

// fakeClock passes time by sleeping only. A stopwatch runs out when expire says so.
type fakeClock struct {
	mu      sync.Mutex
	time    time.Time
	slept   []time.Duration
	running map[*fakeStopwatch]bool
	expired bool
}

func newFakeClock() *fakeClock {
	return &fakeClock{
		time:    time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		running: map[*fakeStopwatch]bool{},
	}
}

func (f *fakeClock) clock() clock {
	return clock{now: f.now, sleep: f.sleep, afterFunc: f.afterFunc, jitter: func() float64 { return 0 }}
}

func (f *fakeClock) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

func (f *fakeClock) sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(d)
	f.slept = append(f.slept, d)
	return nil
}

func (f *fakeClock) total() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sum time.Duration
	for _, d := range f.slept {
		sum += d
	}
	return sum
}

// expire makes one stopwatch run out: one that runs now, or the next that is started.
func (f *fakeClock) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.running {
		delete(f.running, w)
		go w.fire()
		return
	}
	f.expired = true
}

func (f *fakeClock) afterFunc(d time.Duration, fire func()) stopwatch {
	w := &fakeStopwatch{f: f, fire: fire}
	w.Reset(d)
	return w
}

type fakeStopwatch struct {
	f    *fakeClock
	fire func()
}

func (w *fakeStopwatch) Reset(time.Duration) bool {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if w.f.expired {
		w.f.expired = false
		go w.fire()
		return true
	}
	w.f.running[w] = true
	return true
}

func (w *fakeStopwatch) Stop() bool {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	delete(w.f.running, w)
	return true
}

// newTestClient returns a client for srv that knows its certificate and its user, and whose time is that of the clock.
func newTestClient(t testing.TB, srv *registrytest.Server, o Options) (*Client, *fakeClock) {
	t.Helper()
	if o.Host == nil {
		o.Host = func(host string) HostOptions { return trusting(srv) }
	}
	f := newFakeClock()
	c := newClient(o, f.clock())
	t.Cleanup(c.Close)
	return c, f
}

func trusting(srv *registrytest.Server) HostOptions {
	h := HostOptions{Credential: func(context.Context, oci.Repository) (Credential, error) {
		return Credential{Username: testUser, Password: testPassword}, nil
	}}
	if ca := srv.CA(); ca != nil {
		h.Scheme, h.CAs = SchemeHTTPS, []*x509.Certificate{ca}
	}
	return h
}

func repoOf(srv *registrytest.Server, path string) oci.Repository {
	return oci.Repository{Host: srv.Host(), Path: path}
}

// content returns n bytes that are the same in each run, and their descriptor.
func content(n int) ([]byte, oci.Descriptor) {
	raw := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(raw)
	return raw, oci.Descriptor{
		MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(raw), Size: int64(n),
	}
}

// opener counts how often content is opened and checks that it is closed.
type opener struct {
	raw    []byte
	err    error // of the read after raw, instead of io.EOF
	opened int
	open   int
	mu     sync.Mutex
}

func (o *opener) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened++
	o.open++
	var r io.Reader = bytes.NewReader(o.raw[offset:])
	if o.err != nil {
		r = io.MultiReader(r, failing{o.err})
	}
	return &openedContent{Reader: r, o: o}, nil
}

func (o *opener) counts() (opened, open int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opened, o.open
}

type openedContent struct {
	io.Reader
	o *opener
}

func (c *openedContent) Close() error {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.o.open--
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// readAll reads a blob through the client and verifies it.
func readAll(c *Client, from oci.Repository, d oci.Descriptor) ([]byte, error) {
	r, err := c.Open(context.Background(), from, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(oci.Verify(r, d))
}

// checkErr compares err with what is wanted: nil, or an error to be found with errors.Is, whose text has the parts.
func checkErr(t *testing.T, err, want error, parts ...string) {
	t.Helper()
	switch {
	case want == nil && err != nil:
		t.Fatalf("got error %v", err)
	case want != nil && !errors.Is(err, want):
		t.Fatalf("got error %v, want one that is %v", err, want)
	}
	if err == nil {
		return
	}
	text := err.Error()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error %q does not say %q", text, part)
		}
	}
	for _, secret := range []string{testPassword, "signature", "_state", "token-"} {
		if strings.Contains(text, secret) {
			t.Errorf("error %q gives away %q", text, secret)
		}
	}
}

// checkCounts compares how many requests srv got with what is wanted, such as `GET blob`.
func checkCounts(t *testing.T, srv *registrytest.Server, want map[string]int) {
	t.Helper()
	for what, n := range want {
		method, kind, _ := strings.Cut(what, " ")
		if got := srv.Count(method, registrytest.Kind(kind)); got != n {
			t.Errorf("registry got %d times %s, want %d; all: %v", got, what, n, srv.Requests())
		}
	}
}
