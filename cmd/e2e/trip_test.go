package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// The whole trip, in each of the forms that a bundle can have.
func TestTrip(t *testing.T) {
	for _, bundle := range []string{"k8s.tar.zst", "k8s.tar.xz", "k8s.tar"} {
		t.Run(bundle, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution.Options{}, distribution.Options{})
			w.ok("pack", "-f", "images.list", "-o", bundle)
			w.checksum(bundle)
			w.inspected(bundle)
			w.ok("verify", bundle)
			w.ok("unpack", bundle, w.to())
			w.arrived()
			w.unpackAgain(bundle)
		})
	}
}

// checksum proves the file beside the bundle.
func (w *world) checksum(bundle string) {
	w.Helper()
	want := fmt.Sprintf("%x  %s\n", sha256.Sum256(w.read(bundle)), bundle)
	if got := string(w.read(bundle + ".sha256")); got != want {
		w.Fatalf("%s.sha256: got %q, want %q", bundle, got, want)
	}
}

// inspected proves that inspect tells of every image, and as a list that names each by digest.
func (w *world) inspected(bundle string) {
	w.Helper()
	table, list := w.ok("inspect", bundle).stdout, w.ok("inspect", bundle, "--list").stdout
	lines := strings.Split(strings.TrimSpace(list), "\n")
	for _, image := range w.images {
		name := w.source.Host() + "/" + image.Repository
		if !strings.Contains(table, name) {
			w.Errorf("inspect does not name %s:\n%s", name, table)
		}
		pinned := name + ":" + image.Tag + "@" + image.Root.Digest.String()
		if image.Pinned {
			pinned = name + "@" + image.Root.Digest.String()
		}
		if !slices.Contains(lines, pinned) {
			w.Errorf("inspect --list has no line %s:\n%s", pinned, list)
		}
	}
}

// unpackAgain proves that a second unpack asks, but moves nothing.
func (w *world) unpackAgain(bundle string) {
	w.Helper()
	w.target.Reset()
	w.ok("unpack", bundle, w.to())
	counts := w.target.Counts()
	for request, n := range counts.Requests {
		if method, _, _ := strings.Cut(request, " "); method != "HEAD" && method != "GET" {
			w.Errorf("second unpack: %d times %s", n, request)
		}
	}
	manifests, blobs := w.content()
	if most := len(manifests) + len(blobs)*len(w.images); counts.BytesIn > 0 || counts.Requests["HEAD blob"] > most {
		w.Errorf("second unpack: the target took %d bytes and %v", counts.BytesIn, counts.Requests)
	}
}

func TestPackFetchesEachBlobOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	counts := w.source.Counts()
	manifests, blobs := w.content()
	for id, size := range blobs {
		if got := counts.Fetched[id.String()]; got != size {
			t.Errorf("blob %s of %d bytes: fetched %d", id, size, got)
		}
		if got := counts.Gets[id.String()]; got != 1 {
			t.Errorf("blob %s: GET %d times", id, got)
		}
	}
	for id := range manifests {
		if got := counts.Gets[id.String()]; got > 1 {
			t.Errorf("manifest %s: GET %d times", id, got)
		}
	}
	for _, image := range w.images {
		if got := counts.Gets[image.Tag]; got > 0 {
			t.Errorf("manifest %s: GET by its tag, which HEAD has told already", image.Tag)
		}
	}
}

// Packing must not depend on the number of processors or of transfers, nor on what the store has.
func TestSameInputSameBytes(t *testing.T) {
	for _, bundle := range []string{"k8s.tar.zst", "k8s.tar.xz"} {
		t.Run(bundle, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution.Options{}, distribution.Options{})
			w.ok("pack", "-f", "images.list", "-o", bundle, "--store", "store")
			want := w.read(bundle)
			w.source.Reset()
			for i, flags := range [][]string{{"-j", "1", "--transfers", "1"}, {"-j", "8"}, {"--store", "store"}} {
				again := fmt.Sprintf("%d-%s", i, bundle)
				w.ok(append([]string{"pack", "-f", "images.list", "-o", again}, flags...)...)
				if !bytes.Equal(w.read(again), want) {
					t.Errorf("other bytes with %v", flags)
				}
			}
		})
	}
}

// Next month's pack fetches only what is new: here, nothing.
func TestWarmStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "january.tar.zst", "--store", "store")
	w.source.Reset()
	w.ok("pack", "-f", "images.list", "-o", "february.tar.zst", "--store", "store")
	counts := w.source.Counts()
	if counts.Requests["GET blob"] != 0 || counts.Requests["GET manifest"] != 0 {
		t.Errorf("second pack asked for %v", counts.Requests)
	}
	if !bytes.Equal(w.read("january.tar.zst"), w.read("february.tar.zst")) {
		t.Error("the bundles differ")
	}
}

// A store that was not asked for is not left behind.
func TestStoreOfOwnIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	if files := w.files("cache"); len(files) > 0 {
		t.Errorf("left in the cache: %v", files)
	}
}
