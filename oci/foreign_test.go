package oci

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entryOf returns the JSON of a descriptor.
func entryOf(d Descriptor) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size)
}

func TestRewriteForeign(t *testing.T) {
	for name, test := range map[string]struct {
		layer string // mediaType and more
		want  string // mediaType after; empty: nothing is to change
	}{
		"Docker's": {
			layer: `"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","urls":["https://x/y"]`,
			want:  `"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip"`,
		},
		"OCI's": {
			layer: `"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd","urls":["https://x/y"]`,
			want:  `"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd"`,
		},
		"OCI's, without compression": {
			layer: `"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar"`,
			want:  `"mediaType":"application/vnd.oci.image.layer.v1.tar"`,
		},
		"an ordinary one with URLs": {
			layer: `"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","urls":["https://x/y"]`,
			want:  `"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"`,
		},
		"an ordinary one": {layer: `"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"`},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			config, ordinary := m.blob(ocispec.MediaTypeImageConfig, "{}"), m.blob("text/plain", "b")
			image := m.blob(ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":`+entryOf(config)+
				`,"layers":[{`+test.layer+`,"digest":"`+digest256+`","size":9,"annotations":{"a":"<b>"}},`+entryOf(ordinary)+`],"x":1.50}`)
			other := m.imageFor("linux/amd64", "base", "own")
			index := m.index(image, other, ordinary)
			n := m.load(index)
			got, err := RewriteForeign(n)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if got != n {
					t.Errorf("rewritten: %s", got.Raw)
				}
				return
			}
			child := got.Children[0]
			raw := string(child.Raw)
			for _, part := range []string{test.want, `"a":"<b>"`, `"x":1.50`, digest256} {
				if !strings.Contains(raw, part) {
					t.Errorf("no %s in %s", part, raw)
				}
			}
			if strings.Contains(raw, "urls") || !strings.Contains(string(got.Raw), child.Digest.String()) ||
				strings.Contains(string(got.Raw), image.Digest.String()) || got.Children[1] != n.Children[1] {
				t.Errorf("%s, in %s", raw, got.Raw)
			}
			if len(child.Manifest.Layers[0].URLs) != len(n.Children[0].Manifest.Layers[0].URLs) {
				t.Error("it is not known any more where the layer is")
			}
			if again, err := RewriteForeign(got); err != nil || again.Digest != got.Digest {
				t.Errorf("rewritten twice: %v", err)
			}
		})
	}
}
