package e2e

import (
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// Bundles that were packed apart, one for each architecture, become one, and all images arrive with the indexes, digests
// and attestations that they had.
func TestMergeOfArchitectures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	pack := func(bundle, platforms string) {
		w.ok("pack", "-f", "images.list", "-o", bundle, "--platform", platforms, "--platform-missing", "drop")
	}
	pack("amd64.tar.zst", "linux/amd64")
	pack("arm64.tar.zst", "linux/arm64")
	pack("s390x.tar.xz", "linux/s390x")
	w.ok("merge", "amd64.tar.zst", "arm64.tar.zst", "-o", "two.tar.zst")
	w.ok("merge", "two.tar.zst", "s390x.tar.xz", "-o", "all.tar.zst")
	w.ok("verify", "all.tar.zst")
	w.ok("unpack", "all.tar.zst", w.to())
	w.arrived()
}

// A target that got one architecture first, and the others later, ends with the indexes of the source.
func TestMergeIntoTheTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	copyOnly := func(platforms string) {
		w.ok("copy", "--merge-platforms", "-f", "images.list", "--platform", platforms, "--platform-missing", "drop", w.to())
	}
	copyOnly("linux/amd64")
	copyOnly("linux/arm64")
	copyOnly("linux/s390x")
	w.arrived()
	w.target.Reset()
	copyOnly("linux/s390x")
	for request, n := range w.target.Counts().Requests {
		if method, _, _ := strings.Cut(request, " "); method != "HEAD" && method != "GET" {
			t.Errorf("once more: %d times %s", n, request)
		}
	}
}
