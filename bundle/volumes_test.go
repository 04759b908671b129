package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/compress"
)

// readImages reads all blobs of the images that lack nothing, and proves that they are whole.
func readImages(t *testing.T, b *Bundle, lacking []string) {
	t.Helper()
	for _, img := range b.Head().Images {
		if slices.Contains(lacking, img.Name) {
			continue
		}
		if _, err := b.Graph(t.Context(), img); err != nil {
			t.Errorf("%s: %v", img.Name, err)
		}
		for m := range img.AllManifests() {
			for _, n := range m.Blobs {
				d := b.Head().Blob(n)
				if _, err := readBlob(t, b, d, 0); err != nil {
					t.Errorf("%s: %s: %v", img.Name, d.Digest, err)
				}
			}
		}
	}
}

// Whatever volumes are missing: what is told to be whole is so, the rest is told to be missing, and nothing to be damaged.
func TestEachVolumeMissing(t *testing.T) {
	for _, format := range formats {
		t.Run(format.String(), func(t *testing.T) {
			f, o := spanningFixture(t, format)
			// A plain tar is large, so that one volume at a time is missing there.
			testEachVolumeMissing(t, "k8s"+endings[format], f.write(o), format != compress.None)
		})
	}
	t.Run("compact", func(t *testing.T) {
		f := compactFixture(t, 20_000)
		f.contents.Compact.LongFrame = 1 << 14
		testEachVolumeMissing(t, "k8s.tar.zst", f.writeAll(compress.WriterOptions{Format: compress.Zstd}), true)
	})
}

// endings are those of the names of bundles.
var endings = map[compress.Format]string{compress.Zstd: ".tar.zst", compress.XZ: ".tar.xz", compress.None: ".tar"}

func testEachVolumeMissing(t *testing.T, name string, raw []byte, several bool) {
	const volumes = 5
	wholes := 0
	for missing := 1; missing < 1<<volumes; missing++ {
		if !several && missing&(missing-1) != 0 {
			continue
		}
		chdir(t)
		cutIntoVolumes(t, raw, len(raw)/volumes+1, name, "a", "b")
		var numbers []int
		for n := 1; n <= volumes; n++ {
			if missing>>(n-1)&1 == 1 {
				numbers = append(numbers, n)
				os.Remove(filepath.Join([]string{"a", "b"}[(n-1)%2], VolumeName(name, n, 3)))
			}
		}
		s := findOne(t, "a", "b")
		if got := s.Missing(); !slices.Equal(got, numbers) {
			t.Fatalf("missing %v: got %v", numbers, got)
		}
		b, err := Open(t.Context(), s, s.Size(), Options{Lenient: true})
		if err != nil {
			if !isMissing(err) {
				t.Errorf("missing %v: open: %v", numbers, err)
			}
			continue
		}
		lacking := b.Lacking()
		wholes += len(b.Head().Images) - len(lacking)
		readImages(t, b, lacking)
		r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
		switch {
		case err != nil:
			t.Errorf("missing %v: verify: %v", numbers, err)
		case len(r.Damage) > 0 || r.Missing == nil || !slices.Equal(r.Lacking, lacking) || r.Images != len(r.Head.Images)-len(lacking):
			t.Errorf("missing %v: %d of %d images whole, lacking %q, %v: %+v",
				numbers, r.Images, len(r.Head.Images), lacking, r.Missing, r.Damage)
		}
		s.Close()
	}
	if wholes == 0 {
		t.Error("no image was whole in any case")
	}
}

// Each flipped byte of a volume is found, in that volume.
func TestEachByteOfVolumesFlipped(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	table, err := compress.ReadTable(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	last := table.Frames[len(table.Frames)-1]
	size := len(raw)/3 + 1
	chdir(t)
	cutIntoVolumes(t, raw, size, "k8s.tar.zst", "a", "b")
	step := flipStep(compress.Zstd)
	if testing.Short() {
		step *= 10
	}
	for at := 0; at < len(raw); at += step {
		n := at/size + 1
		path := filepath.Join([]string{"a", "b"}[(n-1)%2], VolumeName("k8s.tar.zst", n, 3))
		part := slices.Clone(raw[(n-1)*size : min(len(raw), n*size)])
		part[at-(n-1)*size] ^= 0x40
		writeFile(t, path, part)
		s := findOne(t, "a", "b")
		r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
		switch {
		case isBundleError(err):
		case err != nil:
			t.Errorf("byte %d: %v", at, err)
		case len(r.Damage) == 0:
			t.Errorf("byte %d: nothing was found", at)
		case int64(at) < last.Offset+last.Size && !slices.ContainsFunc(r.Damage, func(d Damage) bool {
			return d.Length == 0 || d.Volume != nil && d.Offset <= int64(at) && int64(at) < d.Offset+d.Length
		}):
			t.Errorf("byte %d of volume %d: %+v", at, n, r.Damage)
		}
		s.Close()
		part[at-(n-1)*size] ^= 0x40
		writeFile(t, path, part)
	}
}

// A volume that is not what NAME.sha256 says is damage although all of the bundle is right, and so is the whole.
func TestSumsOfVolumes(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	chdir(t)
	cutIntoVolumes(t, raw, len(raw)/3+1, "k8s.tar.zst", "a")
	list, err := os.ReadFile("a/k8s.tar.zst.sha256")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(list), "\n")
	lines[1] = hexSum("7") + lines[1][64:]
	writeFile(t, "a/k8s.tar.zst.sha256", []byte(strings.Join(lines, "")))
	s := findOne(t, "a")
	r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) != 1 || r.Damage[0].Member != "k8s.tar.zst.002" || !strings.Contains(r.Damage[0].Reason, "want 7777") {
		t.Errorf("got %+v", r.Damage)
	}
	in := s.Sequential(func(int) error { return errors.New("nothing is missing") })
	defer in.Close()
	r, err = VerifyStream(t.Context(), in, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) != 1 || r.Damage[0].Member != "k8s.tar.zst.002" || !strings.Contains(r.Damage[0].Reason, "want 7777") {
		t.Errorf("in order: got %+v", r.Damage)
	}
}

