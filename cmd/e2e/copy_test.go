package e2e

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/faults"
)

// Copy reads each blob once, writes nothing to the disk, and has nothing to do the second time.
func TestCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("copy", "-f", "images.list", w.to())
	w.arrived()
	w.readOnce()
	if files := w.files("."); len(files) != 1 {
		t.Errorf("left on the disk: %v", files)
	}
	w.source.Reset()
	w.target.Reset()
	w.ok("copy", "-f", "images.list", w.to())
	source, target := w.source.Counts(), w.target.Counts()
	for side, requests := range map[string]map[string]int{"source": source.Requests, "target": target.Requests} {
		if most := len(w.images) + 1; requests["HEAD manifest"] > most || sum(requests)-requests["HEAD manifest"] > 1 {
			t.Errorf("a second copy asked the %s for %v, want a HEAD for each of %d images", side, requests, len(w.images))
		}
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// readOnce proves that each blob of the images left the source once.
func (w *world) readOnce() {
	w.Helper()
	fetched := w.source.Counts().Fetched
	_, blobs := w.content()
	for id, size := range blobs {
		if got := fetched[id.String()]; got != size {
			w.Errorf("blob %s of %d bytes: %d were read", id, size, got)
		}
	}
}

// Two targets, one of them Debian's docker-registry: each blob leaves the source once.
func TestCopyToTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	root := t.TempDir()
	debian := debianRegistry(t, root, "", "")
	w.ok("copy", "-f", "images.list", w.to(), "--to", debian+"/"+prefix)
	w.readOnce()
	w.arrived()
	w.targetRoot = root
	w.arrived()
}

// Both sides with credentials of their own and a private authority, one of them with client certificates.
func TestCopyAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		distribution.Options{Users: map[string]string{"ann": "secret"}, TLS: true},
		distribution.Options{Users: map[string]string{"bob": "hidden"}, MutualTLS: true})
	command := []string{
		"copy", "-f", "images.list", w.to(), "--src-creds-file", "ann", "--dest-creds-file", "bob",
		"--src-ca", w.source.CAFile(), "--dest-cert-dir", w.target.CertDir(),
	}
	w.write("ann", "ann:secret\n")
	w.write("bob", "bob:wrong\n")
	w.expect(1, w.ferry(command...), "401 Unauthorized")
	w.write("bob", "bob:hidden\n")
	w.ok(command...)
	w.arrived()
}

// Of what a copy that was killed had moved, the next one moves no more than a buffer for each transfer again, at either
// side.
func TestCopyKilledMovesLittleTwice(t *testing.T) {
	s, err := largeStock()
	if err != nil {
		t.Fatal(err)
	}
	random := newRandom(t)
	for i := range rounds(2, 12) {
		n := 1 + random.Int64N(largeLayers*largeSize)
		t.Run(fmt.Sprintf("%d after %d bytes", i, n), func(t *testing.T) {
			trip := newTripwire()
			w := newWorldOf(t, s, distribution.Options{}, distribution.Options{Wrap: trip.wrap})
			w.killedWhen(trip.arm(n), "copy", "-f", "images.list", w.to())
			trip.resume() // the registry reads what the line still holds, and finds its end
			w.settle(w.source)
			w.settle(w.target)
			taken := w.target.Counts().Received
			w.source.Reset()
			w.target.Reset()
			w.ok("copy", "-f", "images.list", w.to())
			w.movedOnce(taken, w.target.Counts().Received)
			w.readRest(taken)
			w.arrived()
		})
	}
}

// readRest proves that what the target had of a blob was not read again, but for a buffer. (What the source had sent
// before is no measure: the target need not have got it.)
func (w *world) readRest(taken map[string]int64) {
	w.Helper()
	fetched := w.source.Counts().Fetched
	_, blobs := w.content()
	for id, size := range blobs {
		if again := taken[id.String()] + fetched[id.String()] - size; again > oneBuffer {
			w.Errorf("blob %s of %d bytes: the target had %d, and %d were read", digest.Digest(id), size,
				taken[id.String()], fetched[id.String()])
		}
	}
}

// Registries at both ends that fail one request in twenty, in one command.
func TestCopySoak(t *testing.T) {
	t.Parallel()
	s := manyStock(t, rounds(20, 200))
	for seed := range rounds(1, 3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			source := faults.New(faults.Options{Seed: uint64(seed), Share: badShare})
			target := faults.New(faults.Options{Seed: uint64(seed + 100), Share: badShare})
			w := newWorldOf(t, s, distribution.Options{Wrap: source.Wrap}, distribution.Options{Wrap: target.Wrap})
			w.ok("copy", "-f", "images.list", w.to())
			w.survived("copy, at the source", source)
			w.survived("copy, at the target", target)
			w.arrived()
		})
	}
}
