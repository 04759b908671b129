package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// What serves is not only a bundle: the store of a pack, a bundle that tar has unpacked, and the layout of another tool.
func TestServeStore(t *testing.T) {
	t.Parallel()
	requireTools(t, "skopeo", "tar")
	w := newServedWorld(t)
	w.pack("k8s.tar", "--store", "store")
	w.tool("mkdir", "unpacked")
	w.tool("tar", "-xf", "k8s.tar", "-C", "unpacked")
	// skopeo writes no layout with Docker's media types.
	of := slices.DeleteFunc(w.tagged(), func(image corpus.Image) bool { return !strings.Contains(image.Root.MediaType, ".oci.") })
	for _, image := range of {
		w.tool("skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false",
			"docker://"+image.Reference(w.source.Host()), "oci:skopeo:"+image.Reference(servedHost))
	}
	for _, layout := range []string{"store", "unpacked"} {
		s := w.serve("--store", layout)
		if err := w.isServed(s, ""); err != nil {
			t.Errorf("%s: %v", layout, err)
		}
		w.mirrored(s)
	}
	s := w.serve("--store", "skopeo")
	for _, image := range of {
		if err := w.imageIsServed(s, "", image); err != nil {
			t.Errorf("skopeo's %s: %v", image.Repository, err)
		}
	}
}
