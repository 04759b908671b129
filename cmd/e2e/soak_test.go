package e2e

import (
	"fmt"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/faults"
)

// badShare is how many of the requests fail.
const badShare = 0.05

// Registries at both ends that fail one request in twenty: no image is lost, and none is wrong.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := manyStock(t, rounds(20, 200))
	for seed := range rounds(1, 3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			source := faults.New(faults.Options{Seed: uint64(seed), Share: badShare})
			target := faults.New(faults.Options{Seed: uint64(seed + 100), Share: badShare})
			w := newWorldOf(t, s, distribution.Options{Wrap: source.Wrap}, distribution.Options{Wrap: target.Wrap})
			w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
			w.survived("pack", source)
			w.ok("verify", "k8s.tar.zst")
			w.ok("unpack", "k8s.tar.zst", w.to())
			w.survived("unpack", target)
			w.arrived()
		})
	}
}

// survived tells what a command met, which must have been something.
func (w *world) survived(command string, front *faults.Front) {
	w.Helper()
	failed, asked := front.Made()
	w.Logf("%s: of %d requests failed %v", command, asked, failed)
	if len(failed) == 0 {
		w.Errorf("%s met no trouble in %d requests", command, asked)
	}
}
