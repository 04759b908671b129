package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// ungzippedFixture has images of two repositories with shared and single layers, one that is kept, and a referrer.
func ungzippedFixture(t testing.TB) *fixture {
	f := newFixture(t)
	base, tar := f.zip(text("base", 40_000), 6), f.add(ocispec.MediaTypeImageLayer, text("plain tar", 600))
	f.image("quay.io/a/app:1", f.index(f.plainImage(base, f.zip(text("app", 30_000), 1)), f.plainImage(base, f.layer(3, 100))))
	f.image("quay.io/a/app:2", f.plainImage(base, f.zip(text("app 2", 20_000), 9)))
	f.image("docker.io/library/web:2", f.plainImage(f.zip(make([]byte, 1024), 6), tar, f.add(ocispec.MediaTypeImageLayer, nil)))
	f.image("ghcr.io/x/kept:latest", f.plainImage(f.layer(4, 150)))
	images := f.contents.Images
	f.image("sig", f.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.x",
		Config: f.add(ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []oci.Descriptor{f.add("text/plain", []byte("signed"))},
		Subject: &oci.Descriptor{MediaType: images[1].Root.MediaType, Digest: images[1].Root.Digest, Size: images[1].Root.Size},
	}))
	images[1].Referrers = []oci.Referrer{{Subject: images[1].Root.Digest, Root: f.contents.Images[4].Root, Found: oci.FoundByAPI}}
	f.contents.Images = images
	return f.compact()
}

