package ocitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Where is the repository that [TestEnds] uses, on the end's own host: newEnd may serve it under any name.
var Where = oci.Repository{Host: "example.test", Path: "suite/image"}

// TestEnds checks that an end keeps the contracts of [oci.Source] and [oci.Sink]. The function newEnd returns both
// sides of a new, empty end: what goes into the sink comes out of the source. Repositories have [Where]'s Host unless
// the end has been made for another one with [TestEndsAt].
func TestEnds(t *testing.T, newEnd func(t *testing.T) (oci.Source, oci.Sink)) {
	t.Helper()
	TestEndsAt(t, func(t *testing.T) (oci.Source, oci.Sink, oci.Repository) {
		src, dst := newEnd(t)
		return src, dst, Where
	})
}

// TestEndsAt is [TestEnds] for ends whose repositories are on a host of their own, such as a server of the test.
func TestEndsAt(t *testing.T, newEnd func(t *testing.T) (oci.Source, oci.Sink, oci.Repository)) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, end)
	}{
		{"round trip", testRoundTrip},
		{"from an offset", testOffsets},
		{"not there", testNotFound},
		{"wrong content", testWrongContent},
		{"resume after a cut", testResume},
		{"content that cannot be opened", testOpenFails},
		{"pushed twice", testTwice},
		{"many at once", testConcurrency},
		{"one blob from many sides", testSameBlob},
		{"a context that has ended", testEnded},
		{"malformed digests", testMalformed},
		{"an image with tags", testImage},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst, repo := newEnd(t)
			c.test(t, end{src, dst, repo})
		})
	}
}

type end struct {
	oci.Source
	oci.Sink
	repo oci.Repository
}

// content is the content of a blob in memory; it counts how often it is opened, and where.
type content struct {
	raw []byte

	mu      sync.Mutex
	offsets []int64
}

func (c *content) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offsets = append(c.offsets, offset)
	if offset < 0 || offset > int64(len(c.raw)) {
		return nil, fmt.Errorf("offset %d of %d", offset, len(c.raw))
	}
	return io.NopCloser(bytes.NewReader(c.raw[offset:])), nil
}

func blob(raw []byte) Blob { return NewBlob("application/octet-stream", raw) }

func (e end) push(t *testing.T, b Blob) {
	t.Helper()
	if err := e.Push(t.Context(), e.repo, b.Descriptor, (&content{raw: b.Bytes}).open); err != nil {
		t.Fatalf("push %d bytes: %v", b.Size, err)
	}
}

func (e end) has(t *testing.T, d oci.Descriptor) bool {
	t.Helper()
	has, err := e.Has(t.Context(), e.repo, d)
	if err != nil {
		t.Fatalf("has: %v", err)
	}
	return has
}

func (e end) read(ctx context.Context, d oci.Descriptor, offset int64) ([]byte, error) {
	r, err := e.Open(ctx, e.repo, d, offset)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	return raw, errors.Join(err, r.Close())
}

func testRoundTrip(t *testing.T, e end) {
	for _, size := range []int{0, 1, 2, 1000, 32 << 10, 32<<10 + 1, 256 << 10, 3<<20 + 17} {
		b := blob(Random(uint64(size), size))
		if e.has(t, b.Descriptor) {
			t.Fatalf("%d bytes: there before they were pushed", size)
		}
		e.push(t, b)
		if !e.has(t, b.Descriptor) {
			t.Fatalf("%d bytes: not there after they were pushed", size)
		}
		got, err := e.read(t.Context(), b.Descriptor, 0)
		if err != nil {
			t.Fatalf("%d bytes: read: %v", size, err)
		}
		if digest.FromBytes(got) != b.Digest {
			t.Fatalf("%d bytes: other bytes came back", size)
		}
	}
}

func testOffsets(t *testing.T, e end) {
	b := blob(Random(1, 100_000))
	e.push(t, b)
	for _, offset := range []int64{0, 1, 50_000, 99_999, 100_000} {
		got, err := e.read(t.Context(), b.Descriptor, offset)
		if err != nil || !bytes.Equal(got, b.Bytes[offset:]) {
			t.Errorf("from %d: %d bytes, error %v", offset, len(got), err)
		}
	}
}

