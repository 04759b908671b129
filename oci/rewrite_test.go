package oci

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestRewriterFollowsAttestations(t *testing.T) {
	m := newMemory(t)
	image := m.blob(ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":`+entryOf(m.blob(ocispec.MediaTypeImageConfig, "{}"))+
		`,"layers":[`+entryOf(m.blob("text/a", "a"))+`]}`)
	about := image
	about.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.Digest.String()}
	attestation := m.blob(ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":`+entryOf(m.blob(ocispec.MediaTypeImageConfig, "{}"))+`,"layers":[]}`)
	attestation.Annotations = about.Annotations
	n := m.load(m.index(image, attestation))
	r := NewRewriter(func(d Descriptor) (Descriptor, bool) {
		d.Digest, d.Size = digest.FromString("b"), 1
		return d, true
	})
	got, err := r.Rewrite(n)
	if err != nil {
		t.Fatal(err)
	}
	child := got.Children[0]
	if describes(got.Manifest.Manifests[1]) != child.Digest || child.Digest == image.Digest || got.Children[1] != n.Children[1] {
		t.Errorf("%s", got.Raw)
	}
	if d := child.Manifest.Layers[0]; d.Digest != digest.FromString("b") || d.MediaType != "text/a" {
		t.Errorf("layer %+v", d)
	}
	if again, err := r.Rewrite(n); err != nil || again != got {
		t.Errorf("%v, %v", again, err)
	}
}

func TestParseDiffIDs(t *testing.T) {
	for name, test := range map[string]struct {
		config string
		n      int
		bad    string
	}{
		"two":               {`{"rootfs":{"type":"layers","diff_ids":["` + digest256 + `","` + digest256 + `"]}}`, 2, ""},
		"none":              {`{"rootfs":{"type":"layers","diff_ids":[]}}`, 0, ""},
		"null":              {`{"rootfs":{"diff_ids":null}}`, 0, ""},
		"no JSON":           {`rootfs`, 0, "not a JSON object"},
		"no rootfs":         {`{}`, 0, "without rootfs"},
		"rootfs twice":      {`{"rootfs":{},"rootfs":{}}`, 0, "twice"},
		"in another case":   {`{"RootFS":{}}`, 0, "written"},
		"ids twice":         {`{"rootfs":{"diff_ids":[],"diff_ids":[]}}`, 0, "twice"},
		"ids that are none": {`{"rootfs":{"diff_ids":["x"]}}`, 0, "diff_ids"},
		"an object":         {`{"rootfs":{"diff_ids":{}}}`, 0, "diff_ids"},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := ParseDiffIDs([]byte(test.config))
			if len(ids) != test.n || (err == nil) != (test.bad == "") || err != nil && !strings.Contains(err.Error(), test.bad) {
				t.Errorf("%v, %v", ids, err)
			}
		})
	}
}
