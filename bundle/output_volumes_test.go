package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
)

// volumeTest is a bundle and how it is written into volumes.
type volumeTest struct {
	*fixture
	o    compress.WriterOptions
	want []byte // the bundle in one file
	size int64  // of a volume
}

// newVolumeTest returns a bundle that comes to 11 volumes.
func newVolumeTest(t *testing.T, format compress.Format, compact bool) *volumeTest {
	v := &volumeTest{o: compress.WriterOptions{Format: format, FrameSize: 1 << 12, Long: compress.LongOptions{Window: 1 << 14}}}
	if compact {
		v.fixture = ungzippedFixture(t)
		v.contents.Compact.LongFrame = 1 << 14
		v.want = v.writeAll(v.o)
	} else {
		v.fixture = largeFixture(t, 1<<12)
		v.want = v.write(v.o)
	}
	v.size = int64(len(v.want))/11 + 1
	return v
}

// eachVolumeTest runs a test for these formats, and for compact bundles.
func eachVolumeTest(t *testing.T, formats []compress.Format, test func(*testing.T, *volumeTest)) {
	for _, format := range formats {
		t.Run(format.String(), func(t *testing.T) { test(t, newVolumeTest(t, format, false)) })
		t.Run(format.String()+" compact", func(t *testing.T) { test(t, newVolumeTest(t, format, true)) })
	}
}

// output begins the output, with volumes in the folders; the first is that of the bundle.
func (v *volumeTest) output(t *testing.T, o OutputOptions, folders ...string) *Output {
	t.Helper()
	o.Volume, o.Folders, o.Writer = v.size, folders[1:], "ferry test"
	out, err := CreateOutput(filepath.Join(folders[0], "k8s.tar"), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Expect(int64(len(v.want)) + 1000); err != nil {
		t.Fatal(err)
	}
	return out
}

// fill writes the first blobs of the bundle, and closes it if these are all.
func (v *volumeTest) fill(out *Output, blobs int) (resumed int, err error) {
	w, err := out.Begin(v.t.Context(), v.contents, v.o)
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	if v.contents.Compact != nil {
		return w.Resumed(), errors.Join(w.WriteAll(v.t.Context(), v.open(w)), w.Close())
	}
	all := w.Blobs()
	for i, d := range all {
		if i < w.Resumed() {
			continue
		}
		if i >= blobs {
			return w.Resumed(), nil
		}
		if err := w.WriteBlob(d, bytes.NewReader(v.blobs[d.Digest]), true); err != nil {
			return w.Resumed(), err
		}
	}
	return w.Resumed(), w.Close()
}

// finish writes the whole bundle.
func (v *volumeTest) finish(t *testing.T, folders ...string) (resumed int) {
	t.Helper()
	out := v.output(t, OutputOptions{}, folders...)
	resumed, err := v.fill(out, len(v.blobs))
	if err == nil {
		err = out.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	v.check(t, out, folders...)
	return resumed
}

// check compares what lies in the folders with the bundle.
func (v *volumeTest) check(t *testing.T, out *Output, folders ...string) {
	t.Helper()
	var got []byte
	n := 0
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == "k8s.tar.sha256" {
				continue
			}
			n++
			if want := VolumeName("k8s.tar", n, 3); e.Name() != want {
				t.Fatalf("%s in folder %s, want %s", e.Name(), folder, want)
			}
			raw, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(raw)) != v.size && len(got)+len(raw) != len(v.want) {
				t.Errorf("%s has %d bytes, want %d", e.Name(), len(raw), v.size)
			}
			got = append(got, raw...)
		}
		sums, err := ReadSums(filepath.Join(folder, "k8s.tar"))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", sums.Whole) != out.Sum() || out.Sum() != sumOf(v.want) {
			t.Errorf("sha256 %x in the list, %s of the output, want %s", sums.Whole, out.Sum(), sumOf(v.want))
		}
		for i, sum := range sums.Volumes {
			part := v.want[int64(i)*v.size : min(int64(i+1)*v.size, int64(len(v.want)))]
			if fmt.Sprintf("%x", sum) != sumOf(part) {
				t.Errorf("volume %d: %x in the list", i+1, sum)
			}
		}
		if want := (int64(len(v.want)) + v.size - 1) / v.size; int64(len(sums.Volumes)) != want {
			t.Errorf("%d volumes in the list, want %d", len(sums.Volumes), want)
		}
	}
	if !bytes.Equal(got, v.want) {
		t.Errorf("the volumes are not the bundle: %d bytes, want %d", len(got), len(v.want))
	}
	if out.Size() != int64(len(v.want)) {
		t.Errorf("size %d, want %d", out.Size(), len(v.want))
	}
}