func testNotFound(t *testing.T, e end) {
	b := blob([]byte("nobody has pushed this"))
	if e.has(t, b.Descriptor) {
		t.Error("has a blob that nobody has pushed")
	}
	if _, err := e.read(t.Context(), b.Descriptor, 0); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("open: error %v, want ErrNotFound", err)
	}
}

func testWrongContent(t *testing.T, e end) {
	for _, size := range []int{1, 100, 200_000} {
		good := blob(Random(uint64(size), size))
		altered := bytes.Clone(good.Bytes)
		altered[size/2] ^= 1
		for name, raw := range map[string][]byte{
			"one byte short": good.Bytes[:size-1],
			"one byte long":  append(bytes.Clone(good.Bytes), 'x'),
			"one bit off":    altered,
			"nothing":        {},
		} {
			err := e.Push(t.Context(), e.repo, good.Descriptor, (&content{raw: raw}).open)
			if !errors.Is(err, oci.ErrCorrupt) {
				t.Errorf("%s of %d: error %v, want ErrCorrupt", name, size, err)
			}
			if e.has(t, good.Descriptor) {
				t.Fatalf("%s of %d: kept", name, size)
			}
		}
		e.push(t, good) // what was refused leaves nothing in the way
		if got, err := e.read(t.Context(), good.Descriptor, 0); err != nil || !bytes.Equal(got, good.Bytes) {
			t.Errorf("%d bytes, after wrong ones: read %d bytes, error %v", size, len(got), err)
		}
	}
}

var errCut = errors.New("the suite cut the content")

func testResume(t *testing.T, e end) {
	b := blob(Random(1, 1<<20))
	cut := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		end := max(offset, b.Size/2)
		return io.NopCloser(io.MultiReader(bytes.NewReader(b.Bytes[offset:end]), iotest.ErrReader(errCut))), nil
	}
	if err := e.Push(t.Context(), e.repo, b.Descriptor, cut); !errors.Is(err, errCut) {
		t.Fatalf("error %v, want the one of the content", err)
	}
	if e.has(t, b.Descriptor) {
		t.Fatal("half a blob is there")
	}
	whole := &content{raw: b.Bytes}
	if err := e.Push(t.Context(), e.repo, b.Descriptor, whole.open); err != nil {
		t.Fatal(err)
	}
	for _, offset := range whole.offsets {
		if offset > b.Size/2 {
			t.Errorf("opened at %d, past what came before", offset)
		}
	}
	if got, err := e.read(t.Context(), b.Descriptor, 0); err != nil || !bytes.Equal(got, b.Bytes) {
		t.Errorf("read %d bytes, error %v", len(got), err)
	}
}

func testOpenFails(t *testing.T, e end) {
	b := blob([]byte("content that cannot be opened"))
	err := e.Push(t.Context(), e.repo, b.Descriptor, func(context.Context, int64) (io.ReadCloser, error) {
		return nil, errCut
	})
	if !errors.Is(err, errCut) {
		t.Errorf("error %v, want the one of the content", err)
	}
	if e.has(t, b.Descriptor) {
		t.Error("kept")
	}
}

func testTwice(t *testing.T, e end) {
	b := blob(Random(1, 5000))
	e.push(t, b)
	e.push(t, b)
	if got, err := e.read(t.Context(), b.Descriptor, 0); err != nil || !bytes.Equal(got, b.Bytes) {
		t.Errorf("read %d bytes, error %v", len(got), err)
	}
}

func testConcurrency(t *testing.T, e end) {
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			b := blob(Random(uint64(i), 40_000+i))
			if err := e.Push(t.Context(), e.repo, b.Descriptor, (&content{raw: b.Bytes}).open); err != nil {
				t.Errorf("push %d: %v", i, err)
				return
			}
			if got, err := e.read(t.Context(), b.Descriptor, 0); err != nil || !bytes.Equal(got, b.Bytes) {
				t.Errorf("read %d: %d bytes, error %v", i, len(got), err)
			}
		})
	}
	group.Wait()
}

