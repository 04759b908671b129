package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// rounds returns how often a story is told that differs each time.
func rounds(short, long int) int {
	if os.Getenv("FERRY_E2E_LONG") != "" {
		return long
	}
	return short
}

// newRandom returns a source of random numbers whose seed is in the log of a story that fails.
func newRandom(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// killedAfter runs a command and kills it, as by kill -9, when n bytes have passed the wire.
func (w *world) killedAfter(trip *tripwire, n int64, args ...string) {
	w.Helper()
	w.killedWhen(trip.arm(n), args...)
	trip.release()
}

// killedWhen runs a command and kills it when the channel is closed, unless it has ended by then.
func (w *world) killedWhen(signal <-chan struct{}, args ...string) {
	w.Helper()
	cmd := w.command(w.Context(), args...)
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-signal:
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			w.Fatal(err)
		}
		<-ended
	case <-ended:
	}
}

// settle waits until a registry is done with what killed clients have asked of it.
func (w *world) settle(s *distribution.Server) {
	w.Helper()
	if err := s.Settle(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// in returns the world as it is with another folder, which has the same images.list.
func (w *world) in(t *testing.T, folder string) *world {
	t.Helper()
	other := *w
	other.T, other.dir = t, w.path(folder)
	other.write("images.list", string(w.read("images.list")))
	return &other
}

// kept returns what the stores under the folder of a story hold: whole blobs, and the sizes of those that are not.
func (w *world) kept() (whole map[digest.Digest]bool, partial map[digest.Digest]int64) {
	w.Helper()
	whole, partial = map[digest.Digest]bool{}, map[digest.Digest]int64{}
	for name, size := range w.files(".") {
		id := digest.NewDigestFromEncoded(digest.SHA256, path.Base(name))
		if id.Validate() != nil {
			continue
		}
		switch path.Base(path.Dir(name)) {
		case "sha256":
			whole[id] = true
		case "partial":
			partial[id] = size
		}
	}
	return whole, partial
}

// Whenever pack is killed, the same command finishes the work: with the same bytes, and without fetching anything again
// that is there.
func TestPackKilled(t *testing.T) { packKilled(t, rounds(6, 60), rounds(3, 40)) }

// So does it in a compact bundle, of which most of the time goes by after the last byte was fetched.
func TestPackCompactKilled(t *testing.T) { packKilled(t, rounds(1, 10), rounds(4, 90), "--compact") }

// packKilled kills pack with the flags so often after some bytes, and so often after some time.
func packKilled(t *testing.T, afterBytes, afterTime int, flags ...string) {
	trip := newTripwire()
	w := newWorld(t, distribution.Options{Wrap: trip.wrap}, distribution.Options{})
	random := newRandom(t)
	start := time.Now()
	w.ok(packCommand(0, flags...)...)
	undisturbed := time.Since(start)
	want, total := w.read("k8s.tar.zst"), w.source.Counts().BytesOut

	for i := range afterBytes {
		n := 1 + random.Int64N(total)
		t.Run(fmt.Sprintf("%d after %d bytes", i, n), func(t *testing.T) {
			w := w.in(t, fmt.Sprintf("bytes-%d", i))
			command := packCommand(i, flags...)
			w.killedAfter(trip, n, command...)
			w.packedAfterAll(want, command)
		})
	}
	for i := range afterTime {
		after := time.Duration(random.Int64N(int64(undisturbed)))
		t.Run(fmt.Sprintf("%d after %s", i, after), func(t *testing.T) {
			w := w.in(t, fmt.Sprintf("time-%d", i))
			command := packCommand(i, flags...)
			signal := make(chan struct{})
			timer := time.AfterFunc(after, func() { close(signal) })
			defer timer.Stop()
			w.killedWhen(signal, command...)
			w.packedAfterAll(want, command)
		})
	}
}

// packCommand takes turns between a store of ferry's own, one of the user's, and one that is consumed.
func packCommand(round int, flags ...string) []string {
	command := append([]string{"pack", "-f", "images.list", "-o", "k8s.tar.zst"}, flags...)
	switch round % 3 {
	case 1:
		command = append(command, "--store", "store")
	case 2:
		command = append(command, "--consume")
	}
	return command
}

// packedAfterAll runs a command that was killed once more.
func (w *world) packedAfterAll(want []byte, command []string) {
	w.Helper()
	if left, err := os.ReadFile(w.path("k8s.tar.zst")); err == nil && !bytes.Equal(left, want) {
		w.Error("the killed run left a bundle that is not whole")
	}
	whole, partial := w.kept()
	w.settle(w.source)
	w.source.Reset()
	w.ok(command...)
	if !bytes.Equal(w.read("k8s.tar.zst"), want) {
		w.Error("the bundle has other bytes than that of an undisturbed run")
	}
	fetched := w.source.Counts().Fetched
	for id := range whole {
		if fetched[id.String()] > 0 {
			w.Errorf("blob %s was whole and was fetched again", id)
		}
	}
	_, blobs := w.content() // a part of a manifest, which is small, is no help to a plan
	for id, have := range partial {
		size, ok := blobs[id]
		if got, want := fetched[id.String()], size-have; ok && got > want {
			w.Errorf("blob %s: %d bytes were there, fetched %d, want %d", id, have, got, want)
		}
	}
	for name := range w.files(".") {
		if strings.HasPrefix(name, "k8s") && name != "k8s.tar.zst" && name != "k8s.tar.zst.sha256" {
			w.Errorf("left behind: %s", name)
		}
	}
}

// Whenever unpack is killed, what is tagged at the target is whole, and the same command finishes the work without
// uploading anything again that is there.
func TestUnpackKilled(t *testing.T) {
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	random := newRandom(t)
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	w.ok("unpack", "k8s.tar.zst", w.to())
	total := w.target.Counts().BytesIn

	for i := range rounds(4, 60) {
		n := 1 + random.Int64N(total)
		t.Run(fmt.Sprintf("%d after %d bytes", i, n), func(t *testing.T) {
			w.unpackKilled(t, n)
		})
	}
}

// unpackKilled unpacks into a registry of its own, is killed when n bytes have passed, and unpacks again.
func (w *world) unpackKilled(t *testing.T, n int64) {
	trip := newTripwire()
	other := *w
	other.T, other.targetRoot = t, t.TempDir()
	other.target = startRegistry(t, distribution.Options{Root: other.targetRoot, Wrap: trip.wrap, AllowURLs: []string{"."}})
	other.killedAfter(trip, n, "unpack", "k8s.tar.zst", other.to())
	other.settle(other.target)
	other.tagsAreWhole()
	stored := other.stored()
	other.target.Reset()
	other.ok("unpack", "k8s.tar.zst", other.to())
	other.arrived()
	for id, n := range other.target.Counts().Stored {
		if stored[digest.Digest(id)] {
			t.Errorf("blob %s was at the target and was uploaded again, %d times", id, n)
		}
	}
}

// tagsAreWhole proves that every tag of the target names an image that is all there.
func (w *world) tagsAreWhole() {
	w.Helper()
	to := w.witness(w.targetRoot)
	repositories, err := to.Repositories(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, repository := range repositories {
		tags, err := to.Tags(w.Context(), repository)
		if errors.Is(err, wire.ErrNotFound) {
			continue // blobs only
		}
		if err != nil {
			w.Fatal(err)
		}
		for _, tag := range tags {
			end := compare.End{Registry: to, Repository: repository, Reference: tag}
			if _, err := compare.Image(w.Context(), end, end); err != nil {
				w.Errorf("%s:%s is tagged and not whole: %v", repository, tag, err)
			}
		}
	}
}

// stored returns the blobs that some repository of the target has.
func (w *world) stored() map[digest.Digest]bool {
	w.Helper()
	found := map[digest.Digest]bool{}
	repositories := filepath.Join(w.targetRoot, "docker", "registry", "v2", "repositories")
	err := filepath.WalkDir(repositories, func(file string, _ fs.DirEntry, err error) error {
		layers, algorithm := filepath.Split(filepath.Dir(filepath.Dir(file)))
		if filepath.Base(file) == "link" && algorithm == "sha256" && filepath.Base(layers) == "_layers" {
			found[digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(filepath.Dir(file)))] = true
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	return found
}

// oneBuffer is the most that a transfer may move twice when it is broken off, in bytes.
const oneBuffer = 4 << 20

// movedOnce compares what was moved of each blob, before a run was killed and after, with its size.
func (w *world) movedOnce(before, after map[string]int64) {
	w.Helper()
	_, blobs := w.content()
	var killed, twice int64
	for id, size := range blobs {
		killed += before[id.String()]
		again := before[id.String()] + after[id.String()] - size
		twice += max(again, 0)
		if again < 0 || again > oneBuffer {
			w.Errorf("blob %s of %d bytes: %d and then %d were moved, so %d again; want 0 to %d",
				digest.Digest(id), size, before[id.String()], after[id.String()], again, oneBuffer)
		}
	}
	w.Logf("%d bytes before a kill, %d bytes moved twice", killed, twice)
}
