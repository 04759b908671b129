package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// here is the repository of a store, which has only one place.
var here oci.Repository

func openStore(t *testing.T, dir string) *oci.Store {
	t.Helper()
	s, err := oci.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that care have closed it
	return s
}

// abandon lets go of a store as the end of its process would: nothing is written, only the lock is released.
func abandon(t *testing.T, s *oci.Store) {
	t.Helper()
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// given is the content raw; it notes the offsets at which it was opened.
type given struct {
	raw     []byte
	cut     int64 // where reading breaks off, when it is not 0
	offsets []int64
}

func (g *given) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	g.offsets = append(g.offsets, offset)
	if g.cut == 0 {
		return io.NopCloser(bytes.NewReader(g.raw[offset:])), nil
	}
	part := g.raw[min(offset, g.cut):g.cut]
	return io.NopCloser(io.MultiReader(bytes.NewReader(part), iotest.ErrReader(errCut))), nil
}

func push(t *testing.T, s *oci.Store, d oci.Descriptor, raw []byte) *given {
	t.Helper()
	g := &given{raw: raw}
	if err := s.Push(t.Context(), here, d, g.open); err != nil {
		t.Fatalf("push: %v", err)
	}
	return g
}

func blobFile(dir string, d oci.Descriptor) string {
	return filepath.Join(dir, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

func partFile(dir string, d oci.Descriptor) string {
	return filepath.Join(dir, "partial", d.Digest.Encoded())
}

func TestStorePassesTheSuite(t *testing.T) {
	ocitest.TestEnds(t, func(t *testing.T) (oci.Source, oci.Sink) {
		s := openStore(t, t.TempDir())
		return s, s
	})
}

func TestScratchPassesTheSuite(t *testing.T) {
	ocitest.TestEnds(t, func(t *testing.T) (oci.Source, oci.Sink) {
		s, err := oci.OpenScratch(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s, s
	})
}

func TestStoreIsAnImageLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	s := openStore(t, dir)
	p := randomBytes(1, 1000)
	push(t, s, describe(p), p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
		filepath.Join("blobs", "sha256", describe(p).Digest.Encoded()): string(p),
	} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != want {
			t.Errorf("%s: %.100q, error %v, want %.100q", name, raw, err, want)
		}
	}
	for _, name := range []string{"unsynced", "index.json.tmp", "oci-layout.tmp", partFile("", describe(p))} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

func TestStoreSHA512(t *testing.T) {
	s := openStore(t, t.TempDir())
	p := randomBytes(1, 1000)
	d := oci.Descriptor{Digest: digest.SHA512.FromBytes(p), Size: int64(len(p))}
	push(t, s, d, p)
	if raw, err := os.ReadFile(blobFile(s.Dir(), d)); err != nil || !bytes.Equal(raw, p) {
		t.Errorf("%d bytes, error %v", len(raw), err)
	}
}

func TestOpenStoreRefuses(t *testing.T) {
	for name, file := range map[string][2]string{
		"somebody's folder":   {"letter.txt", "Dear Sir"},
		"other layout":        {"oci-layout", `{"imageLayoutVersion":"2.0.0"}`},
		"torn layout":         {"oci-layout", `{"imageLay`},
		"index.json alone":    {"index.json", `{}`},
		"endless oci-layout":  {"oci-layout", strings.Repeat(" ", 1<<20)},
		"a folder of no kind": {"blobs", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, file[0]), []byte(file[1]), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := oci.OpenStore(dir); err == nil || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want one that names the folder", err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("the folder now has %v, error %v", entries, err)
			}
		})
	}
}

