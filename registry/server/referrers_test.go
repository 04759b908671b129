package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/server"
)

// index reads the answer of the referrers API.
func (a answer) index(t *testing.T) ocispec.Index {
	t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(a.body, &index); err != nil {
		t.Fatal(err)
	}
	if got := a.Header.Get("Content-Type"); got != ocispec.MediaTypeImageIndex || index.MediaType != got || index.SchemaVersion != 2 {
		t.Errorf("Content-Type %s, document %.100s", got, a.body)
	}
	return index
}

func digests(list []oci.Descriptor) (all []digest.Digest) {
	for _, d := range list {
		all = append(all, d.Digest)
	}
	return all
}

func sorted(graphs ...*ocitest.Graph) (all []digest.Digest) {
	for _, g := range graphs {
		all = append(all, g.Digest)
	}
	slices.Sort(all)
	return all
}

func TestReferrers(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	signature := ocitest.Referrer(ocitest.SignatureType, g, "signature")
	sbom := ocitest.Referrer(ocitest.SBOMType, g, "sbom")
	signed := ocitest.Referrer(ocitest.SignatureType, sbom, "signature of the sbom")
	cosign := ocitest.CosignSignature(g)
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g, referrers: []about{
		{signature, g.Digest, ""}, {sbom, g.Digest, ""}, {signed, sbom.Digest, ""}, {cosign, g.Digest, ocitest.CosignTag(g)},
	}}, held{name: "quay.io/x/other:1", graph: g})
	s := serve(t, server.Options{}, shelf)
	for _, tc := range []struct {
		name, path string
		want       []digest.Digest
		filtered   string
	}{
		{"of the image", "x/app/referrers/" + g.Digest.String(), sorted(signature, sbom), ""},
		{"of one type", "x/app/referrers/" + g.Digest.String() + "?artifactType=" + ocitest.SBOMType, sorted(sbom), "artifactType"},
		{"of no type", "x/app/referrers/" + g.Digest.String() + "?artifactType=x", nil, "artifactType"},
		{"of a referrer", "quay.io/x/app/referrers/" + sbom.Digest.String(), sorted(signed), ""},
		{"of a child", "x/app/referrers/" + g.Children[0].Digest.String(), nil, ""},
		{"of what is not there", "x/app/referrers/" + digest.FromString("absent").String(), nil, ""},
		{"in another repository", "x/other/referrers/" + g.Digest.String(), nil, ""},
	} {
		a := s.get(t, http.StatusOK, "/v2/"+tc.path)
		index := a.index(t)
		if got := digests(index.Manifests); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		if got := a.Header.Get("OCI-Filters-Applied"); got != tc.filtered {
			t.Errorf("%s: OCI-Filters-Applied %q", tc.name, got)
		}
		if !strings.Contains(string(a.body), `"manifests":[`) {
			t.Errorf("%s: %s", tc.name, a.body)
		}
	}
	for _, d := range s.get(t, http.StatusOK, "/v2/x/app/referrers/"+g.Digest.String()).index(t).Manifests {
		m, err := oci.ParseManifest("", s.get(t, http.StatusOK, "/v2/x/app/manifests/"+d.Digest.String()).body)
		if err != nil || d.ArtifactType != m.ArtifactType || d.ArtifactType == "" || !mapsEqual(d.Annotations, m.Annotations) || d.MediaType != m.MediaType {
			t.Errorf("%+v of %+v (%v)", d, m, err)
		}
	}
	// What cosign ties to the image by its tag is there by that.
	if a := s.get(t, http.StatusOK, "/v2/x/app/manifests/"+ocitest.CosignTag(g)); digest.FromBytes(a.body) != cosign.Digest {
		t.Errorf("cosign's tag is %s", a.body)
	}
}

func mapsEqual(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// More than fits into an index comes in pages, each once.
func TestManyReferrers(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	var list []about
	for i := range 40 {
		raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"x/y","config":%s,"layers":[],"subject":%s,"annotations":{"a":"%d%s"}}`,
			ocispec.MediaTypeImageManifest, descriptorJSON(t, ocispec.DescriptorEmptyJSON), descriptorJSON(t, g.Descriptor), i, strings.Repeat("x", 100_000))
		list = append(list, about{&ocitest.Graph{Blob: ocitest.NewBlob(ocispec.MediaTypeImageManifest, []byte(raw))}, g.Digest, ""})
	}
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g, referrers: list})
	s := serve(t, server.Options{CacheSize: 1 << 20}, shelf)
	var got []digest.Digest
	pages := 0
	for path := "/v2/x/app/referrers/" + g.Digest.String() + "?artifactType=x%2Fy"; path != ""; pages++ {
		a := s.get(t, http.StatusOK, path)
		if len(a.body) > oci.MaxManifestSize {
			t.Errorf("a page of %d bytes", len(a.body))
		}
		got = append(got, digests(a.index(t).Manifests)...)
		path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	var want []digest.Digest
	for _, r := range list {
		want = append(want, r.Digest)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) || pages < 2 {
		t.Errorf("%d referrers in %d pages, want %d", len(got), pages, len(want))
	}
}

func descriptorJSON(t *testing.T, d oci.Descriptor) string {
	t.Helper()
	raw, err := json.Marshal(oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// One that cannot be read is no reason to tell of the others only: somebody may look for just that signature.
func TestDamagedReferrer(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	signature := ocitest.Referrer(ocitest.SignatureType, g, "signature")
	shelf, memory := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g, referrers: []about{{signature, g.Digest, ""}}})
	memory.Body = wrong(signature.Digest)
	s := serve(t, server.Options{}, shelf)
	if a := s.get(t, http.StatusInternalServerError, "/v2/x/app/referrers/"+g.Digest.String()); !strings.Contains(string(a.body), signature.Digest.String()) {
		t.Errorf("%s does not name it", a.body)
	}
	s.get(t, http.StatusOK, "/v2/x/app/manifests/1")
}