// crash ends the writing as the end of the process does: nothing is put in order.
func crash(out *Output) {
	v := out.to.(*volumes)
	v.leave()
	if v.file != nil {
		v.file.Close()
	}
	if v.journal != nil {
		v.journal.file.Close()
	}
}

// The volumes, one after the other, are the bundle in one file.
func TestVolumes(t *testing.T) {
	eachVolumeTest(t, formats, func(t *testing.T, v *volumeTest) {
		v.finish(t, t.TempDir())
		for _, size := range []int64{int64(len(v.want)), int64(len(v.want)) + 1, (int64(len(v.want)) + 1) / 2} {
			v := *v
			v.size = size
			v.finish(t, t.TempDir())
		}
	})
}

// named returns the volumes that have their names.
func named(t *testing.T, folder string) map[string]os.FileInfo {
	t.Helper()
	files := map[string]os.FileInfo{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, _, _, ok := parseVolumeName(e.Name()); ok {
			if files[e.Name()], err = e.Info(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

// untouched compares files that were there with what is there now.
func untouched(t *testing.T, folder string, before map[string]os.FileInfo) {
	t.Helper()
	for name, was := range before {
		is, err := os.Stat(filepath.Join(folder, name))
		if err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
			t.Errorf("%s was written again (%v)", name, err)
		}
	}
}

// Wherever a run stops, the next one goes on behind the volumes that are finished.
func TestVolumesResume(t *testing.T) {
	eachVolumeTest(t, formats, func(t *testing.T, v *volumeTest) {
		if v.contents.Compact != nil {
			return // it is written in one go; TestVolumesRemoved has these
		}
		for blobs := range len(v.blobs) + 1 {
			dir := t.TempDir()
			out := v.output(t, OutputOptions{}, dir)
			if _, err := v.fill(out, blobs); err != nil {
				t.Fatal(err)
			}
			crash(out)
			before := named(t, dir)
			resumed := v.finish(t, dir)
			untouched(t, dir, before)
			if len(before) > 9 && resumed == 0 {
				t.Errorf("%d volumes were finished, and all blobs are wanted again", len(before))
			}
		}
	})
}

// interrupted returns a folder in which all volumes were finished, and the set was not.
func (v *volumeTest) interrupted(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	out := v.output(t, OutputOptions{}, dir)
	if _, err := v.fill(out, len(v.blobs)); err != nil {
		t.Fatal(err)
	}
	if err := out.to.(*volumes).finish(); err != nil {
		t.Fatal(err)
	}
	crash(out)
	return dir
}

// edit changes a file.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(raw), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever has become of the volumes and of the journal, the bundle is the same, and no volume before the damage is written again.
func TestVolumesRemoved(t *testing.T) {
	flip := func(b []byte) []byte {
		b[len(b)/2] ^= 1
		return b
	}
	tests := []struct {
		name string
		good int // volumes that stay; -1: all
		hurt func(t *testing.T, dir string)
	}{
		{"nothing", -1, func(*testing.T, string) {}},
		{"volume 1 is gone", 0, func(t *testing.T, dir string) { remove(t, dir, "k8s.tar.001") }},
		{"volume 5 is gone", 4, func(t *testing.T, dir string) { remove(t, dir, "k8s.tar.005") }},
		{"the last is gone", 10, func(t *testing.T, dir string) { remove(t, dir, "k8s.tar.011") }},
		{"volume 5 is damaged", 4, func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "k8s.tar.005"), flip) }},
		{"volume 5 is cut short", 4, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.005"), func(b []byte) []byte { return b[:len(b)-1] })
		}},
		{"volume 5 is a folder", 4, func(t *testing.T, dir string) {
			remove(t, dir, "k8s.tar.005")
			if err := os.Mkdir(filepath.Join(dir, "k8s.tar.005"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"the journal's last line is torn", 10, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.journal"), func(b []byte) []byte { return b[:len(b)-7] })
		}},
		{"garbage at the end of the journal", -1, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.journal"), func(b []byte) []byte { return append(b, "\x00\x00\x00\n\x00"...) })
		}},
		{"a journal of nothing but its head", 0, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.journal"), func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] })
		}},
		{"an empty journal", 0, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.journal"), func([]byte) []byte { return nil })
		}},
		{"another journal", 0, func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "k8s.tar.journal"), func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"contentID":"`), []byte(`"contentID":"0`), 1)
			})
		}},
		{"other volumes", -1, func(t *testing.T, dir string) {
			for _, name := range []string{"k8s.tar.012", "k8s.tar.0001", "k8s.tar.003.partial"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("of another pack"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"the list is there", -1, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "k8s.tar.sha256"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
	}
	eachVolumeTest(t, []compress.Format{compress.Zstd}, func(t *testing.T, v *volumeTest) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				dir := v.interrupted(t)
				before := named(t, dir)
				test.hurt(t, dir)
				for i := range len(before) {
					if test.good >= 0 && i >= test.good {
						delete(before, VolumeName("k8s.tar", i+1, 3))
					}
				}
				v.finish(t, dir)
				untouched(t, dir, before)
			})
		}
	})
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Volumes that hold other bytes than those that are written again do not become part of the bundle, although the journal
// has their sums.
func TestVolumesOtherBytes(t *testing.T) {
	eachVolumeTest(t, formats, func(t *testing.T, v *volumeTest) {
		dir := v.interrupted(t)
		file := filepath.Join(dir, "k8s.tar.006")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		was := sumOf(raw)
		edit(t, file, func(b []byte) []byte { b[0] ^= 1; b[len(b)-1] ^= 1; return b })
		if raw, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		lines := 0
		edit(t, filepath.Join(dir, "k8s.tar.journal"), func(b []byte) []byte {
			b = bytes.Replace(b, []byte(was), []byte(sumOf(raw)), 1)
			// Without the frames of volumes 6 and later, so that these are compared.
			kept := slices.DeleteFunc(bytes.SplitAfter(b, []byte("\n")), func(line []byte) bool {
				lines++
				var end int64
				n, _ := fmt.Sscanf(string(line), `{"end":%d,`, &end)
				return n == 1 && end > 5*v.size
			})
			return bytes.Join(kept, nil)
		})
		out := v.output(t, OutputOptions{}, dir)
		if _, err = v.fill(out, len(v.blobs)); !errors.Is(err, ErrOtherBytes) || !strings.Contains(err.Error(), "k8s.tar.006") {
			t.Fatalf("got %v, want %v", err, ErrOtherBytes)
		}
		if err := out.Restart(); err != nil {
			t.Fatal(err)
		}
		if _, err := v.fill(out, len(v.blobs)); err != nil {
			t.Fatal(err)
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
		v.check(t, out, dir)
	})
}

// Another pack of the same name does not go on with what lies there.
func TestVolumesOfAnotherPack(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	for name, change := range map[string]func(*volumeTest){
		"other content": func(v *volumeTest) {
			f := *v.fixture
			v.fixture = &f
			v.image("docker.io/library/new:1", v.manifest(amd64, v.add(ocispec.MediaTypeImageLayer, []byte("new"))))
		},
		"other options": func(v *volumeTest) { v.o.FrameSize = 1 << 15 },
		"other size":    func(v *volumeTest) { v.size += 100 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := v.interrupted(t)
			other := *v
			change(&other)
			other.want = other.write(other.o)
			if resumed := other.finish(t, dir); resumed > 0 {
				t.Errorf("%d blobs were taken from the other pack", resumed)
			}
		})
	}
}

// Folders are filled one after the other, and a run that goes on finds the volumes in all of them.
func TestVolumesFolders(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	room := map[string]int64{}
	var folders []string
	for i, volumes := range []int64{3, 0, 5, 20} {
		folders = append(folders, filepath.Join(t.TempDir(), fmt.Sprint(i)))
		room[folders[i]] = volumes*v.size + VolumeReserve(int64(len(v.want)+1000))
		if err := os.Mkdir(folders[i], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	free := func(folder string) (int64, error) {
		return room[folder] - int64(len(named(t, folder)))*v.size, nil
	}
	out := v.output(t, OutputOptions{Free: free}, folders...)
	if _, err := v.fill(out, len(v.blobs)); err != nil {
		t.Fatal(err)
	}
	crash(out)
	for i, want := range []int{3, 0, 5, 2} {
		if got := len(named(t, folders[i])); got != want {
			t.Errorf("folder %d has %d volumes, want %d", i, got, want)
		}
	}
	remove(t, folders[2], "k8s.tar.008")
	before := named(t, folders[2])
	out = v.output(t, OutputOptions{Free: free}, folders...)
	if _, err := v.fill(out, len(v.blobs)); err != nil {
		t.Fatal(err)
	}
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	v.check(t, out, folders...)
	untouched(t, folders[2], before)
	// With room for no whole volume, the last one goes where most room is.
	room = map[string]int64{folders[0]: 10, folders[1]: v.size - 1}
	if got := v.output(t, OutputOptions{Free: free}, folders[:2]...).to.(*volumes); mustChoose(t, got) != 1 {
		t.Error("the folder with less room was chosen")
	}
}

func mustChoose(t *testing.T, v *volumes) int {
	t.Helper()
	i, err := v.choose()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Abort keeps what is finished, and leaves nothing else behind.
func TestVolumesAbort(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	for blobs := range len(v.blobs) + 1 {
		dir := t.TempDir()
		out := v.output(t, OutputOptions{}, dir)
		if _, err := v.fill(out, blobs); err != nil {
			t.Fatal(err)
		}
		kept := len(out.Volumes())
		out.Abort()
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := kept + 1 // the journal
		if kept == 0 {
			want = 0
		}
		if len(files) != want || len(named(t, dir)) != kept {
			t.Errorf("after %d blobs: %v, want %d volumes", blobs, files, kept)
		}
		if kept > 0 {
			v.finish(t, dir)
		}
	}
	dir := v.interrupted(t)
	v.output(t, OutputOptions{}, dir).Abort() // before it began
	if len(named(t, dir)) != 11 {
		t.Error("Abort has removed what it had nothing to do with")
	}
}

func TestOld(t *testing.T) {
	for name, tc := range map[string]struct {
		there          []string
		volumes, whole []string // what is old when volumes or one file are to be written
	}{
		"nothing":             {},
		"a bundle":            {[]string{"a/k8s.tar", "a/k8s.tar.sha256"}, []string{"a/k8s.tar"}, nil},
		"volumes":             {[]string{"a/k8s.tar.001", "a/k8s.tar.002"}, []string{"a/k8s.tar.001", "a/k8s.tar.002"}, []string{"a/k8s.tar.001", "a/k8s.tar.002"}},
		"in the other folder": {[]string{"b/k8s.tar.005"}, []string{"b/k8s.tar.005"}, nil},
		"unfinished":          {[]string{"a/k8s.tar.001", "a/k8s.tar.journal"}, nil, []string{"a/k8s.tar.001"}},
		"not whole":           {[]string{"a/k8s.tar.001.partial", "a/k8s.tar.partial"}, nil, nil},
		"another bundle's":    {[]string{"a/k8s.tar.zst.001", "a/other.tar.001", "a/k8s.tar.x"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, file := range append([]string{"a/x", "b/x"}, tc.there...) {
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			for _, test := range []struct {
				o    OutputOptions
				want []string
			}{{OutputOptions{Volume: 1, Folders: []string{"b"}}, tc.volumes}, {OutputOptions{}, tc.whole}} {
				if got, err := Old("a/k8s.tar", test.o); err != nil || !slices.Equal(got, test.want) {
					t.Errorf("%+v: got %v, %v; want %v", test.o, got, err, test.want)
				}
			}
		})
	}
}

// What is replaced goes: volumes and a bundle in one file alike.
func TestReplace(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	dir := t.TempDir()
	path := filepath.Join(dir, "k8s.tar")
	for _, name := range []string{"k8s.tar", "k8s.tar.sha256", "k8s.tar.001", "k8s.tar.099"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := v.output(t, OutputOptions{Replace: true}, dir)
	if _, err := v.fill(out, len(v.blobs)); err != nil {
		t.Fatal(err)
	}
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	v.check(t, out, dir)

	out, err := CreateOutput(path, OutputOptions{Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.fill(out, len(v.blobs)); err != nil {
		t.Fatal(err)
	}
	if len(named(t, dir)) == 0 {
		t.Error("the volumes were removed before the bundle was whole")
	}
	out.Beside("README.txt", hexSum("7"))
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(SumFile(path))
	if want := hexSum("7") + "  README.txt\n" + sumOf(v.want) + "  k8s.tar\n"; err != nil || string(list) != want {
		t.Errorf("list %q, %v; want %q", list, err, want)
	}
	if left := named(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestExpect(t *testing.T) {
	for size, want := range map[int64]string{10: "k8s.tar.001", 9990: "k8s.tar.001", 9991: "k8s.tar.0001", 999_990: "k8s.tar.00001", 999_991: ""} {
		out, err := CreateOutput(filepath.Join(t.TempDir(), "k8s.tar"), OutputOptions{Volume: 10})
		if err != nil {
			t.Fatal(err)
		}
		err = out.Expect(size)
		if got := filepath.Base(out.to.(*volumes).name(0, 1)); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%d bytes: got %s, %v; want %q", size, got, err, want)
		}
	}
}

// A bundle that becomes larger than was planned ends before a volume has a name that does not sort.
func TestVolumesTooMany(t *testing.T) {
	out, err := CreateOutput(filepath.Join(t.TempDir(), "k8s.tar"), OutputOptions{Volume: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Abort()
	v := out.to.(*volumes)
	if err := v.startJournal(&journal{}); err != nil {
		t.Fatal(err)
	}
	v.done, v.have = make([]doneVolume, 998), 998
	out.stand(998, 998, out.sum)
	if n, err := out.Write(make([]byte, 2)); n != 1 || err == nil || !strings.Contains(err.Error(), "volume 1000") {
		t.Errorf("%d bytes were written: %v", n, err)
	}
}

// Proving the volumes ends with its context.
func TestHeldCancelled(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	dir := v.interrupted(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := v.output(t, OutputOptions{}, dir)
	if _, err := out.Held(ctx, v.contents, v.o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	held, err := out.Held(t.Context(), v.contents, v.o)
	if err != nil || len(held) == 0 || out.HeldBytes() != int64(len(v.want)) {
		t.Errorf("held %d blobs in %d bytes, %v", len(held), out.HeldBytes(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "k8s.tar.011")); errors.Is(err, fs.ErrNotExist) {
		t.Error("asking has removed a volume")
	}
}

// Sync may be called while volumes are written and finished.
func TestVolumesSync(t *testing.T) {
	v := newVolumeTest(t, compress.Zstd, false)
	dir := t.TempDir()
	out := v.output(t, OutputOptions{}, dir)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
				if err := out.Sync(); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	_, err := v.fill(out, len(v.blobs))
	close(stop)
	if err := errors.Join(err, <-stopped, out.Commit()); err != nil {
		t.Fatal(err)
	}
	v.check(t, out, dir)
}
