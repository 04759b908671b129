package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// Whenever a pack into volumes is killed, the same command finishes the work: the volumes are those of an undisturbed run, and what was
// finished is not written again.
func TestPackSplitKilled(t *testing.T) {
	packSplitKilled(t, "k8s.tar.zst", rounds(3, 40), rounds(5, 60))
}

// So it is with compact bundles, which are written when all else is done, and with xz.
func TestPackSplitCompactKilled(t *testing.T) {
	packSplitKilled(t, "k8s.tar.zst", rounds(0, 10), rounds(2, 40), "--compact", "--frame-size", "2MiB")
}

func TestPackSplitXZKilled(t *testing.T) {
	packSplitKilled(t, "k8s.tar.xz", rounds(1, 10), rounds(2, 20))
}

// packSplitKilled kills pack with the flags so often after some time, and so often when some volume has been finished.
func packSplitKilled(t *testing.T, name string, afterTime, atVolume int, flags ...string) {
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	random := newRandom(t)
	command := append([]string{"pack", "-f", "images.list", "-o", name}, flags...)
	w.ok(command...)
	want := w.read(name)
	command = append(command, "--split", "1MiB")
	start := time.Now()
	w.in(t, "undisturbed").ok(command...)
	undisturbed := time.Since(start)
	for i := range afterTime {
		after := time.Duration(random.Int64N(int64(undisturbed)))
		t.Run(fmt.Sprintf("%d after %s", i, after), func(t *testing.T) {
			w := w.in(t, fmt.Sprintf("time-%d", i))
			w.splitAfterAll(name, want, splitCommand(command, i), func() <-chan time.Time { return time.After(after) })
		})
	}
	for i := range atVolume {
		n := 1 + random.IntN(len(want)>>20)
		more := time.Duration(random.Int64N(int64(50 * time.Millisecond)))
		t.Run(fmt.Sprintf("%d at volume %d and %s", i, n, more), func(t *testing.T) {
			w := w.in(t, fmt.Sprintf("volume-%d", i))
			w.splitAfterAll(name, want, splitCommand(command, i), func() <-chan time.Time {
				appeared := make(chan time.Time)
				go func() {
					for t.Context().Err() == nil {
						if _, err := os.Stat(fmt.Sprintf("%s.%03d", w.path(name), n)); err == nil {
							break
						}
						time.Sleep(time.Millisecond)
					}
					time.Sleep(more)
					close(appeared)
				}()
				return appeared
			})
		})
	}
}

// splitCommand adds --consume each second time.
func splitCommand(command []string, round int) []string {
	if round%2 == 0 {
		return command
	}
	return append(slices.Clone(command), "--consume")
}

// splitAfterAll runs a command, kills it when the channel says so, and runs it again.
func (w *world) splitAfterAll(name string, want []byte, command []string, when func() <-chan time.Time) {
	w.Helper()
	signal := make(chan struct{})
	go func() {
		<-when()
		close(signal)
	}()
	w.killedWhen(signal, command...)
	before := w.volumes()
	w.Logf("%d volumes were finished", len(before))
	left := w.files(".")
	_, listed := left[name+".sha256"]
	if _, unfinished := left[name+".journal"]; unfinished || !listed {
		w.ok(command...)
	}
	w.hasVolumes(name, want)
	w.untouched(before)
}

// volumes returns the volumes in the folder of a story.
func (w *world) volumes() map[string]os.FileInfo {
	w.Helper()
	found := map[string]os.FileInfo{}
	paths, err := filepath.Glob(w.path("k8s.tar.*.[0-9][0-9][0-9]"))
	if err != nil {
		w.Fatal(err)
	}
	for _, path := range paths {
		if found[path], err = os.Stat(path); err != nil {
			w.Fatal(err)
		}
	}
	return found
}

// untouched proves that files which were there are the same still.
func (w *world) untouched(before map[string]os.FileInfo) {
	w.Helper()
	for path, was := range before {
		is, err := os.Stat(path)
		if err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
			w.Errorf("%s was written again (%v)", path, err)
		}
	}
}

// hasVolumes proves that the folder of a story has the volumes of a bundle with these bytes, its list, and nothing else of that name.
func (w *world) hasVolumes(name string, want []byte) {
	w.Helper()
	const size = 1 << 20
	var got []byte
	for n := 1; len(got) < len(want); n++ {
		volume := w.read(fmt.Sprintf("%s.%03d", name, n))
		if len(volume) == 0 || len(volume) != min(size, len(want)-len(got)) {
			w.Fatalf("volume %d has %d bytes", n, len(volume))
		}
		got = append(got, volume...)
	}
	if !bytes.Equal(got, want) {
		w.Error("the volumes hold other bytes than the bundle in one file")
	}
	list := string(w.read(name + ".sha256"))
	if volumes := (len(want) + size - 1) / size; strings.Count(list, "\n") != volumes+1 || len(w.volumes()) != volumes {
		w.Errorf("%d volumes, want %d; the list is\n%s", len(w.volumes()), volumes, list)
	}
	for file := range w.files(".") {
		if strings.HasPrefix(file, name) && file != name+".sha256" && !strings.HasPrefix(file, name+".0") || strings.HasSuffix(file, ".partial") {
			w.Errorf("left behind: %s", file)
		}
	}
}
