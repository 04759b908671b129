package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// origin is a source of blobs that counts how often each is opened.
type origin struct {
	*ocitest.Memory
	// gate is asked before each Read, with how much was read of the blob; nil is no gate.
	gate func(ctx context.Context, at int64) error

	mu     sync.Mutex
	opened map[digest.Digest]int
	open   int
}

var here = oci.Repository{Host: "here.test", Path: "app"}

func newOrigin(t testing.TB, blobs ...ocitest.Blob) *origin {
	o := &origin{Memory: new(ocitest.Memory), opened: map[digest.Digest]int{}}
	for _, b := range blobs {
		o.AddBlob(here, b)
	}
	return o
}

func (o *origin) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := o.Memory.Open(ctx, from, d, offset)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.opened[d.Digest]++
	o.open++
	o.mu.Unlock()
	return &gated{ReadCloser: r, origin: o, ctx: ctx, at: offset}, nil
}

func (o *origin) times(d digest.Digest) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opened[d]
}

func (o *origin) stillOpen() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

type gated struct {
	io.ReadCloser
	origin *origin
	ctx    context.Context
	at     int64
}

func (g *gated) Read(p []byte) (int, error) {
	if gate := g.origin.gate; gate != nil {
		if err := gate(g.ctx, g.at); err != nil {
			return 0, err
		}
	}
	n, err := g.ReadCloser.Read(p[:min(len(p), 10_000)])
	g.at += int64(n)
	return n, err
}

func (g *gated) Close() error {
	g.origin.mu.Lock()
	defer g.origin.mu.Unlock()
	g.origin.open--
	return g.ReadCloser.Close()
}

// nothing is direct.
func nothing(digest.Digest) bool { return false }

func open(t testing.TB, dir string, o Options) *Cache {
	t.Helper()
	if o.Failed == nil {
		o.Failed = func(err error) { t.Errorf("not kept: %v", err) }
	}
	c, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func reopen(t testing.TB, c *Cache) *Cache {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, c.store.Dir(), c.opts)
}

func randomBlobs(sizes ...int) (blobs []ocitest.Blob) {
	for i, size := range sizes {
		blobs = append(blobs, ocitest.NewBlob("application/octet-stream", ocitest.Random(uint64(i), size)))
	}
	return blobs
}

// read reads b from offset on and proves what comes.
func read(ctx context.Context, s oci.Source, b ocitest.Blob, offset int64) error {
	r, err := s.Open(ctx, here, b.Descriptor, offset)
	if err != nil {
		return err
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(raw, b.Bytes[offset:]) {
		err = fmt.Errorf("%s from %d: got %d other bytes", b.Digest, offset, len(raw))
	}
	return err
}

func TestEachOnce(t *testing.T) {
	blobs := randomBlobs(0, 1, 70_000, 1_000_000)
	src := newOrigin(t, blobs...)
	c := open(t, t.TempDir(), Options{})
	s := c.Source(src, nothing)
	var readers sync.WaitGroup
	for i := range 40 {
		b := blobs[i%len(blobs)]
		readers.Go(func() {
			if err := read(t.Context(), s, b, int64(len(b.Bytes)*(i%3)/2)); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	again := newOrigin(t)
	for name, s := range map[string]oci.Source{"the same run": s, "the next run": reopen(t, c).Source(again, nothing)} {
		for _, b := range blobs {
			if err := read(t.Context(), s, b, int64(len(b.Bytes)/3)); err != nil && len(b.Bytes) > 0 {
				t.Errorf("%s: %v", name, err)
			}
			if n := src.times(b.Digest); n != 1 && len(b.Bytes) > 0 {
				t.Errorf("%s: a blob of %d bytes was opened %d times", name, len(b.Bytes), n)
			}
		}
	}
}

func TestDirect(t *testing.T) {
	b := randomBlobs(1000)[0]
	src := newOrigin(t, b)
	s := open(t, t.TempDir(), Options{}).Source(src, func(digest.Digest) bool { return true })
	for range 2 {
		if err := read(t.Context(), s, b, 10); err != nil {
			t.Error(err)
		}
	}
	if n := src.times(b.Digest); n != 2 {
		t.Errorf("opened %d times, want 2", n)
	}
}

func (c *Cache) file(b ocitest.Blob) string {
	return filepath.Join(c.store.Dir(), "blobs", "sha256", b.Digest.Encoded())
}

func TestDamagedFile(t *testing.T) {
	b := randomBlobs(200_000)[0]
	for _, test := range []struct {
		name   string
		damage func(file string) error
	}{
		{"a byte is wrong", func(file string) error {
			raw, err := os.ReadFile(file)
			raw[150_000] ^= 1
			return errors.Join(err, os.WriteFile(file, raw, 0o644))
		}},
		{"it is cut short", func(file string) error { return os.Truncate(file, 100) }},
		{"it is gone", os.Remove},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newOrigin(t, b)
			c := open(t, t.TempDir(), Options{})
			if err := read(t.Context(), c.Source(src, nothing), b, 0); err != nil {
				t.Fatal(err)
			}
			if err := test.damage(c.file(b)); err != nil {
				t.Fatal(err)
			}
			s := reopen(t, c).Source(src, nothing)
			if err := read(t.Context(), s, b, 100_000); err != nil {
				t.Error(err)
			}
			if n := src.times(b.Digest); n != 2 {
				t.Errorf("opened %d times, want 2", n)
			}
		})
	}
}

// What a reader proves wrong is made again, within one run too.
func TestDamageOf(t *testing.T) {
	b := randomBlobs(200_000)[0]
	src := newOrigin(t, b)
	c := open(t, t.TempDir(), Options{})
	s := c.Source(src, nothing)
	if err := read(t.Context(), s, b, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file(b), make([]byte, len(b.Bytes)), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong := &oci.DigestError{Want: b.Descriptor}
	if err := s.(*source).DamageOf(b.Digest, wrong); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if err := read(t.Context(), s, b, 0); err != nil {
		t.Error(err)
	}
}

// gateAt returns a gate that stops readings at that offset until it is opened. reached is closed when one stands there.
func gateAt(offset int64) (gate func(context.Context, int64) error, reached <-chan struct{}, open func()) {
	free := make(chan struct{})
	there := make(chan struct{})
	once := sync.OnceFunc(func() { close(there) })
	return func(ctx context.Context, at int64) error {
		if at < offset {
			return nil
		}
		once()
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, there, sync.OnceFunc(func() { close(free) })
}

// Bytes are given before the blob is whole.
func TestReadsWhileItIsMade(t *testing.T) {
	b := randomBlobs(2_000_000)[0]
	src := newOrigin(t, b)
	gate, _, free := gateAt(1_500_000)
	src.gate = gate
	s := open(t, t.TempDir(), Options{}).Source(src, nothing)
	r, err := s.Open(t.Context(), here, b.Descriptor, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, 500_000)
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, b.Bytes[500_000:1_000_000]) {
		t.Fatalf("not what it is: %v", err)
	}
	free()
	if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, b.Bytes[1_000_000:]) {
		t.Errorf("%d bytes at the end, %v", len(rest), err)
	}
}

func TestCalledOff(t *testing.T) {
	b := randomBlobs(2_000_000)[0]
	src := newOrigin(t, b)
	gate, reached, free := gateAt(1_000_000)
	src.gate = gate
	c := open(t, t.TempDir(), Options{})
	s := c.Source(src, nothing)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			if err := read(ctx, s, b, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that it was called off", err)
			}
		})
	}
	<-reached
	cancel()
	readers.Wait()
	c.mu.Lock()
	m := c.makings[b.Digest]
	c.mu.Unlock()
	if m != nil {
		<-m.ended
	}
	if n := src.stillOpen(); n != 0 {
		t.Errorf("the source is still read by %d", n)
	}
	free()
	if err := read(t.Context(), s, b, 7); err != nil {
		t.Error(err)
	}
}

