package bundle

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// noisy returns a layer of size plain bytes, of which a quarter goes, as Go writes it at that level.
func (f *fixture) noisy(seed uint64, size, level int) oci.Descriptor {
	plain := make([]byte, size)
	for i, r := 0, rand.New(rand.NewPCG(seed, 2)); i < size; i++ {
		plain[i] = byte(r.Uint32()) & 63
	}
	return f.zip(plain, level)
}

// compactFixture has images of two platforms with a shared layer, layers of engines with and without restarts, one that
// is kept, and one that is no gzip. unit is how many bytes a layer has more or less.
func compactFixture(t testing.TB, unit int) *fixture {
	f := newFixture(t)
	base := f.noisy(1, 2*unit, 6)
	f.image("quay.io/a/app:1", f.index(
		f.plainImage(base, f.noisy(3, unit, 1), f.noisy(4, unit/2, 1)),
		f.plainImage(base, f.noisy(5, unit, 1), f.noisy(6, 10, 9)),
	))
	f.image("quay.io/b/app:1", f.plainImage(base, f.noisy(7, unit, 9), f.layer(2, unit/2)))
	f.image("quay.io/c/tar:1", f.plainImage(f.add(ocispec.MediaTypeImageLayer, text("plain tar", unit))))
	return f.compact()
}

