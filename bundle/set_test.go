package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/compress"
)

// cutIntoVolumes writes raw as volumes of size bytes of the bundle name, volume n into folders[(n-1) % len(folders)], and the list
// into all of them.
func cutIntoVolumes(t testing.TB, raw []byte, size int, name string, folders ...string) {
	t.Helper()
	var list strings.Builder
	for n, at := 1, 0; at < len(raw); n, at = n+1, at+size {
		part := raw[at:min(at+size, len(raw))]
		file := VolumeName(name, n, 3)
		writeFile(t, filepath.Join(folders[(n-1)%len(folders)], file), part)
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(part), file)
	}
	fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(raw), name)
	for _, dir := range folders {
		writeFile(t, filepath.Join(dir, SumFile(name)), []byte(list.String()))
	}
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// findOne returns the one set that paths name.
func findOne(t testing.TB, paths ...string) *Set {
	t.Helper()
	sets, err := FindSets(paths)
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 1 {
		t.Fatalf("%d sets, want 1", len(sets))
	}
	t.Cleanup(func() { sets[0].Close() })
	return sets[0]
}

// chdir makes a new folder the one that relative paths are in, with folders a and b.
func chdir(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestFindSets(t *testing.T) {
	raw := []byte("the bytes of some bundle")
	for name, paths := range map[string][]string{
		"one volume of each folder": {"b/k8s.tar.zst.002", "a/k8s.tar.zst.003"},
		"folders":                   {"b", "a"},
		"a folder and a volume":     {"a", "b/k8s.tar.zst.002"},
		"all files, as of a shell":  {"a/k8s.tar.zst.001", "a/k8s.tar.zst.003", "a/k8s.tar.zst.sha256", "b/k8s.tar.zst.002", "b/k8s.tar.zst.sha256"},
		"the name of the whole":     {"a/k8s.tar.zst", "b/k8s.tar.zst"},
		"the lists":                 {"a/k8s.tar.zst.sha256", "b/k8s.tar.zst.sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			chdir(t)
			cutIntoVolumes(t, raw, 9, "k8s.tar.zst", "a", "b")
			for _, junk := range []string{"._k8s.tar.zst.001", ".DS_Store", "._other.tar", "System Volume Information/x.tar", "notes.txt", "k8s.tar.zst.004", "k8s.tar.zst.002.partial"} {
				writeFile(t, filepath.Join("a", junk), []byte("junk"))
			}
			s := findOne(t, paths...)
			if s.Volumes() != 3 || len(s.Missing()) > 0 || !s.Listed() {
				t.Errorf("%d volumes, %v missing, listed %t", s.Volumes(), s.Missing(), s.Listed())
			}
			got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
			if err != nil || !bytes.Equal(got, raw) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestFindSetsTellsBundlesApart(t *testing.T) {
	chdir(t)
	cutIntoVolumes(t, []byte("the bytes of some bundle"), 9, "k8s.tar", "a")
	cutIntoVolumes(t, []byte("the bytes of another one"), 9, "k8s.tar", "b")
	writeFile(t, "b/whole.tar", []byte("a file"))
	writeFile(t, "b/backup.001", []byte("a file whose name looks like that of a volume"))
	sets, err := FindSets([]string{"a", "b", "b/backup.001"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sets {
		names = append(names, fmt.Sprintf("%s %d", filepath.ToSlash(s.Name()), s.Volumes()))
	}
	slices.Sort(names)
	if want := []string{"a/k8s.tar 3", "b/backup.001 0", "b/k8s.tar 3", "b/whole.tar 0"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// Folders without a list belong to the set that has one.
func TestFindSetsWithoutList(t *testing.T) {
	raw := []byte("the bytes of some bundle")
	chdir(t)
	cutIntoVolumes(t, raw, 9, "k8s.tar", "a", "b")
	os.Remove("a/k8s.tar.sha256")
	if s := findOne(t, "a", "b"); s.Volumes() != 3 || len(s.Missing()) > 0 || !s.Listed() {
		t.Errorf("list of one folder: %d volumes, %v missing, listed %t", s.Volumes(), s.Missing(), s.Listed())
	}
	os.Remove("b/k8s.tar.sha256")
	if s := findOne(t, "a", "b"); s.Volumes() != 3 || len(s.Missing()) > 0 || s.Listed() {
		t.Errorf("no list: %d volumes, %v missing, listed %t", s.Volumes(), s.Missing(), s.Listed())
	}
}

func TestFindSetsRefuses(t *testing.T) {
	raw := []byte("the bytes of some bundle")
	for name, test := range map[string]struct {
		spoil func(t *testing.T)
		want  string
	}{
		"a volume twice, with other sizes": {func(t *testing.T) { writeFile(t, "b/k8s.tar.001", raw[:5]) }, "k8s.tar.001: it has 9 bytes in a, and 5 in b"},
		"a last volume that is too large":  {func(t *testing.T) { writeFile(t, "a/k8s.tar.003", raw) }, "k8s.tar.003: it has 24 bytes, and the volumes before it 9"},
		"a list that is none":              {func(t *testing.T) { writeFile(t, "a/k8s.tar.sha256", raw) }, `k8s.tar.sha256: "the" is no sha256`},
		"a list with a gap": {func(t *testing.T) {
			writeFile(t, "a/k8s.tar.sha256", []byte(hexSum("1")+"  k8s.tar.002\n"+hexSum("2")+"  k8s.tar\n"))
		}, `k8s.tar.sha256: it has "k8s.tar.002" where volume 1 is to come`},
	} {
		t.Run(name, func(t *testing.T) {
			chdir(t)
			cutIntoVolumes(t, raw, 9, "k8s.tar", "a", "b")
			test.spoil(t)
			_, err := FindSets([]string{"a/k8s.tar.003", "b"})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// What the system says of a file is no word on whether it is a bundle.
func TestFileThatIsGone(t *testing.T) {
	chdir(t)
	writeFile(t, "a/k8s.tar", []byte("some bytes"))
	s := findOne(t, "a/k8s.tar")
	os.Remove("a/k8s.tar")
	if _, err := Open(t.Context(), s, s.Size(), Options{}); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNotBundle) {
		t.Errorf("got %v", err)
	}
}

// A bundle in volumes is read as if it were one file, and damage names the volume.
func TestBundleInVolumes(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	chdir(t)
	size := len(raw)/5 + 1
	cutIntoVolumes(t, raw, size, "k8s.tar.zst", "a", "b")
	s := findOne(t, "a", "b")
	r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
	if err != nil || len(r.Damage) > 0 || r.Images != len(f.contents.Images) {
		t.Fatalf("got %+v, %v", r, err)
	}
	s.Close()

	at := len(raw) / 2
	n := at/size + 1
	hurt := slices.Clone(raw)
	hurt[at] ^= 1
	cutIntoVolumes(t, hurt, size, "k8s.tar.zst", "a", "b")
	s = findOne(t, "a", "b")
	if r, err = Verify(t.Context(), s, s.Size(), VerifyOptions{}); err != nil || len(r.Damage) != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	d := r.Damage[0]
	if d.Volume == nil || *d.Volume != s.Where(d.Offset) || d.Offset > int64(at) || d.Offset+d.Length <= int64(at) {
		t.Fatalf("got %+v of %+v, want a range around %d, in volume %d", d.Volume, d, at, n)
	}
	if want := "from byte " + fmt.Sprint(d.Volume.Offset) + " of " + d.Volume.Name + " on"; !strings.Contains(d.String(), want) {
		t.Errorf("got %q, want %q", d, want)
	}
}
