package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// fixture is some images and their blobs.
type fixture struct {
	t        testing.TB
	blobs    map[digest.Digest][]byte
	contents Contents
	encode   func(*gzip.Recipe) []byte // in bundles that are forged; nil: as it is
}

func newFixture(t testing.TB) *fixture {
	return &fixture{t: t, blobs: map[digest.Digest][]byte{}}
}

func (f *fixture) add(mediaType string, raw []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	f.blobs[d.Digest] = raw
	return d
}

func (f *fixture) addJSON(mediaType string, v any) oci.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.add(mediaType, raw)
}

// layer returns a layer that looks like gzip and is the same for the same seed, with every version of Go.
func (f *fixture) layer(seed uint64, size int) oci.Descriptor {
	content := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	for r := rand.New(rand.NewPCG(seed, 1)); len(content) < size; {
		content = append(content, byte(r.Uint32()))
	}
	return f.add(ocispec.MediaTypeImageLayerGzip, content)
}

func (f *fixture) manifest(platform oci.Platform, layers ...oci.Descriptor) oci.Descriptor {
	config := f.addJSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: platform})
	d := f.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers,
	})
	d.Platform = &platform
	return d
}

func (f *fixture) index(manifests ...oci.Descriptor) oci.Descriptor {
	return f.addJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
}

func (f *fixture) image(name string, root oci.Descriptor) {
	f.t.Helper()
	platform := root.Platform
	root.Platform = nil
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) { return f.blobs[d.Digest], nil }
	node, err := oci.LoadGraph(f.t.Context(), fetch, root)
	if err != nil {
		f.t.Fatal(err)
	}
	node.ConfigPlatform = platform
	f.contents.Images = append(f.contents.Images, Entry{Name: name, Root: node})
}

var (
	amd64 = oci.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
)

// smallFixture has two images of two platforms with a shared layer, a single one with an uncompressed layer, and an
// image without layers. No member is longer than a few hundred bytes.
func smallFixture(t testing.TB) *fixture {
	f := newFixture(t)
	base := f.layer(1, 300)
	tar := f.add(ocispec.MediaTypeImageLayer, bytes.Repeat([]byte("plain tar "), 60))
	f.image("quay.io/a/app:1", f.index(f.manifest(amd64, base, f.layer(2, 200)), f.manifest(arm64, base, f.layer(3, 100))))
	f.image("docker.io/library/web:2", f.index(f.manifest(amd64, base), f.manifest(arm64, f.layer(4, 150))))
	f.image("registry.k8s.io/pause:3.9", f.manifest(amd64, tar))
	f.image("ghcr.io/x/empty:latest", f.manifest(arm64))
	return f
}

// largeFixture has layers of 5 to 9 units, which span frames of the size that spanningFixture gives.
func largeFixture(t testing.TB, unit int) *fixture {
	f := newFixture(t)
	base := f.layer(1, 9*unit)
	f.image("quay.io/a/app:1", f.index(f.manifest(amd64, base, f.layer(2, 5*unit)), f.manifest(arm64, base, f.layer(3, 100))))
	f.image("docker.io/library/web:2", f.index(f.manifest(amd64, base), f.manifest(arm64, f.layer(4, 6*unit))))
	f.image("registry.k8s.io/pause:3.9", f.manifest(amd64, f.add(ocispec.MediaTypeImageLayer, make([]byte, 6*unit))))
	return f
}

// spanningFixture returns a fixture whose layers span frames of the format, and how to write it. The pieces of a plain tar
// have one size for ever, so its layers have to be large.
func spanningFixture(t testing.TB, f compress.Format) (*fixture, compress.WriterOptions) {
	if f == compress.None {
		return largeFixture(t, 1<<19), compress.WriterOptions{Format: f}
	}
	return largeFixture(t, 1<<14), compress.WriterOptions{Format: f, FrameSize: 1 << 16}
}