func TestOpenStoreRefusesTornIndex(t *testing.T) {
	dir := t.TempDir()
	if err := openStore(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"manifests":[`), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time shows that the lock was let go
		_, err := oci.OpenStore(dir)
		if err == nil || errors.Is(err, oci.ErrLocked) || !strings.Contains(err.Error(), "index.json") {
			t.Errorf("error %v", err)
		}
	}
}

func TestOpenStoreAfterEarlyEnd(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lock", "oci-layout.tmp"} { // as left before there was a layout
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	openStore(t, dir)
}

func TestTwoStoresOnOneFolder(t *testing.T) {
	dir := t.TempDir()
	first := openStore(t, dir)
	_, err := oci.OpenStore(dir)
	if !errors.Is(err, oci.ErrLocked) || err.Error() != "store "+dir+": in use by another run" {
		t.Errorf("error %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, dir).Close(); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
}

func TestStoreRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	push(t, s, describe([]byte("x")), []byte("x"))
	if _, err := s.Journal("plan"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	s = openStore(t, dir)
	letter := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(letter, []byte("Dear Sir"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(letter); err != nil {
		t.Errorf("a file that is not the store's is gone: %v", err)
	}
}

func TestStoreResumes(t *testing.T) {
	const size = 1 << 20
	p := randomBytes(1, size)
	d := describe(p)
	for name, again := range map[string]func(*testing.T, *oci.Store) *oci.Store{
		"in the same run": func(_ *testing.T, s *oci.Store) *oci.Store { return s },
		"after Close": func(t *testing.T, s *oci.Store) *oci.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openStore(t, s.Dir())
		},
		"after the process ended": func(t *testing.T, s *oci.Store) *oci.Store {
			abandon(t, s)
			return openStore(t, s.Dir())
		},
	} {
		for _, cut := range []int64{1, 1000, 256 << 10, 700_001, size - 1} {
			t.Run(fmt.Sprintf("%s at %d", name, cut), func(t *testing.T) {
				s := openStore(t, t.TempDir())
				if err := s.Push(t.Context(), here, d, (&given{raw: p, cut: cut}).open); !errors.Is(err, errCut) {
					t.Fatalf("error %v, want that of the content", err)
				}
				s = again(t, s)
				g := push(t, s, d, p)
				if len(g.offsets) != 1 || g.offsets[0] != cut {
					t.Errorf("opened at %v, want %d", g.offsets, cut)
				}
				if raw, err := os.ReadFile(blobFile(s.Dir(), d)); err != nil || !bytes.Equal(raw, p) {
					t.Errorf("%d bytes, error %v", len(raw), err)
				}
			})
		}
	}
}

func TestStoreBadParts(t *testing.T) {
	p := randomBytes(1, 300_000)
	d := describe(p)
	altered := bytes.Clone(p)
	altered[7] ^= 1
	for name, c := range map[string]struct {
		part    []byte
		offsets []int64
	}{
		"altered part":           {altered[:1000], []int64{1000, 0}},
		"zeros, as a crash left": {make([]byte, 1000), []int64{1000, 0}},
		"whole, altered":         {altered, []int64{0}},
		"too long":               {append(bytes.Clone(p), 1), []int64{0}},
		"empty":                  {nil, []int64{0}},
		"whole":                  {p, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			if err := os.WriteFile(partFile(s.Dir(), d), c.part, 0o644); err != nil {
				t.Fatal(err)
			}
			g := push(t, s, d, p)
			if fmt.Sprint(g.offsets) != fmt.Sprint(c.offsets) {
				t.Errorf("opened at %v, want %v", g.offsets, c.offsets)
			}
			if raw, err := os.ReadFile(blobFile(s.Dir(), d)); err != nil || !bytes.Equal(raw, p) {
				t.Errorf("%d bytes, error %v", len(raw), err)
			}
		})
	}
}

func TestStoreKeepsNothingOfWrongContent(t *testing.T) {
	s := openStore(t, t.TempDir())
	p := randomBytes(1, 300_000)
	d := describe(p)
	altered := bytes.Clone(p)
	altered[299_999] ^= 1
	if err := os.WriteFile(partFile(s.Dir(), d), p[:1000], 0o644); err != nil {
		t.Fatal(err)
	}
	g := &given{raw: altered}
	if err := s.Push(t.Context(), here, d, g.open); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	if fmt.Sprint(g.offsets) != "[1000 0]" {
		t.Errorf("opened at %v, want once more from the start and no more", g.offsets)
	}
	for _, file := range []string{partFile(s.Dir(), d), blobFile(s.Dir(), d)} {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", file, err)
		}
	}
}

// TestStoreAfterEveryCut lets a run end at many places of a blob, each run going on where the one before ended, and
// expects that no byte is read twice.
func TestStoreAfterEveryCut(t *testing.T) {
	p := randomBytes(1, 100_000)
	d := describe(p)
	dir := t.TempDir()
	read := int64(0)
	for cut := int64(1); cut < d.Size; cut += 7001 {
		s := openStore(t, dir)
		g := &given{raw: p, cut: cut}
		if err := s.Push(t.Context(), here, d, g.open); !errors.Is(err, errCut) {
			t.Fatalf("cut at %d: error %v", cut, err)
		}
		if g.offsets[0] != read {
			t.Fatalf("cut at %d: opened at %d, want %d", cut, g.offsets[0], read)
		}
		read = cut
		abandon(t, s)
	}
	if g := push(t, openStore(t, dir), d, p); g.offsets[0] != read {
		t.Errorf("opened at %d, want %d", g.offsets[0], read)
	}
}

func TestStoreFreshAndRecheck(t *testing.T) {
	dir := t.TempDir()
	good, bad, short := describe([]byte("good")), describe([]byte("bad")), describe([]byte("short"))
	s := openStore(t, dir)
	for _, text := range []string{"good", "bad", "short"} {
		push(t, s, describe([]byte(text)), []byte(text))
		if !s.Fresh(describe([]byte(text))) {
			t.Errorf("%s: not fresh after it was pushed", text)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{blobFile(dir, bad): "BAD", blobFile(dir, short): "shor"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, dir)
	for _, c := range []struct {
		d    oci.Descriptor
		has  bool
		want error
	}{
		{good, true, nil},
		{bad, true, oci.ErrCorrupt},
		{short, false, oci.ErrNotFound},
		{describe([]byte("never")), false, oci.ErrNotFound},
	} {
		if s.Fresh(c.d) {
			t.Errorf("%s: fresh before anybody looked", c.d.Digest)
		}
		if has, err := s.Has(t.Context(), here, c.d); has != c.has || err != nil {
			t.Errorf("%s: has %v, error %v", c.d.Digest, has, err)
		}
		if err := s.Recheck(t.Context(), c.d); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.d.Digest, err, c.want)
		}
		if has, err := s.Has(t.Context(), here, c.d); has != (c.want == nil) || err != nil {
			t.Errorf("%s: has %v after Recheck, error %v", c.d.Digest, has, err)
		}
		if s.Fresh(c.d) != (c.want == nil) {
			t.Errorf("%s: fresh is %v after Recheck", c.d.Digest, s.Fresh(c.d))
		}
	}
	push(t, s, bad, []byte("bad"))
	push(t, s, short, []byte("short"))
	if g := push(t, s, good, []byte("good")); len(g.offsets) > 0 {
		t.Error("what was there was read again")
	}
}

func TestStorePushLooksAtWhatAnEarlierRunLeft(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	d := describe([]byte("blob"))
	push(t, s, d, []byte("blob"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blobFile(dir, d), []byte("BLOB"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if g := push(t, s, d, []byte("blob")); len(g.offsets) != 1 {
		t.Errorf("opened %d times", len(g.offsets))
	}
	if raw, err := os.ReadFile(blobFile(dir, d)); err != nil || string(raw) != "blob" {
		t.Errorf("%q, error %v", raw, err)
	}
}

// TestStoreAfterPowerLoss hurts a blob of a run that did not reach Close, as a file system may after a loss of power:
// the size is right, the bytes are not.
func TestStoreAfterPowerLoss(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	old, kept, lost := describe([]byte("old")), describe([]byte("kept")), describe([]byte("lost"))
	for _, text := range []string{"old", "kept", "lost"} {
		push(t, s, describe([]byte(text)), []byte(text))
	}
	abandon(t, s)
	longAgo := time.Now().Add(-24 * time.Hour)
	if err := errors.Join(
		os.WriteFile(blobFile(dir, lost), make([]byte, 4), 0o644),
		os.WriteFile(blobFile(dir, old), make([]byte, 3), 0o644),
		os.Chtimes(blobFile(dir, old), longAgo, longAgo),
	); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	for d, want := range map[*oci.Descriptor]bool{&old: true, &kept: true, &lost: false} {
		if has, err := s.Has(t.Context(), here, *d); has != want || err != nil {
			t.Errorf("%s: has %v, error %v, want %v", d.Digest, has, err, want)
		}
	}
	if s.Fresh(old) || !s.Fresh(kept) {
		t.Error("want the blobs of the run that was cut off hashed, and only those")
	}
	push(t, s, lost, []byte("lost"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "unsynced")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark is left: %v", err)
	}
}

func TestStoreKeepsItsMarkWhileSuspectsAreLeft(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	d := describe([]byte("blob"))
	push(t, s, d, []byte("blob"))
	abandon(t, s)
	for range 2 {
		if err := openStore(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(blobFile(dir, d), make([]byte, 4), 0o644); err != nil {
		t.Fatal(err)
	}
	if has, err := openStore(t, dir).Has(t.Context(), here, d); has || err != nil {
		t.Errorf("has %v, error %v", has, err)
	}
}

func TestStoreNames(t *testing.T) {
	dir := t.TempDir()
	g := ocitest.MultiArch(1, "app")
	other := ocitest.MultiArch(2, "app")
	repo := oci.Repository{Host: "quay.io", Path: "team/app"}
	s := openStore(t, dir)
	for _, step := range []struct {
		repo oci.Repository
		tag  string
		g    *ocitest.Graph
	}{{repo, "v1", g}, {repo, "v2", g}, {oci.Repository{Path: "app"}, "v1", g}, {repo, "v2", other}} {
		if err := s.Tag(t.Context(), step.repo, step.tag, step.g.Descriptor, step.g.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pin(t.Context(), repo, g.Descriptor, g.Bytes); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]digest.Digest{
		"quay.io/team/app:v1": g.Digest, "quay.io/team/app:v2": other.Digest, "app:v1": g.Digest,
		"quay.io/team/app@" + g.Digest.String(): g.Digest,
	}
	if got := namesIn(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("index.json has %v, want %v", got, want)
	}
	s = openStore(t, dir)
	if d, err := s.Tagged(t.Context(), repo, "v2"); err != nil || d.Digest != other.Digest {
		t.Errorf("after it was opened again: %s, error %v", d.Digest, err)
	}
}

// namesIn returns what index.json names.
func namesIn(t *testing.T, dir string) map[string]digest.Digest {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	names := map[string]digest.Digest{}
	for _, d := range index.Manifests {
		name := d.Annotations["org.opencontainers.image.ref.name"]
		if name != d.Annotations["io.containerd.image.name"] {
			t.Errorf("%s has other names: %v", name, d.Annotations)
		}
		names[name] = d.Digest
	}
	if len(names) != len(index.Manifests) {
		t.Errorf("%d entries for %d names", len(index.Manifests), len(names))
	}
	return names
}

func TestStoreKeepsForeignEntries(t *testing.T) {
	dir := t.TempDir()
	g := ocitest.Image(ocitest.AMD64)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion": "1.0.0"}`), 0o644),
		os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"schemaVersion":2,"annotations":{"a":"b"},"manifests":[
			{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":3,"digest":"`+g.Digest.String()+`"}]}`), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	if err := s.Tag(t.Context(), oci.Repository{Path: "app"}, "v1", g.Descriptor, g.Bytes); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 || index.Manifests[0].Size != 3 || index.Annotations["a"] != "b" {
		t.Errorf("index.json is now %s", raw)
	}
}

func TestStoreManyNames(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	g := ocitest.Image(ocitest.AMD64)
	const n = 6000
	for i := range n {
		if err := s.Tag(t.Context(), oci.Repository{Path: "app"}, fmt.Sprintf("v%d", i), g.Descriptor, g.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(namesIn(t, dir)); got != n {
		t.Errorf("%d names, want %d", got, n)
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	j := openJournal(t, s)
	v1 := oci.Reference{Repository: oci.Repository{Host: "docker.io", Path: "library/nginx"}, Tag: "1.27"}
	v2 := oci.Reference{Repository: v1.Repository, Tag: "latest"}
	a, b := ocitest.MultiArch(1, "app"), ocitest.MultiArch(2, "app")
	if _, ok := j.Resolved(v1); ok {
		t.Error("resolved in a new journal")
	}
	if err := errors.Join(
		j.PutResolved(v1, a.Descriptor), j.PutResolved(v2, a.Descriptor), j.PutResolved(v2, b.Descriptor),
		j.PutManifest(t.Context(), a.Descriptor, a.Bytes),
	); err != nil {
		t.Fatal(err)
	}
	abandon(t, s)

	s = openStore(t, dir)
	j = openJournal(t, s)
	for ref, want := range map[oci.Reference]oci.Descriptor{v1: a.Descriptor, v2: b.Descriptor} {
		if d, ok := j.Resolved(ref); !ok || d.Digest != want.Digest || d.Size != want.Size || d.MediaType != want.MediaType {
			t.Errorf("%s: %v, %v", ref, d, ok)
		}
	}
	if raw, err := j.Manifest(t.Context(), a.Descriptor); err != nil || !bytes.Equal(raw, a.Bytes) {
		t.Errorf("manifest: %d bytes, error %v", len(raw), err)
	}
	if _, err := j.Manifest(t.Context(), b.Descriptor); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a manifest that is not there: error %v", err)
	}
	if err := j.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, ok := openJournal(t, s).Resolved(v1); ok {
		t.Error("resolved after Remove")
	}
}

func openJournal(t *testing.T, s *oci.Store) *oci.Journal {
	t.Helper()
	j, err := s.Journal("plan")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// What is kept beside a journal is there for the next run, and goes with the journal.
func TestJournalKeep(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	j := openJournal(t, s)
	if _, err := j.Kept(); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("nothing was kept: got %v", err)
	}
	if err := errors.Join(j.Keep([]byte("first")), j.Keep([]byte("second"))); err != nil {
		t.Fatal(err)
	}
	abandon(t, s)
	s = openStore(t, dir)
	if raw, err := openJournal(t, s).Kept(); err != nil || string(raw) != "second" {
		t.Errorf("got %q, %v", raw, err)
	}
	for name, remove := range map[string]func() error{
		"the journal":        func() error { return openJournal(t, s).Remove() },
		"by its key":         func() error { return s.RemoveJournal("plan") },
		"one that is closed": func() error { return errors.Join(s.CloseJournals(), s.RemoveJournal("plan")) },
	} {
		if err := remove(); err != nil {
			t.Fatalf("remove %s: %v", name, err)
		}
		j := openJournal(t, s)
		if _, err := j.Kept(); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("after remove %s: got %v", name, err)
		}
		if err := j.Keep([]byte("again")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJournalCutAnywhere cuts a journal after each of its bytes: what was whole is there, and it can be gone on with.
func TestJournalCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plans", "plan.jsonl")
	s := openStore(t, dir)
	j := openJournal(t, s)
	refs := make([]oci.Reference, 3)
	for i := range refs {
		refs[i] = oci.Reference{Repository: oci.Repository{Path: "app"}, Tag: fmt.Sprint(i)}
		if err := j.PutResolved(refs[i], describe([]byte{byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	for n := range raw {
		if err := os.WriteFile(file, raw[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		j := openJournal(t, s)
		whole := bytes.Count(raw[:n], []byte("\n"))
		if j.Len() != whole {
			t.Fatalf("cut at %d: %d references, want %d", n, j.Len(), whole)
		}
		if err := j.PutResolved(refs[2], describe([]byte("new"))); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseJournals(); err != nil {
			t.Fatal(err)
		}
		if d, ok := openJournal(t, s).Resolved(refs[2]); !ok || d.Digest != describe([]byte("new")).Digest {
			t.Fatalf("cut at %d: what came after is not there", n)
		}
		if err := s.CloseJournals(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, key := range []string{"", ".", "..", "../x", "a/b", `a\b`, "A", "a b", strings.Repeat("a", 101)} {
		if _, err := s.Journal(key); err == nil {
			t.Errorf("key %q: no error", key)
		}
	}
	for name, text := range map[string]string{
		"no JSON":    "x\n{}\n",
		"no digest":  `{"ref":"a","descriptor":{}}` + "\n",
		"no ref":     `{"descriptor":{"digest":"` + digest.FromString("").String() + `"}}` + "\n",
		"empty line": "\n",
	} {
		if err := os.WriteFile(filepath.Join(s.Dir(), "plans", "bad.jsonl"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Journal("bad"); !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestStoreManifestOfEarlierRunIsProved(t *testing.T) {
	dir := t.TempDir()
	g := ocitest.Image(ocitest.AMD64)
	s := openStore(t, dir)
	push(t, s, g.Descriptor, g.Bytes)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blobFile(dir, g.Descriptor), bytes.Repeat([]byte("x"), len(g.Bytes)), 0o644); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if _, err := s.Manifest(t.Context(), g.Descriptor); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if has, _ := s.Has(t.Context(), here, g.Descriptor); has {
		t.Error("the bad blob is still there")
	}
	big := oci.Descriptor{Digest: g.Digest, Size: oci.MaxManifestSize + 1}
	if _, err := s.Manifest(t.Context(), big); err == nil || errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a manifest past the limit: error %v", err)
	}
}

func TestStoreEmpty(t *testing.T) {
	b := ocitest.NewBlob("application/octet-stream", ocitest.Random(1, 1000))
	for name, c := range map[string]struct {
		fill func(*testing.T, *oci.Store)
		want bool
	}{
		"new":    {func(*testing.T, *oci.Store) {}, true},
		"a blob": {func(t *testing.T, s *oci.Store) { pushTo(t, s, b, b.Size) }, false},
		"a part": {func(t *testing.T, s *oci.Store) { pushTo(t, s, b, 400) }, false},
		"a journal": {func(t *testing.T, s *oci.Store) {
			if _, err := s.Journal("plan"); err != nil {
				t.Fatal(err)
			}
		}, false},
		"what was put aside": {func(t *testing.T, s *oci.Store) {
			dir, err := s.Spool("frames")
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, true},
		"a journal that was removed": {func(t *testing.T, s *oci.Store) {
			if _, err := s.Journal("plan"); err != nil {
				t.Fatal(err)
			}
			if err := s.RemoveJournal("plan"); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			c.fill(t, s)
			if got, err := s.Empty(); got != c.want || err != nil {
				t.Errorf("empty: %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// What a run has put aside is gone after it, and after the next one if it was killed.
func TestStoreSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	for range 2 {
		spool, err := s.Spool("frames")
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(spool); err != nil || len(entries) > 0 {
			t.Fatalf("the folder has %v, %v", entries, err)
		}
		if err := os.WriteFile(filepath.Join(spool, "frame"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	abandon(t, s)
	if err := openStore(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "partial")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestStorePart(t *testing.T) {
	b := ocitest.NewBlob("application/octet-stream", ocitest.Random(1, 1000))
	s := openStore(t, t.TempDir())
	for _, step := range []struct{ upTo, want int64 }{{0, 0}, {400, 400}, {b.Size, 0}} {
		pushTo(t, s, b, step.upTo)
		if got := s.Part(b.Descriptor); got != step.want {
			t.Errorf("after %d bytes: got %d, want %d", step.upTo, got, step.want)
		}
	}
	if got := s.Part(oci.Descriptor{Digest: "sha256:../../x", Size: 9}); got != 0 {
		t.Errorf("malformed digest: got %d", got)
	}
}

func TestRemoveJournalThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := s.RemoveJournal("plan"); err != nil {
		t.Errorf("none there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plans", "plan.jsonl"), []byte("\x00\x00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Journal("plan"); !errors.Is(err, oci.ErrCorrupt) {
		t.Fatalf("error %v, want ErrCorrupt", err)
	}
	if err := s.RemoveJournal("plan"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Journal("plan"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveJournal("../lock"); err == nil {
		t.Error("a key that is a path is taken")
	}
}

// pushTo pushes the first n bytes of b, and the blob only when that is all of them.
func pushTo(t *testing.T, s *oci.Store, b ocitest.Blob, n int64) {
	t.Helper()
	err := s.Push(t.Context(), oci.Repository{}, b.Descriptor, func(_ context.Context, offset int64) (io.ReadCloser, error) {
		cut := iotest.ErrReader(io.ErrClosedPipe)
		if n == b.Size {
			cut = bytes.NewReader(nil)
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(b.Bytes[offset:max(offset, n)]), cut)), nil
	})
	if (err == nil) != (n == b.Size) {
		t.Fatalf("push of %d bytes: %v", n, err)
	}
}
