package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// pack writes members as the plain tar of a file of the format.
func packTar(t *testing.T, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		h.Mode, h.Format = 0o644, tar.FormatUSTAR
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestForeignFiles(t *testing.T) {
	for name, raw := range map[string][]byte{
		"empty":           {},
		"text":            []byte("hello, this is no bundle\n"),
		"one zero block":  make([]byte, 512),
		"other tar":       packTar(t, tar.Header{Name: "etc/passwd", Size: 100}),
		"path upwards":    packTar(t, tar.Header{Name: "../oci-layout", Size: 30}),
		"link":            packTar(t, tar.Header{Name: "oci-layout", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}),
		"folder":          packTar(t, tar.Header{Name: "oci-layout/", Typeflag: tar.TypeDir}),
		"other order":     packTar(t, tar.Header{Name: "index.json", Size: 30}, tar.Header{Name: "oci-layout", Size: 30}),
		"gzip":            []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"),
		"zstd magic only": []byte("\x28\xb5\x2f\xfd"),
		"zstd of a pipe":  []byte("\x28\xb5\x2f\xfd\x04\x58\x01\x00\x00"), // states no content size
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := openBytes(t, raw, Options{}); !isBundleError(err) {
				t.Errorf("open: %v", err)
			}
			if _, _, err := ReadHead(bytes.NewReader(raw), Options{}); !isBundleError(err) {
				t.Errorf("head: %v", err)
			}
			if s, err := OpenStream(bytes.NewReader(raw), Options{}); !isBundleError(err) {
				t.Errorf("stream: %v, %v", s, err)
			}
			if _, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{}); !isBundleError(err) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func isBundleError(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotBundle) || errors.Is(err, ErrVersion)
}

// forged builds a bundle whose parts need not agree.
type forged struct {
	layout, index, head, sums []byte
	members                   []forgedMember
	end                       []byte
}

type forgedMember struct {
	name string
	size int64 // in the header
	raw  []byte
}

func (f forged) write(t testing.TB) []byte {
	t.Helper()
	var plain bytes.Buffer
	add := func(m forgedMember) {
		h := tarHeader(m.name, m.size, time.Unix(0, 0))
		plain.Write(h[:])
		plain.Write(m.raw)
		plain.Write(zeroBlock[:padding(int64(len(m.raw)))])
	}
	four := func(prefix string) {
		for _, m := range []forgedMember{
			{prefix + layoutName, int64(len(f.layout)), f.layout},
			{prefix + indexName, int64(len(f.index)), f.index},
			{prefix + headName, int64(len(f.head)), f.head},
			{prefix + sumsName, int64(len(f.sums)), f.sums},
		} {
			add(m)
		}
	}
	four("")
	for _, m := range f.members {
		add(m)
	}
	four(tailPrefix)
	plain.Write(make([]byte, endSize))
	plain.Write(f.end)
	var out bytes.Buffer
	w, err := compress.NewWriter(&out, compress.WriterOptions{Format: compress.Zstd, ContentID: [32]byte(mustSum(f.sums))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func mustSum(raw []byte) []byte {
	h := digest.SHA256.Hash()
	h.Write(raw)
	return h.Sum(nil)
}

// forge returns the parts of an honest bundle after change has had its way with ferry.json.
func forge(t *testing.T, f *fixture, change func(h *Head)) forged {
	t.Helper()
	l, err := newLayout(f.contents)
	if err != nil {
		t.Fatal(err)
	}
	out := forged{layout: layoutFile, index: l.segments[1].raw}
	if change != nil {
		change(l.head)
	}
	if out.head, err = json.Marshal(l.head); err != nil {
		t.Fatal(err)
	}
	if pad := len(l.segments[2].raw) - len(out.head); pad > 0 {
		out.head = append(out.head, bytes.Repeat([]byte(" "), pad)...)
	}
	out.sums = l.head.sums(out.index, out.head)
	for _, m := range l.head.Members {
		out.members = append(out.members, forgedMember{m.Name(), m.Size, f.blobs[m.Digest]})
	}
	return out
}

func TestForgedHonest(t *testing.T) { // else the forgeries below prove nothing
	raw := forge(t, smallFixture(t), nil).write(t)
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
}

func TestForgedHead(t *testing.T) {
	for name, change := range map[string]func(h *Head){
		"later version":          func(h *Head) { h.Version = 2 },
		"version 0":              func(h *Head) { h.Version = 0 },
		"unknown requirement":    func(h *Head) { h.Requires = []string{"compact"} },
		"other format":           func(h *Head) { h.Format = "crate" },
		"size of 10 GB":          func(h *Head) { h.Members[0].Size = 10 << 30 },
		"negative size":          func(h *Head) { h.Members[0].Size = -1 },
		"offset moved":           func(h *Head) { h.Members[1].Offset += 512 },
		"offset overflow":        func(h *Head) { h.Members[0].Size, h.Members[0].Offset = 1<<40, 1<<62+1<<61 },
		"member twice":           func(h *Head) { h.Members[1].Digest = h.Members[0].Digest },
		"digest with a path":     func(h *Head) { h.Members[0].Digest = "sha256:../../../etc/passwd" },
		"image twice":            func(h *Head) { h.Images = append(h.Images, h.Images[len(h.Images)-1]) },
		"image without name":     func(h *Head) { h.Images[0].Name = "" },
		"image without manifest": func(h *Head) { h.Images[0].Digest = digest.FromString("x") },
		"blob number":            func(h *Head) { h.Images[0].Manifests[0].Blobs[0] = 1 << 30 },
		"tail moved":             func(h *Head) { h.Tail += 512 },
		"size of the tar":        func(h *Head) { h.Size += 512 },
		"other blob of an image": func(h *Head) { h.Images[1].Manifests[0].Blobs[0] = len(h.Members) - 1 },
		"other platform":         func(h *Head) { h.Images[0].Manifests[0].Platform = "linux/riscv64" },
		"missing without name":   func(h *Head) { h.Missing = []Missing{{Reason: "not found"}} },
		"missing with a long reason": func(h *Head) {
			h.Missing = []Missing{{Name: "a", Reason: strings.Repeat("x", maxMissingText+1)}}
		},
		"too many labels": func(h *Head) {
			h.Labels = map[string]string{strings.Repeat("k", maxNameLen+1): "v"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := forge(t, smallFixture(t), change).write(t)
			report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err == nil && len(report.Damage) == 0 {
				t.Fatal("verify found nothing")
			}
			if err != nil && !isBundleError(err) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func TestForgedTar(t *testing.T) {
	evil := []byte("evil")
	for name, change := range map[string]func(f *forged){
		"member too many":   func(f *forged) { f.members = append(f.members, forgedMember{"../../evil", 4, evil}) },
		"member twice":      func(f *forged) { f.members = append(f.members, f.members[0]) },
		"member missing":    func(f *forged) { f.members = f.members[1:] },
		"wrong order":       func(f *forged) { f.members[0], f.members[1] = f.members[1], f.members[0] },
		"10 GB in a header": func(f *forged) { f.members[0].size = 10 << 30 },
		"other content":     func(f *forged) { f.members[0].raw = bytes.Repeat([]byte("x"), len(f.members[0].raw)) },
		"sums of others":    func(f *forged) { f.sums = bytes.Replace(f.sums, []byte("a"), []byte("b"), 1) },
		"other index":       func(f *forged) { f.index = []byte(`{"schemaVersion":2,"manifests":[]}`) },
		"after the end":     func(f *forged) { f.end = bytes.Repeat([]byte("x"), 512) },
		"zeros after it":    func(f *forged) { f.end = make([]byte, 512) },
		"no oci-layout":     func(f *forged) { f.layout = []byte(`{}`) },
	} {
		t.Run(name, func(t *testing.T) {
			f := forge(t, smallFixture(t), nil)
			change(&f)
			raw := f.write(t)
			report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err == nil && len(report.Damage) == 0 {
				t.Fatal("verify found nothing")
			}
			if err != nil && !isBundleError(err) {
				t.Errorf("verify: %v", err)
			}
			if err := drain(t, raw); err == nil {
				t.Error("a pipe found nothing")
			}
		})
	}
}

// TestMissingChild: an index whose child is not in the bundle is damage of its image and of no other.
func TestMissingChild(t *testing.T) {
	f := smallFixture(t)
	other := newFixture(t)
	gone := other.manifest(oci.Platform{OS: "linux", Architecture: "s390x"}, other.layer(9, 50))
	full := f.index(f.manifest(amd64, f.layer(1, 300)), gone)
	root := &oci.Node{Descriptor: full, Raw: f.blobs[full.Digest], Manifest: &oci.Manifest{MediaType: full.MediaType}}
	f.contents.Images = append(f.contents.Images, Entry{Name: "docker.io/library/sparse:1", Root: root})
	raw := f.write(compress.WriterOptions{})
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(report.Damage) != 1 || len(report.Damage[0].Images) != 1 || report.Images != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	if report.Damage[0].Images[0] != "docker.io/library/sparse:1" {
		t.Errorf("damage of %v", report.Damage[0].Images)
	}
}

func FuzzOpenNeverPanics(f *testing.F) {
	for _, format := range formats {
		raw := smallFixture(f).write(compress.WriterOptions{Format: format})
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Add(compactFixture(f, 300).writeAll(compress.WriterOptions{Format: compress.Zstd}))
	f.Add(forgeCompact(f, compactFixture(f, 300), nil).write(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{Jobs: 1}); err == nil && len(report.Damage) == 0 {
			if err := drain(t, raw); err != nil {
				t.Errorf("verify found it whole, a pipe did not: %v", err)
			}
		}
	})
}

func FuzzParseHeadNeverPanics(f *testing.F) {
	l, err := newLayout(smallFixture(f).contents)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.segments[2].raw)
	if l, err = newLayout(compactFixture(f, 10).contents); err != nil {
		f.Fatal(err)
	}
	f.Add(l.segments[2].raw)
	f.Add([]byte(`{"format":"ferry-bundle","version":1,"members":[{"offset":-512}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := parseHead(raw)
		if err == nil {
			for i := range len(h.Members) + len(h.Recreated) {
				h.ImagesWith(h.Blob(i).Digest)
			}
		} else if !isBundleError(err) {
			t.Errorf("%v is no error about a bundle", err)
		}
	})
}

func FuzzTarHeaderRoundTrip(f *testing.F) {
	h := tarHeader("blobs/sha256/x", 9<<30, time.Unix(1, 0))
	f.Add(h[:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < blockSize {
			return
		}
		if e, err := parseTarHeader(raw[:blockSize]); err == nil {
			if again := tarHeader(e.name, e.size, e.mtime); !bytes.Equal(again[:], raw[:blockSize]) {
				t.Errorf("%+v does not give the header back", e)
			}
		}
	})
}

// TestTarHeader holds the header against another implementation.
func TestTarHeader(t *testing.T) {
	for name, size := range map[string]int64{"oci-layout": 30, blobPrefix + strings.Repeat("a", 64): 9 << 30} {
		h := tarHeader(name, size, time.Unix(1_700_000_000, 0))
		got, err := tar.NewReader(io.MultiReader(bytes.NewReader(h[:]), zeros{})).Next()
		if err != nil || got.Name != name || got.Size != size || got.Mode != 0o644 || got.ModTime.Unix() != 1_700_000_000 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if e, err := parseTarHeader(h[:]); err != nil || e.name != name || e.size != size {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}