func testSameBlob(t *testing.T, e end) {
	b := blob(Random(1, 300_000))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := e.Push(t.Context(), e.repo, b.Descriptor, (&content{raw: b.Bytes}).open); err != nil {
				t.Errorf("push: %v", err)
			}
		})
	}
	group.Wait()
	if got, err := e.read(t.Context(), b.Descriptor, 0); err != nil || !bytes.Equal(got, b.Bytes) {
		t.Errorf("read %d bytes, error %v", len(got), err)
	}
}

func testEnded(t *testing.T, e end) {
	ctx, cancel := context.WithCancel(t.Context())
	b := blob(Random(1, 1<<20))
	err := e.Push(ctx, e.repo, b.Descriptor, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(contextReader{ctx, bytes.NewReader(b.Bytes[offset:])}), nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if e.has(t, b.Descriptor) {
		t.Error("kept")
	}
}

func testMalformed(t *testing.T, e end) {
	for _, dgst := range []digest.Digest{"", "sha256", "sha256:", "sha256:abc", "sha256:../../../etc/passwd", "md5:" +
		"d41d8cd98f00b204e9800998ecf8427e", digest.Digest("sha256:" + strings.Repeat("A", 64))} {
		d := oci.Descriptor{MediaType: "application/octet-stream", Digest: dgst, Size: 1}
		if has, err := e.Has(t.Context(), e.repo, d); has || err == nil {
			t.Errorf("digest %q: has: %v, error %v", dgst, has, err)
		}
		if err := e.Push(t.Context(), e.repo, d, (&content{raw: []byte("x")}).open); err == nil {
			t.Errorf("digest %q: pushed", dgst)
		}
		if _, err := e.read(t.Context(), d, 0); err == nil {
			t.Errorf("digest %q: read", dgst)
		}
	}
}

func testImage(t *testing.T, e end) {
	g := MultiArch(1, "app")
	all := g.All()
	for _, b := range all[:len(all)-1] {
		e.push(t, b)
	}
	tagger, ok := e.Sink.(oci.Tagger)
	if !ok {
		e.push(t, g.Blob)
	} else {
		testTags(t, e, tagger, g)
	}
	for _, b := range all {
		got, err := e.read(t.Context(), b.Descriptor, 0)
		if err != nil || !bytes.Equal(got, b.Bytes) {
			t.Errorf("%s: read %d bytes, error %v", b.MediaType, len(got), err)
		}
	}
}

func testTags(t *testing.T, e end, tagger oci.Tagger, g *Graph) {
	if _, err := tagger.Tagged(t.Context(), e.repo, "v1"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a tag that is not there: error %v, want ErrNotFound", err)
	}
	if err := tagger.Tag(t.Context(), e.repo, "v1", g.Descriptor, slices.Clone(g.Bytes[1:])); err == nil {
		t.Error("a tag was given to other bytes than its digest's")
	}
	for _, tag := range []string{"v1", "v2", "v1"} {
		if err := tagger.Tag(t.Context(), e.repo, tag, g.Descriptor, g.Bytes); err != nil {
			t.Fatalf("tag %s: %v", tag, err)
		}
		d, err := tagger.Tagged(t.Context(), e.repo, tag)
		if err != nil || d.Digest != g.Digest {
			t.Errorf("tag %s names %s, error %v", tag, d.Digest, err)
		}
	}
	other := g.Children[0]
	if err := tagger.Tag(t.Context(), e.repo, "v1", other.Descriptor, other.Bytes); err != nil {
		t.Fatalf("moving a tag: %v", err)
	}
	for tag, want := range map[string]digest.Digest{"v1": other.Digest, "v2": g.Digest} {
		if d, err := tagger.Tagged(t.Context(), e.repo, tag); err != nil || d.Digest != want {
			t.Errorf("after a tag was moved, %s names %s, want %s, error %v", tag, d.Digest, want, err)
		}
	}
}