func (f *fixture) write(o compress.WriterOptions) []byte {
	f.t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, f.contents, o)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, d := range w.Blobs() {
		if err := w.WriteBlob(d, bytes.NewReader(f.blobs[d.Digest]), true); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

func openBytes(t testing.TB, raw []byte, o Options) (*Bundle, error) {
	return Open(t.Context(), bytes.NewReader(raw), int64(len(raw)), o)
}

var formats = []compress.Format{compress.Zstd, compress.XZ, compress.None}

func TestRoundTrip(t *testing.T) {
	for _, f := range formats {
		for _, name := range []string{"small", "spanning"} {
			t.Run(fmt.Sprintf("%s %s", f, name), func(t *testing.T) {
				fixture, o := spanningFixture(t, f)
				if name == "small" {
					fixture = smallFixture(t)
				}
				raw := fixture.write(o)
				b, err := openBytes(t, raw, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range b.Head().Members {
					got, err := readBlob(t, b, m.Descriptor(), 0)
					if err != nil || digest.FromBytes(got) != m.Digest {
						t.Errorf("%s: %d bytes, %v", m.Digest, len(got), err)
					}
					from := m.Size / 3
					if got, err := readBlob(t, b, m.Descriptor(), from); err != nil || !bytes.Equal(got, fixture.blobs[m.Digest][from:]) {
						t.Errorf("%s from %d: %d bytes, %v", m.Digest, from, len(got), err)
					}
				}
				if got, want := len(b.Head().Members), len(fixture.blobs); got != want {
					t.Errorf("%d members, want %d", got, want)
				}
				for _, img := range b.Head().Images {
					if _, err := b.Graph(t.Context(), img); err != nil {
						t.Errorf("%s: %v", img.Name, err)
					}
				}
				report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
				if err != nil || len(report.Damage) > 0 || report.Members != len(fixture.blobs) || report.Images != len(fixture.contents.Images) {
					t.Errorf("verify: %+v, %v", report, err)
				}
			})
		}
	}
}

func readBlob(t testing.TB, src oci.Source, d oci.Descriptor, offset int64) ([]byte, error) {
	r, err := src.Open(t.Context(), oci.Repository{}, d, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestSameInputSameBytes(t *testing.T) {
	ids := map[string]bool{}
	for _, f := range formats {
		one, _ := spanningFixture(t, compress.Zstd)
		shuffled, o := spanningFixture(t, compress.Zstd)
		o.Format = f
		rand.Shuffle(len(shuffled.contents.Images), func(i, j int) {
			c := shuffled.contents.Images
			c[i], c[j] = c[j], c[i]
		})
		o.Jobs = 1
		a := one.write(o)
		o.Jobs = 8
		b := shuffled.write(o)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: the bytes depend on the order of the list or on the number of jobs", f)
		}
		bundle, err := openBytes(t, a, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ids[bundle.ContentID()] = true
	}
	if len(ids) != 1 {
		t.Errorf("the content id depends on the format: %v", ids)
	}
}

func TestWriterRefuses(t *testing.T) {
	f := smallFixture(t)
	w, err := NewWriter(io.Discard, f.contents, compress.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	first, last := w.Blobs()[0], w.Blobs()[len(w.Blobs())-1]
	if err := w.WriteBlob(last, bytes.NewReader(f.blobs[last.Digest]), false); err == nil {
		t.Error("a blob out of order was taken")
	}
	if err := w.Close(); err == nil {
		t.Error("a bundle without blobs was closed")
	}

	for name, content := range map[string][]byte{
		"one byte short": f.blobs[first.Digest][1:],
		"one byte long":  append(bytes.Clone(f.blobs[first.Digest]), 0),
		"altered":        append(bytes.Clone(f.blobs[first.Digest][1:]), 'x'),
	} {
		w, err := NewWriter(io.Discard, f.contents, compress.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteBlob(first, bytes.NewReader(content), true); !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: the bundle was finished", name)
		}
	}
}

// TestEachByteFlipped is the promise that damage is never silent: with NAME.sha256 verify reports each flipped byte, and
// without it what it does not report (an unused bit in the header of a zstd frame) leaves every member as it was.
func TestEachByteFlipped(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			fixture := smallFixture(t)
			raw := fixture.write(compress.WriterOptions{Format: f})
			sum := sha256.Sum256(raw)
			silent := 0
			for i := 0; i < len(raw); i += flipStep(f) {
				hurt := bytes.Clone(raw)
				hurt[i] ^= 1 << (i % 8)
				report, err := Verify(t.Context(), bytes.NewReader(hurt), int64(len(hurt)), VerifyOptions{Jobs: 1, Sum: &sum})
				switch {
				case err != nil && !isBundleError(err):
					t.Fatalf("byte %d: %v is not an error about the bundle", i, err)
				case err == nil && len(report.Damage) == 0:
					t.Fatalf("byte %d of %d: not reported", i, len(raw))
				case err == nil && report.Damage[0].Member == wholeFile:
					silent++
				}
				readHurt(t, hurt, i, err == nil && report.Damage[0].Member == wholeFile)
			}
			if silent > len(raw)/200 {
				t.Errorf("%d of %d flips were seen by the sum of the file alone", silent, len(raw))
			}
		})
	}
}

// flipStep is the distance of the bytes that are flipped, by format: odd, so that all bits have their turn. A plain tar is
// mostly padding. FERRY_E2E_LONG=1 flips them all.
func flipStep(f compress.Format) int {
	if os.Getenv("FERRY_E2E_LONG") != "" {
		return 1
	}
	return map[compress.Format]int{compress.Zstd: 13, compress.XZ: 23, compress.None: 101}[f]
}

// readHurt reads all blobs of a damaged bundle as a push does. When whole, all must be there.
func readHurt(t *testing.T, hurt []byte, at int, whole bool) {
	b, err := openBytes(t, hurt, Options{})
	if err != nil {
		if whole {
			t.Fatalf("byte %d: not reported, and not opened: %v", at, err)
		}
		return
	}
	for i := range len(b.Head().Members) + len(b.Head().Recreated) {
		d := b.Head().Blob(i)
		r, err := b.Open(t.Context(), oci.Repository{}, d, 0)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(oci.Verify(r, d))
			r.Close()
		}
		if whole && err != nil {
			t.Fatalf("byte %d: not reported, and %s is lost: %v", at, d.Digest, err)
		}
		if err == nil && digest.FromBytes(got) != d.Digest {
			t.Fatalf("byte %d: blob %s has other content", at, d.Digest)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			raw := smallFixture(t).write(compress.WriterOptions{Format: f})
			for n := 0; n < len(raw); n += 97 {
				if b, err := openBytes(t, raw[:n], Options{}); err == nil {
					t.Fatalf("%d of %d bytes were opened: %v", n, len(raw), b.Damage())
				}
				if err := drain(t, raw[:n]); err == nil {
					t.Fatalf("%d of %d bytes were read from a pipe", n, len(raw))
				}
			}
			if err := drain(t, append(bytes.Clone(raw), 0)); err == nil {
				t.Error("a byte after the end was not seen in a pipe")
			}
			if _, err := openBytes(t, append(bytes.Clone(raw), 0), Options{}); err == nil {
				t.Error("a byte after the end was not seen")
			}
		})
	}
}