func TestSourceFails(t *testing.T) {
	b := randomBlobs(2_000_000)[0]
	broken := errors.New("broken at the source")
	src := newOrigin(t, b)
	src.gate = func(_ context.Context, at int64) error {
		if at > 1_000_000 {
			return broken
		}
		return nil
	}
	s := open(t, t.TempDir(), Options{}).Source(src, nothing)
	if err := read(t.Context(), s, b, 0); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if n := src.times(b.Digest); n != 1 {
		t.Errorf("opened %d times, want 1", n)
	}
	src.gate = nil
	if err := read(t.Context(), s, b, 0); err != nil {
		t.Error(err)
	}
}

func TestMaxSize(t *testing.T) {
	blobs := randomBlobs(400_000, 400_001, 400_002, 1_200_000)
	src := newOrigin(t, blobs...)
	c := open(t, t.TempDir(), Options{MaxSize: 1_000_000})
	s := c.Source(src, nothing)
	for _, i := range []int{0, 1, 0, 2, 0, 3, 1} {
		if err := read(t.Context(), s, blobs[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{1, 2, 1, 1} {
		if n := src.times(blobs[i].Digest); n != want {
			t.Errorf("blob %d was opened %d times, want %d", i, n, want)
		}
	}
	_, tooLarge := os.Stat(c.file(blobs[3]))
	if !os.IsNotExist(tooLarge) {
		t.Errorf("a blob larger than the limit is kept: %v", tooLarge)
	}
	c.opts.MaxSize = 500_000
	c = reopen(t, c)
	if entries, err := os.ReadDir(filepath.Dir(c.file(blobs[0]))); err != nil || len(entries) != 1 {
		t.Errorf("%d blobs are left after the limit became smaller, want 1: %v", len(entries), err)
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	store, err := oci.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := randomBlobs(10)[0]
	src := newOrigin(t, b)
	err = store.Push(t.Context(), here, b.Descriptor, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return src.Open(ctx, here, b.Descriptor, offset)
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "name another folder") {
		t.Errorf("a store of something else: %v", err)
	}
	c := open(t, t.TempDir(), Options{})
	if _, err := Open(c.store.Dir(), Options{}); !errors.Is(err, oci.ErrLocked) {
		t.Errorf("a cache of another process: %v", err)
	}
}
