//go:build linux

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// smallDisk mounts a file system of size bytes in the folder of a story and returns its name there.
func (w *world) smallDisk(size string) string {
	w.Helper()
	requireRoot(w.T)
	const name = "disk"
	if err := os.Mkdir(w.path(name), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.path(name), "tmpfs", 0, "size="+size); err != nil {
		w.Skipf("mount: %v", err)
	}
	w.Cleanup(func() {
		if err := syscall.Unmount(w.path(name), 0); err != nil {
			w.Error(err)
		}
	})
	return name
}

// filler fills a disk to the brim when the registry is asked for a certain blob. With a layer, that is after the plan
// has looked at the free space.
type filler struct {
	mu   sync.Mutex
	blob digest.Digest // none, or filled already, when empty
	disk string
}

func (f *filler) arm(disk string, blob digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disk, f.blob = disk, blob
}

func (f *filler) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if f.blob != "" && strings.HasSuffix(r.URL.Path, f.blob.String()) {
			f.blob = ""
			f.fill()
		}
		f.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (f *filler) fill() {
	file, err := os.Create(filepath.Join(f.disk, "somebody-else"))
	if err != nil {
		return
	}
	defer file.Close()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = file.Write(block)
	}
}

// largest returns the largest blob of the images.
func (w *world) largest() digest.Digest {
	w.Helper()
	_, blobs := w.content()
	ids := slices.Collect(maps.Keys(blobs))
	return slices.MaxFunc(ids, func(a, b digest.Digest) int { return cmp.Compare(blobs[a], blobs[b]) })
}

// A disk that is full ends a pack into volumes, and leaves those that are finished. With room made, the same command goes on behind them.
func TestFullDiskOfVolumes(t *testing.T) {
	fill := &filler{}
	w := newWorld(t, distribution.Options{Wrap: fill.wrap}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "plain.tar.zst")
	want := w.read("plain.tar.zst")
	disk := w.smallDisk("64m")
	split := []string{"pack", "-f", "images.list", "--split", "1MiB", "-o", disk + "/k8s.tar.zst"}
	fill.arm(w.path(disk), w.largest())
	w.expect(1, w.ferry(split...), "no space left")
	w = w.in(t, disk)
	before := w.volumes()
	for name := range w.files(".") {
		if strings.HasSuffix(name, ".partial") || strings.HasSuffix(name, ".sha256") || name == "k8s.tar.zst.journal" && len(before) == 0 {
			t.Errorf("left behind: %s", name)
		}
	}
	if err := os.Remove(w.path("somebody-else")); err != nil {
		t.Fatal(err)
	}
	split[len(split)-1] = "k8s.tar.zst"
	w.ok(split...)
	w.untouched(before)
	w.hasVolumes("k8s.tar.zst", want)
}

// Folders are filled one after the other. What they have no room for together is refused before anything moves.
func TestVolumesOnSmallDisks(t *testing.T) {
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "plain.tar.zst")
	want := w.read("plain.tar.zst")
	first := w.smallDisk("5m")
	got := w.expect(1, w.ferry("pack", "-f", "images.list", "--split", "1MiB", "-o", first+"/k8s.tar.zst"),
		"there is room for 3: 3 in disk; add folders: -o disk/k8s.tar.zst,DIR")
	if len(w.files(first)) > 0 {
		t.Errorf("left behind: %v", got)
	}
	if err := os.Mkdir(w.path("more"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.ok("pack", "-f", "images.list", "--split", "1MiB", "-o", first+"/k8s.tar.zst,more")
	if got := len(w.files(first)); got != 3+1 {
		t.Errorf("the first folder has %v, want 3 volumes and the list", w.files(first))
	}
	joined := w.read(first + "/k8s.tar.zst.001")
	for n := 2; len(joined) < len(want); n++ {
		joined = append(joined, w.read(fmt.Sprintf("%s/k8s.tar.zst.%03d", map[bool]string{true: first, false: "more"}[n <= 3], n))...)
	}
	if !bytes.Equal(joined, want) {
		t.Error("the volumes hold other bytes than the bundle in one file")
	}
	w.ok("unpack", "more", first, w.to())
	w.arrived()
}

func TestFullDisk(t *testing.T) {
	for _, test := range []struct {
		name  string
		size  string
		fills bool // while ferry is at work
		want  string
		args  []string
	}{
		{"store too small", "1m", false, "too small", []string{"-o", "k8s.tar.zst", "--store", "disk/store"}},
		{"store fills up", "64m", true, "no space left", []string{"-o", "k8s.tar.zst", "--store", "disk/store"}},
		{"output too small", "1m", false, "too small", []string{"-o", "disk/k8s.tar.zst"}},
		{"output fills up", "64m", true, "no space left", []string{"-o", "disk/k8s.tar.zst"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fill := &filler{}
			w := newWorld(t, distribution.Options{Wrap: fill.wrap}, distribution.Options{})
			disk := w.smallDisk(test.size)
			if test.fills {
				fill.arm(w.path(disk), w.largest())
			}
			got := w.expect(1, w.ferry(append([]string{"pack", "-f", "images.list"}, test.args...)...), test.want)
			if strings.Contains(got.stderr, "panic") || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("panic:\n%s", got.stderr)
			}
			for name := range w.files(".") {
				if strings.HasPrefix(filepath.Base(name), "k8s") {
					t.Errorf("left behind: %s", name)
				}
			}
			if !test.fills {
				return
			}
			// With room made, the same command goes on.
			if err := os.Remove(filepath.Join(w.path(disk), "somebody-else")); err != nil {
				t.Fatal(err)
			}
			w.ok(append([]string{"pack", "-f", "images.list"}, test.args...)...)
		})
	}
}