// drain reads a bundle as from a pipe and proves all blobs.
func drain(t testing.TB, raw []byte) error {
	s, err := OpenStream(bytes.NewReader(raw), Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	var first error
	for _, d := range s.InOrder() {
		r, err := s.Open(t.Context(), oci.Repository{}, d, 0)
		if err == nil {
			_, err = io.Copy(io.Discard, oci.Verify(r, d))
			r.Close()
		}
		s.Release(d)
		first = cmp.Or(first, err)
	}
	return cmp.Or(first, s.Finish(t.Context()))
}

func TestStream(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			fixture, o := spanningFixture(t, f)
			if err := drain(t, fixture.write(o)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStreamRepeats(t *testing.T) {
	f := largeFixture(t, 1<<20) // more than a ring
	s, err := OpenStream(bytes.NewReader(f.write(compress.WriterOptions{})), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, d := range s.InOrder() {
		r, err := s.Open(t.Context(), oci.Repository{}, d, 0)
		if err != nil {
			t.Fatal(err)
		}
		half := make([]byte, d.Size/2)
		if _, err := io.ReadFull(r, half); err != nil {
			t.Fatal(err)
		}
		r.Close()
		back := max(0, d.Size/2-ringSize/2) // this much is promised
		again, err := readBlob(t, s, d, back)
		if err != nil || !bytes.Equal(append(half[:back:back], again...), f.blobs[d.Digest]) {
			t.Errorf("%s from %d: %d bytes, %v", d.Digest, back, len(again), err)
		}
		if _, err := s.Open(t.Context(), oci.Repository{}, d, 0); d.Size > ringSize && !errors.Is(err, oci.ErrGone) {
			t.Errorf("%s: what has left the ring: %v", d.Digest, err)
		}
		s.Release(d)
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStreamReleasedUnread(t *testing.T) {
	f, o := spanningFixture(t, compress.Zstd)
	s, err := OpenStream(bytes.NewReader(f.write(o)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, d := range s.InOrder() {
		s.Release(d)
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

// badReader cannot read some of its bytes, as a disk with a bad sector.
type badReader struct {
	*bytes.Reader
	from, to int64
}

var errIO = errors.New("input/output error")

func (r *badReader) ReadAt(p []byte, off int64) (int, error) {
	if off < r.to && off+int64(len(p)) > r.from {
		n := max(0, r.from-off)
		m, _ := r.Reader.ReadAt(p[:n], off)
		return m, errIO
	}
	return r.Reader.ReadAt(p, off)
}

func TestBadSector(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			fixture, o := spanningFixture(t, f)
			raw := fixture.write(o)
			b, err := openBytes(t, raw, Options{})
			if err != nil {
				t.Fatal(err)
			}
			last := fixture.contents.Images[0].Root.Children[0].Manifest.Layers[1] // of quay.io/a/app alone
			m := b.Head().Members[b.blobs[last.Digest]]
			from, length := fileRange(b.table, m.Offset+blockSize, 1)
			at := from + length/2
			report, err := Verify(t.Context(), &badReader{bytes.NewReader(raw), at, at + 512}, int64(len(raw)), VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var hit *Damage
			for i, d := range report.Damage {
				if d.Digest == last.Digest {
					hit = &report.Damage[i]
				}
			}
			if hit == nil || len(hit.Images) != 1 || hit.Images[0] != "quay.io/a/app:1" || hit.Offset > at || hit.Offset+hit.Length <= at {
				t.Fatalf("damage at %d: %+v", at, report.Damage)
			}
			if report.Members < len(fixture.blobs)-3 { // a frame of 4 MiB holds some
				t.Errorf("%d of %d members are left: %+v", report.Members, len(fixture.blobs), report.Damage)
			}
			if report.FileSum != "" {
				t.Error("the sum of a file that could not be read is given")
			}
		})
	}
}

func TestHeadHurt(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			fixture, o := spanningFixture(t, f)
			raw := fixture.write(o)
			whole, err := openBytes(t, raw, Options{})
			if err != nil {
				t.Fatal(err)
			}
			head, tail := whole.layout.segments[2], whole.layout.segments[whole.layout.tail+2]
			hurt := bytes.Clone(raw)
			zero(t, hurt, whole, head)
			if _, err := openBytes(t, hurt, Options{}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("a bundle with a damaged head was opened: %v", err)
			}
			// The frame before that of the tail is hurt, too.
			zero(t, hurt, whole, whole.layout.segments[whole.layout.tail-1])
			b, err := openBytes(t, hurt, Options{Lenient: true})
			if err != nil || len(b.Damage()) == 0 || b.layout.rebuilt {
				t.Fatalf("by the tail: %+v, %v", b, err)
			}
			hurt = bytes.Clone(raw)
			zero(t, hurt, whole, head)
			zero(t, hurt, whole, tail)
			report, err := Verify(t.Context(), bytes.NewReader(hurt), int64(len(hurt)), VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Damage) == 0 || len(report.Head.Images) != len(fixture.contents.Images) {
				t.Errorf("by the tar alone: images %d, damage %v", len(report.Head.Images), report.Damage)
			}
			if report.Members < len(fixture.blobs)-2 {
				t.Errorf("%d of %d members were found", report.Members, len(fixture.blobs))
			}
		})
	}
}

// zero overwrites the middle of the bytes of the file that hold a segment.
func zero(t *testing.T, raw []byte, b *Bundle, s segment) {
	t.Helper()
	from, length := fileRange(b.table, s.body(), s.size)
	if b.table.Format == compress.None {
		from, length = s.body(), s.size
	}
	for i := from + length/3; i < from+length/3+64; i++ {
		raw[i] = 0xff
	}
}