// forgeCompact returns the parts of a compact bundle of f, with the recipes that f.encode makes, after change has had its way
// with its head.
func forgeCompact(t testing.TB, f *fixture, change func(h *Head)) forged {
	t.Helper()
	l, err := newLayout(f.contents)
	if err != nil {
		t.Fatal(err)
	}
	h, index := l.head, l.segments[1].raw
	for _, m := range h.Members {
		if raw := l.own(m.Descriptor()); raw != nil {
			f.blobs[m.Digest] = raw
		}
	}
	for _, again := range h.Recreated {
		f.blobs[h.Members[again.Plain].Digest] = f.gunzip(again.Descriptor())
		if f.encode != nil {
			recipe := &h.Members[again.Recipe]
			r, err := gzip.Decode(f.blobs[recipe.Digest])
			if err != nil {
				t.Fatal(err)
			}
			d := f.add(RecipeMediaType, f.encode(r))
			recipe.Digest, recipe.Size = d.Digest, d.Size
		}
	}
	size, sums := int64(len(index)), h.sumsSize()
	raw, err := h.encode(func(head int64) {
		h.place(span(int64(len(layoutFile)))+span(size)+span(head)+span(sums), size, head, sums)
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(h)
	}
	out := forged{layout: layoutFile, index: index}
	if out.head, err = json.Marshal(h); err != nil {
		t.Fatal(err)
	}
	out.head = append(out.head, bytes.Repeat([]byte(" "), max(0, len(raw)-len(out.head)))...)
	out.sums = h.sums(out.index, out.head)
	for _, m := range h.Members {
		out.members = append(out.members, forgedMember{m.Name(), m.Size, f.blobs[m.Digest]})
	}
	return out
}

func TestCompactOpen(t *testing.T) {
	f := compactFixture(t, 50_000)
	raw := f.writeAll(compress.WriterOptions{Format: compress.Zstd})
	b, err := openBytes(t, raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.Head().Recreated); n != 6 {
		t.Fatalf("%d blobs are recreated", n)
	}
	for i := range len(b.Head().Members) + len(b.Head().Recreated) {
		d := b.Head().Blob(i)
		whole, err := readBlob(t, b, d, 0)
		if err != nil || digest.FromBytes(whole) != d.Digest {
			t.Fatalf("%s: %d bytes, %v", d.Digest, len(whole), err)
		}
		for _, from := range []int64{d.Size / 3, d.Size} {
			if got, err := readBlob(t, b, d, from); err != nil || !bytes.Equal(got, whole[from:]) {
				t.Errorf("%s from %d: %d bytes, %v", d.Digest, from, len(got), err)
			}
		}
	}
	for _, img := range b.Head().Images {
		if _, err := b.Graph(t.Context(), img); err != nil {
			t.Errorf("%s: %v", img.Name, err)
		}
	}
	if err := drain(t, raw); err != nil {
		t.Errorf("from a pipe: %v", err)
	}
}

// A reading that is given up takes nothing with it.
func TestCompactClosedEarly(t *testing.T) {
	b, err := openBytes(t, compactFixture(t, 100_000).writeAll(compress.WriterOptions{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := b.Head().Recreated[0].Descriptor()
	r, err := b.Open(t.Context(), oci.Repository{}, d, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes were read after the end", n)
	}
}

// jobsOf returns the copy of all images of a bundle.
func jobsOf(t testing.TB, src interface {
	Graph(context.Context, Image) (*oci.Node, error)
}, h *Head,
) (jobs []oci.Job) {
	t.Helper()
	for i, img := range h.Images {
		root, err := src.Graph(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		to := oci.Target{Repository: oci.Repository{Host: "there.test", Path: fmt.Sprintf("app%d", i)}, Tag: "v1"}
		jobs = append(jobs, oci.Job{Name: img.Name, Root: root, To: []oci.Target{to}})
	}
	return jobs
}

// copyInTime fails the test when a copy does not come to its end.
func copyInTime(t testing.TB, src oci.Source, dst oci.Sink, jobs []oci.Job, o oci.CopyOptions) *oci.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := oci.Copy(ctx, src, dst, jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func checkCopied(t testing.TB, dst *ocitest.Memory, r *oci.Report, h *Head) {
	t.Helper()
	for _, o := range r.Outcomes {
		if o.Err != nil {
			t.Errorf("%s: %v", o.Job, o.Err)
			continue
		}
		img := h.Images[slices.IndexFunc(h.Images, func(i Image) bool { return i.Name == o.Job })]
		if got := dst.Tags(o.Target.Repository)[o.Target.Tag]; got != img.Digest {
			t.Errorf("%s: its tag names %s, want %s", o.Job, got, img.Digest)
		}
	}
}

// smallRings makes rings hold as many bytes, for one test.
func smallRings(t testing.TB, size int64) {
	before := ringSize
	ringSize = size
	t.Cleanup(func() { ringSize = before })
}

func TestCompactCopy(t *testing.T) {
	smallRings(t, 10_000)
	raw := compactFixture(t, 50_000).writeAll(compress.WriterOptions{Format: compress.Zstd})
	for _, transfers := range []int{1, 2, 8} {
		b, err := openBytes(t, raw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := b.NewPass()
		var dst ocitest.Memory
		r := copyInTime(t, p, &dst, jobsOf(t, b, b.Head()), oci.CopyOptions{Transfers: transfers})
		p.Close()
		checkCopied(t, &dst, r, b.Head())

		s, err := OpenStream(bytes.NewReader(raw), Options{})
		if err != nil {
			t.Fatal(err)
		}
		dst = ocitest.Memory{}
		r = copyInTime(t, s, &dst, jobsOf(t, s, s.Head()), oci.CopyOptions{Transfers: transfers})
		s.Close()
		checkCopied(t, &dst, r, s.Head())
	}
}

func TestCompactVerify(t *testing.T) {
	defer func(n int64) { streamedFrom = n }(streamedFrom)
	raw := compactFixture(t, 100_000).writeAll(compress.WriterOptions{Format: compress.Zstd})
	for _, streamed := range []int64{streamedFrom, 1} {
		streamedFrom = streamed
		for _, jobs := range []int{1, 3} {
			r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{Jobs: jobs})
			if err != nil || len(r.Damage) > 0 || r.Recreated != 6 || r.Members != len(r.Head.Members) || r.Images != 3 {
				t.Errorf("%d jobs, streamed from %d: %+v, %v", jobs, streamed, r, err)
			}
		}
	}
}

// TestCompactHeadsHurt: what is recreated, and which manifests are twins, is found again without a head.
func TestCompactHeadsHurt(t *testing.T) {
	f := compactFixture(t, 100_000)
	parts := forgeCompact(t, f, nil)
	var want Head
	if err := json.Unmarshal(parts.head, &want); err != nil {
		t.Fatal(err)
	}
	parts.head, parts.sums = []byte("no head"), []byte("no sums")
	raw := parts.write(t)
	for _, index := range []bool{true, false} {
		if !index {
			parts.index = []byte("no index")
			raw = parts.write(t)
		}
		r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Recreated != len(want.Recreated) || r.Images != len(want.Images) || len(r.Damage) != 1 {
			t.Errorf("%d recreated, %d images, damage %v", r.Recreated, r.Images, r.Damage)
		}
		for i, img := range r.Head.Images {
			if index && (img.Name != want.Images[i].Name || img.Digest != want.Images[i].Digest) {
				t.Errorf("image %s %s, want %s %s", img.Name, img.Digest, want.Images[i].Name, want.Images[i].Digest)
			}
		}
		b, err := openBytes(t, raw, Options{Lenient: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range want.Recreated {
			if got, err := readBlob(t, b, again.Descriptor(), 0); err != nil || !bytes.Equal(got, f.blobs[again.Digest]) {
				t.Errorf("%s: %d bytes, %v", again.Digest, len(got), err)
			}
		}
	}
}

// TestCompactRecipesLost: without heads and without recipes a plain twin is not taken for the image, whose digest it has not.
func TestCompactRecipesLost(t *testing.T) {
	f := compactFixture(t, 10_000)
	first := true
	for _, all := range []bool{false, true} {
		f.encode = func(r *gzip.Recipe) []byte {
			if first || all {
				first = false
				return []byte("lost " + hex.EncodeToString(r.Digest[:]))
			}
			return r.Encode()
		}
		parts := forgeCompact(t, f, nil)
		parts.head, parts.sums = []byte("no head"), []byte("no sums")
		raw := parts.write(t)
		b, err := openBytes(t, raw, Options{Lenient: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range b.Head().Images {
			ok := slices.ContainsFunc(f.contents.Images, func(e Entry) bool { return e.Root.Digest == img.Digest })
			if _, err := b.Graph(t.Context(), img); !ok || err == nil && img.Name == "quay.io/a/app:1" {
				t.Errorf("all %t: image %s is %s, %v", all, img.Name, img.Digest, err)
			}
		}
		r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
		if err != nil || r.Images != 1 || len(r.Damage) < 3 { // the head and two images
			t.Errorf("all %t: %d images, damage %v, %v", all, r.Images, r.Damage, err)
		}
	}
}

// stutter is a sink that reads most of each blob, gives it up, and begins again.
type stutter struct{ *ocitest.Memory }

func (s stutter) Push(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
	r, err := c(ctx, 0)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, r, d.Size*9/10)
	r.Close()
	if err != nil {
		return err
	}
	return s.Memory.Push(ctx, to, d, c)
}

// TestCompactRetries: bytes that have left the ring are made once more, and nothing waits for them.
func TestCompactRetries(t *testing.T) {
	smallRings(t, 10_000)
	raw := compactFixture(t, 50_000).writeAll(compress.WriterOptions{Format: compress.Zstd})
	for _, transfers := range []int{1, 3} {
		b, err := openBytes(t, raw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := b.Head().Recreated[0]; d.Size <= ringSize {
			t.Fatalf("the ring holds all of a blob of %d bytes", d.Size)
		}
		p := b.NewPass()
		var dst ocitest.Memory
		r := copyInTime(t, p, stutter{&dst}, jobsOf(t, b, b.Head()), oci.CopyOptions{Transfers: transfers})
		p.Close()
		checkCopied(t, &dst, r, b.Head())
	}
}

// TestCompactSomeAreThere: what the target has is passed over.
func TestCompactSomeAreThere(t *testing.T) {
	f := compactFixture(t, 100_000)
	b, err := openBytes(t, f.writeAll(compress.WriterOptions{Format: compress.Zstd}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for skipped := range b.Head().Recreated {
		var dst ocitest.Memory
		jobs := jobsOf(t, b, b.Head())
		for i, again := range b.Head().Recreated {
			if i == skipped {
				continue
			}
			for _, j := range jobs { // those who do not need it do not mind
				err := dst.Push(t.Context(), j.To[0].Repository, again.Descriptor(), func(context.Context, int64) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(f.blobs[again.Digest])), nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		p := b.NewPass()
		r := copyInTime(t, p, &dst, jobs, oci.CopyOptions{Transfers: 2})
		p.Close()
		checkCopied(t, &dst, r, b.Head())
	}
}