// A volume that cannot be read to its end is damage there, and the rest is read.
func TestShortVolume(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	chdir(t)
	size := len(raw)/5 + 1
	cutIntoVolumes(t, raw, size, "k8s.tar.zst", "a")
	writeFile(t, "a/k8s.tar.zst.003", raw[2*size:3*size-100])
	s := findOne(t, "a")
	r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("volume k8s.tar.zst.003 ends after %d bytes, want %d", size-100, size)
	if len(r.Damage) == 0 || !strings.Contains(r.Damage[0].Reason, want) {
		t.Errorf("got %+v, want %q", r.Damage, want)
	}
	in := s.Sequential(nil)
	defer in.Close()
	if r, err = VerifyStream(t.Context(), in, VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) == 0 || !strings.Contains(r.Damage[0].Reason, "it ends after") {
		t.Errorf("in order: got %+v", r.Damage)
	}
}

// A disk that cannot be read is named, and what lies on the others is read.
func TestVolumeThatCannotBeRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a file that gives EIO")
	}
	f, o := spanningFixture(t, compress.Zstd)
	raw := f.write(o)
	chdir(t)
	size := len(raw)/5 + 1
	cutIntoVolumes(t, raw, size, "k8s.tar.zst", "a")
	s := findOne(t, "a")
	s.volumes[3] = volume{path: "/proc/self/mem", size: int64(size)} // whose first pages are not there
	r, err := Verify(t.Context(), s, s.Size(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) == 0 || r.Images == 0 || r.Missing != nil {
		t.Errorf("%d images whole, %+v", r.Images, r.Damage)
	}
	for _, d := range r.Damage {
		from, to := int64(2*size), int64(3*size)
		if !strings.Contains(d.Reason, "/proc/self/mem: input/output error") || d.Offset >= to || d.Offset+d.Length <= from {
			t.Errorf("got %s, want what is in volume 3", d)
		}
	}
}

// With one drive, the disks are asked for in order, and each once.
func TestSequential(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	for _, listed := range []bool{true, false} {
		t.Run(fmt.Sprintf("listed %t", listed), func(t *testing.T) {
			chdir(t)
			const volumes = 4
			size := len(raw)/volumes + 1
			disk := func(n int) {
				entries, err := os.ReadDir("a")
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					os.Remove(filepath.Join("a", e.Name()))
				}
				cutIntoVolumes(t, raw, size, "k8s.tar.zst", "b")
				file := VolumeName("k8s.tar.zst", n, 3)
				writeFile(t, filepath.Join("a", file), raw[(n-1)*size:min(len(raw), n*size)])
				if listed {
					list, err := os.ReadFile("b/k8s.tar.zst.sha256")
					if err != nil {
						t.Fatal(err)
					}
					writeFile(t, "a/k8s.tar.zst.sha256", list)
				}
			}
			disk(1)
			s := findOne(t, "a")
			var asked []int
			in := s.Sequential(func(n int) error {
				asked = append(asked, n)
				disk(n)
				return nil
			})
			defer in.Close()
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes, want %d: %v", len(got), len(raw), err)
			}
			if !slices.Equal(asked, []int{2, 3, 4}) {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

// What is read in order is proven as what is read in place.
func TestVerifyStream(t *testing.T) {
	bundles := map[string][]byte{
		"compact": compactFixture(t, 20_000).writeAll(compress.WriterOptions{Format: compress.Zstd}),
	}
	for _, format := range formats {
		bundles[format.String()] = smallFixture(t).write(compress.WriterOptions{Format: format})
	}
	for name, raw := range bundles {
		want, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := VerifyStream(t.Context(), bytes.NewReader(raw), VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Damage) > 0 || got.Images != want.Images || got.Members != want.Members || got.Bytes != want.Bytes ||
			got.FileSum != want.FileSum || got.FileSize != want.FileSize || got.ContentID != want.ContentID ||
			got.Recreated != want.Recreated || got.RecreatedBytes != want.RecreatedBytes {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// Each flipped byte is found in order, too.
func TestVerifyStreamEachByteFlipped(t *testing.T) {
	f := smallFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	for at := 0; at < len(raw); at += 10 * flipStep(compress.Zstd) {
		hurt := slices.Clone(raw)
		hurt[at] ^= 0x40
		r, err := VerifyStream(t.Context(), bytes.NewReader(hurt), VerifyOptions{})
		switch {
		case isBundleError(err):
		case err != nil:
			t.Errorf("byte %d: %v", at, err)
		case len(r.Damage) == 0:
			t.Errorf("byte %d: nothing was found", at)
		}
	}
}