// untar returns the members of the tar that a bundle is.
func untar(t *testing.T, raw []byte) (names []string, contents map[string][]byte) {
	t.Helper()
	frames, err := newFrameReader(bytes.NewReader(raw), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	contents = map[string][]byte{}
	for r := tar.NewReader(frames); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestWriteAll(t *testing.T) {
	f := ungzippedFixture(t)
	ids := map[string]bool{}
	for _, format := range formats {
		for _, longFrame := range []int64{0, 1 << 14, 700} {
			t.Run(fmt.Sprintf("%s %d", format, longFrame), func(t *testing.T) {
				f.contents.Compact.LongFrame = longFrame
				o := compress.WriterOptions{Format: format, Jobs: 8, MaxMemory: 1 << 30, Long: compress.LongOptions{Window: 1 << 16}}
				raw := f.writeAll(o)
				h, id, err := ReadHead(bytes.NewReader(raw), Options{})
				if err != nil {
					t.Fatal(err)
				}
				ids[id] = true
				if len(h.Recreated) != 4 || len(h.Kept) != 2 {
					t.Errorf("%d recreated, %d kept", len(h.Recreated), len(h.Kept))
				}
				names, contents := untar(t, raw)
				if len(names) != len(h.Members)+8 {
					t.Errorf("%d files in the tar, %d members", len(names), len(h.Members))
				}
				for i, m := range h.Members {
					if names[4+i] != m.Name() || digest.FromBytes(contents[m.Name()]) != m.Digest {
						t.Errorf("member %d: %s of %d bytes, want %s", i, names[4+i], len(contents[names[4+i]]), m.Name())
					}
				}
				checkExtracted(t, f, h, contents)
				o.Jobs = 1
				if again := f.writeAll(o); !bytes.Equal(raw, again) {
					t.Error("the bytes depend on the number of jobs")
				}
			})
		}
	}
	if len(ids) != 1 {
		t.Errorf("the content id depends on format or frames: %v", ids)
	}
}

// checkExtracted proves that the files of the tar are an OCI layout in which the images are whole: what index.json names
// has all its blobs, and what is plain has the digest that its config says.
func checkExtracted(t *testing.T, f *fixture, h *Head, files map[string][]byte) {
	t.Helper()
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) {
		return files[blobPrefix+d.Digest.Encoded()], nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(files[indexName], &index); err != nil {
		t.Fatal(err)
	}
	gzips, plains := 0, 0
	for i, d := range index.Manifests {
		n, err := oci.LoadGraph(t.Context(), fetch, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range n.Blobs() {
			if err := oci.CheckBytes(d, files[blobPrefix+d.Digest.Encoded()]); err != nil {
				t.Error(err)
			}
			if isGzip(d.MediaType) {
				gzips++
			} else if _, ok := h.recreatedAs(d.Digest); ok {
				plains++
			}
		}
		original, err := oci.LoadGraph(t.Context(), fetch, h.Images[i].Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		checkTwin(t, f, original, n)
	}
	if gzips != 2 || plains != 5 {
		t.Errorf("%d gzip layers are named, and %d plain ones", gzips, plains)
	}
}

// recreatedAs returns the gzip layer that has these plain bytes.
func (h *Head) recreatedAs(plain digest.Digest) (r Recreated, ok bool) {
	i := slices.IndexFunc(h.Recreated, func(r Recreated) bool { return h.Members[r.Plain].Digest == plain })
	if i < 0 {
		return r, false
	}
	return h.Recreated[i], true
}

// TestWriteAllPlain: a bundle that is not compact has the bytes that it has by WriteBlob.
func TestWriteAllPlain(t *testing.T) {
	f, o := spanningFixture(t, compress.Zstd)
	if !bytes.Equal(f.write(o), f.writeAll(o)) {
		t.Error("WriteAll and WriteBlob write different bundles")
	}
}

func TestWriteAllRefuses(t *testing.T) {
	f := ungzippedFixture(t)
	f.contents.Compact.LongFrame = 1 << 14 // so that the base is in three
	base := f.contents.Images[0].Root.Children[0].Manifest.Layers[0]
	w, err := NewWriter(io.Discard, f.contents, compress.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.WriteBlob(w.Blobs()[0], bytes.NewReader(nil), true); err == nil {
		t.Error("WriteBlob has written to a compact bundle")
	}
	var plain oci.Descriptor
	for _, d := range w.Blobs() {
		if layer, ok := w.GzipOf(d.Digest); ok && layer.Digest == base.Digest {
			plain = d
		}
	}
	failed := errors.New("read error")
	for name, test := range map[string]struct {
		blob    oci.Descriptor
		content func(whole []byte) (io.Reader, error)
		want    error
	}{
		"a plain layer one byte short": {plain, func(b []byte) (io.Reader, error) { return bytes.NewReader(b[1:]), nil }, oci.ErrCorrupt},
		"a plain layer one byte long": {plain, func(b []byte) (io.Reader, error) {
			return io.MultiReader(bytes.NewReader(b), strings.NewReader("x")), nil
		}, oci.ErrCorrupt},
		"a plain layer altered":   {plain, func(b []byte) (io.Reader, error) { return bytes.NewReader(append(slices.Clone(b[1:]), 'x')), nil }, oci.ErrCorrupt},
		"a plain layer not there": {plain, func([]byte) (io.Reader, error) { return nil, failed }, failed},
		"a read error": {plain, func(b []byte) (io.Reader, error) {
			return io.MultiReader(bytes.NewReader(b[:20_000]), errReader{failed}), nil
		}, failed},
		"a manifest altered": {
			f.contents.Images[0].Root.Descriptor, func(b []byte) (io.Reader, error) { return bytes.NewReader(append(slices.Clone(b[1:]), 'x')), nil }, oci.ErrCorrupt,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := NewWriter(io.Discard, f.contents, compress.WriterOptions{Format: compress.Zstd, Long: compress.LongOptions{Window: 1 << 16}})
			if err != nil {
				t.Fatal(err)
			}
			whole := f.open(w)
			var opened, closed atomic.Int32 // frames are encoded side by side
			open := func(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
				r, err := whole(ctx, d)
				if err == nil && d.Digest == test.blob.Digest {
					var raw []byte
					if raw, err = io.ReadAll(r); err != nil { // called off, as another frame has failed
						return nil, errors.Join(err, r.Close())
					}
					var content io.Reader
					if content, err = test.content(raw); err == nil {
						r = io.NopCloser(content)
					}
				}
				if err != nil {
					return nil, err
				}
				opened.Add(1)
				return closer{r, func() { closed.Add(1) }}, nil
			}
			err = w.WriteAll(t.Context(), open)
			if again := w.Close(); err == nil {
				err = again
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if opened.Load() != closed.Load() {
				t.Errorf("%d readers opened, %d closed", opened.Load(), closed.Load())
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

type closer struct {
	io.ReadCloser
	closed func()
}

func (c closer) Close() error { c.closed(); return c.ReadCloser.Close() }

func TestWriteAllCancelled(t *testing.T) {
	f := ungzippedFixture(t)
	w, err := NewWriter(io.Discard, f.contents, compress.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	open := f.open(w)
	err = w.WriteAll(ctx, func(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
		if _, ok := w.GzipOf(d.Digest); ok {
			cancel()
		}
		return open(ctx, d)
	})
	if again := w.Close(); err == nil {
		err = again
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestSplits: whoever goes on with a blob that another long frame begins has read the same of it.
func TestSplits(t *testing.T) {
	d := oci.Descriptor{Digest: digest.FromString("abcdef"), Size: 6}
	ctx, place := t.Context(), int64(1000)
	opens := 0
	open := func(content string) OpenFunc {
		return func(context.Context, oci.Descriptor) (io.ReadCloser, error) {
			opens++
			return io.NopCloser(strings.NewReader(content)), nil
		}
	}
	at := func(s *splits, place int64, content string) *runReader {
		return &runReader{writer: &Writer{splits: s}, all: ctx, frame: ctx, open: open(content), at: place}
	}
	first := func(s *splits, content string) error {
		b, err := at(s, 0, content).enter(d, 0)
		if err == nil {
			_, err = io.CopyN(io.Discard, b, 3)
		}
		if err != nil {
			return err
		}
		return s.leave(place, b)
	}
	second := func(s *splits, content string) (string, error) {
		b, err := at(s, place, content).enter(d, 3)
		if err != nil {
			return "", err
		}
		defer b.Close()
		got, err := io.ReadAll(io.LimitReader(b, 3))
		return string(got), err
	}
	for name, test := range map[string]struct {
		ahead  bool   // the second frame is read first
		second string // what it reads
		opens  int
		want   error
	}{
		"one after the other":     {false, "", 1, nil},
		"side by side":            {true, "abcdef", 2, nil},
		"side by side, another":   {true, "Abcdef", 1, oci.ErrCorrupt},
		"side by side, too short": {true, "ab", 1, oci.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s := &splits{}
			opens = 0
			var got string
			var err error
			if test.ahead {
				if got, err = second(s, test.second); err == nil {
					err = first(s, "abcdef")
				}
			} else if err = first(s, "abcdef"); err == nil {
				got, err = second(s, test.second)
			}
			if !errors.Is(err, test.want) || err == nil && got != "def" || opens != test.opens {
				t.Errorf("%q, %v after %d opens", got, err, opens)
			}
			s.close()
		})
	}
	s := &splits{}
	if err := first(s, "Abcdef"); err != nil {
		t.Fatal(err)
	}
	s.at(place).entered = true // another frame has begun meanwhile, and reads from the begin
	s.at(place).parked = nil
	if _, err := second(s, "abcdef"); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("it was not seen that the content has changed: %v", err)
	}
}

func TestCuts(t *testing.T) {
	h := &Head{}
	for i, size := range []int64{100, 100, 300, 100, 700, 2500, 100} {
		h.Members = append(h.Members, Member{Digest: digest.FromString(fmt.Sprint(i)), Size: size<<10 - blockSize})
	}
	h.place(4*blockSize, 0, 0, 0)
	for name, test := range map[string]struct {
		edges []int
		most  int64
		want  []int64 // in KiB from the first member
	}{
		"all in one":             {[]int{0}, 3900, []int64{3900}},
		"between repositories":   {[]int{0, 2, 4}, 3400, []int64{600, 3900}},
		"a repository too large": {[]int{0, 3}, 1000, []int64{500, 1300, 2133, 2966, 3900}},
		"each for itself":        {[]int{0, 1, 2, 3, 4, 5, 6}, 300, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := h.layout(nil, nil, nil, nil)
			l.compact = &ungzip{Compact: &Compact{LongFrame: test.most << 10}}
			l.long = longRun{0, len(h.Members), test.edges}
			start := l.segments[l.blobs].offset
			last := start
			var got []int64
			for _, at := range l.cuts() {
				if at <= last || at-last > test.most<<10 {
					t.Errorf("a frame from %d to %d", last-start, at-start)
				}
				got, last = append(got, (at-start)>>10), at
			}
			if end := l.segments[l.tail-1].end(); last != end {
				t.Errorf("the last frame ends at %d, want %d", last, end)
			}
			if test.want != nil && !slices.Equal(got, test.want) {
				t.Errorf("cut at %v KiB, want %v", got, test.want)
			}
		})
	}
}
