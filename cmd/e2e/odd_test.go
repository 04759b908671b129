package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// What is no image, or is written as few images are, goes from a real registry to a real registry with its digest.
func TestOddArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	source := startRegistry(t, distribution.Options{})
	from, to := wire.Registry{URL: source.URL()}, wire.Registry{URL: w.target.URL()}
	blob := func(repository, mediaType, content, more string) string {
		d := digest.FromString(content)
		if err := from.PushBlob(t.Context(), repository, d, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, d, len(content), more)
	}
	empty := func(repository string) string { return blob(repository, ocispec.MediaTypeEmptyJSON, "{}", "") }
	manifests := map[string]func(repository string) string{ // what follows the schemaVersion
		"chart": func(r string) string {
			return `"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` +
				blob(r, "application/vnd.cncf.helm.config.v1+json", `{"name":"web","version":"1.2.3"}`, "") + `,"layers":[` +
				blob(r, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "a chart", "") + `]`
		},
		"artifact": func(r string) string {
			return `"mediaType":"` + ocispec.MediaTypeImageManifest + `","artifactType":"application/vnd.example.policy","config":` +
				empty(r) + `,"layers":[` + blob(r, "text/plain", "policy", "") + `]`
		},
		"untyped": func(r string) string { return `"config":` + empty(r) + `,"layers":[]` },
		"inline": func(r string) string {
			return `"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + empty(r) + `,"layers":[` +
				blob(r, "text/plain", "hi", `,"data":"aGk="`) + `]`
		},
		"without-bytes": func(r string) string {
			return `"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + empty(r) + `,"layers":[` +
				blob(r, "text/plain", "", "") + `]`
		},
	}
	var list strings.Builder
	digests := map[string]digest.Digest{}
	for name, manifest := range manifests {
		raw := []byte(`{"schemaVersion":2,` + manifest(name) + `}`)
		digests[name] = digest.FromBytes(raw)
		if err := from.PushManifest(t.Context(), name, "1", ocispec.MediaTypeImageManifest, raw); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s/%s:1\n", source.Host(), name)
	}
	w.write("images.list", list.String())
	w.ok("pack", "-f", "images.list", "-o", "odd.tar.zst")
	w.ok("verify", "odd.tar.zst")
	w.ok("unpack", "odd.tar.zst", w.to())
	w.ok("copy", "-f", "images.list", w.target.Host()+"/copied")
	for name, want := range digests {
		for _, repository := range []string{prefix + "/" + name, "copied/" + name} {
			if d, _, err := to.Manifest(t.Context(), repository, "1"); err != nil || d.Digest != want {
				t.Errorf("%s is %s, want %s: %v", repository, d.Digest, want, err)
			}
		}
	}
}
