package oci

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is the JSON of a descriptor; more comes before its closing brace.
func entry(mediaType, digest string, size int, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, digest, size, more)
}

var (
	configEntry = entry(ocispec.MediaTypeImageConfig, digest256, 2, "")
	layerEntry  = entry(ocispec.MediaTypeImageLayerGzip, digest256, 3, "")
	childEntry  = entry(ocispec.MediaTypeImageManifest, digest256, 4, `,"platform":{"os":"linux","architecture":"arm64"}`)
)

func TestParseManifest(t *testing.T) {
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	for _, c := range []struct {
		name, mediaType, raw string
		wantType             string
		layers, manifests    int
	}{
		{
			name: "OCI image", mediaType: image, wantType: image, layers: 2,
			raw: `{"schemaVersion":2,"mediaType":"` + image + `","config":` + configEntry + `,"layers":[` + layerEntry + `,` + layerEntry + `]}`,
		},
		{
			name: "no media type inside", mediaType: image, wantType: image, layers: 1,
			raw: `{"schemaVersion":2,"config":` + configEntry + `,"layers":[` + layerEntry + `]}`,
		},
		{
			name: "Docker image", mediaType: MediaTypeDockerManifest, wantType: MediaTypeDockerManifest,
			raw: `{"schemaVersion":2,"mediaType":"` + MediaTypeDockerManifest + `","config":` + configEntry + `,"layers":[]}`,
		},
		{
			name: "OCI index", mediaType: index, wantType: index, manifests: 2,
			raw: `{"schemaVersion":2,"manifests":[` + childEntry + `,` + childEntry + `],"annotations":{"a":"b"}}`,
		},
		{
			name: "empty index", mediaType: index, wantType: index,
			raw: `{"schemaVersion":2,"manifests":[]}`,
		},
		{
			name: "Docker list", mediaType: MediaTypeDockerList, wantType: MediaTypeDockerList, manifests: 1,
			raw: `{"schemaVersion":2,"mediaType":"` + MediaTypeDockerList + `","manifests":[` + childEntry + `]}`,
		},
		{name: "type told by the document", wantType: MediaTypeDockerList, raw: `{"mediaType":"` + MediaTypeDockerList + `","manifests":[]}`},
		{name: "type guessed: index", wantType: index, raw: `{"schemaVersion":2,"manifests":[]}`},
		{name: "type guessed: image", wantType: image, raw: `{"schemaVersion":2,"config":` + configEntry + `}`},
		{
			name: "artifact with the empty config and no layers", mediaType: image, wantType: image,
			raw: `{"schemaVersion":2,"artifactType":"application/x","config":` +
				entry(ocispec.MediaTypeEmptyJSON, digest256, 2, `,"data":"e30="`) + `}`,
		},
		{
			name: "subject", mediaType: image, wantType: image,
			raw: `{"schemaVersion":2,"subject":` + childEntry + `,"config":` + configEntry + `,"layers":null}`,
		},
		{
			name: "foreign layer", mediaType: image, wantType: image, layers: 1,
			raw: `{"schemaVersion":2,"config":` + configEntry + `,"layers":[` +
				entry("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", digest256, 9, `,"urls":["https://x/y"]`) + `]}`,
		},
		{
			name: "sha512 and fields of tomorrow", mediaType: image, wantType: image, layers: 1,
			raw: `{"schemaVersion":2,"x":{"y":[1]},"config":` + configEntry + `,"layers":[` + entry("a/b", digest512, 0, `,"z":1`) + `]}`,
		},
		{
			name: "largest blob", mediaType: image, wantType: image, layers: 1,
			raw: `{"config":` + configEntry + `,"layers":[` + entry("a/b", digest256, MaxBlobSize, "") + `]}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParseManifest(c.mediaType, []byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != c.wantType || len(m.Layers) != c.layers || len(m.Manifests) != c.manifests {
				t.Errorf("got %+v", m)
			}
			if m.IsIndex() != (m.Config == nil) {
				t.Errorf("index %v, config %v", m.IsIndex(), m.Config)
			}
		})
	}
}

func TestParseManifestKeepsFields(t *testing.T) {
	m, err := ParseManifest("", []byte(`{"artifactType":"a/t","annotations":{"k":"v"},"subject":`+childEntry+
		`,"config":`+configEntry+`,"layers":[`+entry("l/l", digest512, 7, `,"urls":["u"],"annotations":{"t":"x"}`)+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != "a/t" || m.Annotations["k"] != "v" || m.Subject == nil || m.Subject.Platform.Architecture != "arm64" {
		t.Errorf("got %+v", m)
	}
	if l := m.Layers[0]; l.MediaType != "l/l" || l.Digest != digest512 || l.Size != 7 || l.URLs[0] != "u" || l.Annotations["t"] != "x" {
		t.Errorf("layer %+v", l)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	withLayer := func(d string) string { return `{"schemaVersion":2,"config":` + configEntry + `,"layers":[` + d + `]}` }
	for _, c := range []struct {
		name, mediaType, raw, want string
		is                         error
	}{
		{name: "nothing", mediaType: image, want: "not a JSON object"},
		{name: "no JSON", mediaType: image, raw: "<html>", want: "not a JSON object"},
		{name: "an array", mediaType: image, raw: "[]", want: "not a JSON object"},
		{name: "cut", mediaType: image, raw: `{"schemaVersion":2,"config":{`, want: "EOF"},
		{name: "cut at the end", mediaType: index, raw: `{"manifests":[]`, want: "EOF"},
		{name: "bytes after the end", mediaType: index, raw: `{"manifests":[]}{}`, want: "after top-level value"},
		{name: "schema 1 by media type", mediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", raw: `{}`, want: "schema 1", is: ErrUnsupported},
		{name: "schema 1 by version", mediaType: image, raw: `{"schemaVersion":1}`, want: "schema 1", is: ErrUnsupported},
		{name: "schema 1 by layers", mediaType: "application/json", raw: `{"fsLayers":[]}`, want: "schema 1", is: ErrUnsupported},
		{name: "schema 3", mediaType: image, raw: `{"schemaVersion":3}`, want: "schemaVersion 3", is: ErrUnsupported},
		{name: "no manifest's type", mediaType: "text/html", raw: `{}`, want: `"text/html"`, is: ErrUnsupported},
		{name: "no manifest's type inside", raw: `{"mediaType":"text/html"}`, want: `"text/html"`, is: ErrUnsupported},
		{name: "other media type inside", mediaType: image, raw: `{"mediaType":"` + index + `","manifests":[]}`, want: "media type inside"},
		{name: "manifests and layers", mediaType: index, raw: `{"manifests":[],"layers":[]}`, want: "both"},
		{name: "manifests and config", mediaType: image, raw: `{"manifests":[],"config":` + configEntry + `}`, want: "both"},
		{name: "index that is an image", mediaType: index, raw: withLayer(layerEntry), want: "index without manifests"},
		{name: "image that is an index", mediaType: image, raw: `{"manifests":[]}`, want: "that has manifests"},
		{name: "image without config", mediaType: image, raw: `{"layers":[]}`, want: "without a config"},
		{name: "key twice", mediaType: index, raw: `{"manifests":[],"manifests":[]}`, want: `key "manifests" is there twice`},
		{name: "key in another case", mediaType: index, raw: `{"manifests":[],"Manifests":[]}`, want: `key "manifests" is written "Manifests"`},
		{name: "layers in another case", mediaType: index, raw: `{"manifests":[],"layerſ":[]}`, want: `key "layers" is written`},
		{name: "layers are no array", mediaType: image, raw: `{"config":` + configEntry + `,"layers":{}}`, want: "not an array"},
		{name: "layer is no object", mediaType: image, raw: withLayer("1"), want: "layers: "},
		{name: "layer without digest", mediaType: image, raw: withLayer(`{}`), want: "entry 0: digest"},
		{name: "second layer with a path", mediaType: image, raw: withLayer(layerEntry + `,` + entry("a", "sha256:../../etc", 1, "")), want: "entry 1: digest"},
		{name: "unknown algorithm", mediaType: image, raw: withLayer(entry("a", "sha1:"+hex256[:40], 1, "")), want: "sha256 or sha512"},
		{name: "size below zero", mediaType: image, raw: withLayer(entry("a", digest256, -1, "")), want: "size -1"},
		{name: "size beyond reason", mediaType: image, raw: withLayer(entry("a", digest256, MaxBlobSize+1, "")), want: "is not between"},
		{name: "size of too many digits", mediaType: image, raw: withLayer(`{"digest":"` + digest256 + `","size":1e30}`), want: "layers: "},
		{name: "config without digest", mediaType: image, raw: `{"config":{}}`, want: "digest"},
		{name: "subject without digest", mediaType: index, raw: `{"manifests":[],"subject":{}}`, want: "digest"},
		{name: "too large", mediaType: image, raw: strings.Repeat(" ", MaxManifestSize+1), want: "4194305 bytes"},
		{name: "deep", mediaType: image, raw: `{"x":` + strings.Repeat("[", MaxManifestSize/2), want: "depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParseManifest(c.mediaType, []byte(c.raw))
			if err == nil {
				t.Fatalf("got %+v, want an error", m)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %q is not %q", err, c.is)
			}
		})
	}
}

func TestIsManifest(t *testing.T) {
	for mediaType, want := range map[string][2]bool{
		ocispec.MediaTypeImageManifest: {true, false},
		ocispec.MediaTypeImageIndex:    {true, true},
		MediaTypeDockerManifest:        {true, false},
		MediaTypeDockerList:            {true, true},
		MediaTypeDockerConfig:          {false, false},
		"":                             {false, false},
		"application/vnd.docker.distribution.manifest.v1+json": {false, false},
	} {
		if got := [2]bool{IsManifest(mediaType), IsIndex(mediaType)}; got != want {
			t.Errorf("%q: manifest, index = %v, want %v", mediaType, got, want)
		}
	}
}

func FuzzParseManifestNeverPanics(f *testing.F) {
	f.Add("", []byte(`{"schemaVersion":2,"config":`+configEntry+`,"layers":[`+layerEntry+`]}`))
	f.Add(ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[`+childEntry+`]}`))
	f.Add(MediaTypeDockerList, []byte(`{"manifests":null,"subject":`+childEntry+`}`))
	f.Add(MediaTypeDockerManifest, []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	f.Fuzz(func(t *testing.T, mediaType string, raw []byte) {
		m, err := ParseManifest(mediaType, raw)
		if err != nil {
			return
		}
		if !IsManifest(m.MediaType) || mediaType != "" && m.MediaType != mediaType {
			t.Fatalf("media type %q became %q", mediaType, m.MediaType)
		}
		if m.IsIndex() != (m.Config == nil) || m.IsIndex() && m.Layers != nil || !m.IsIndex() && m.Manifests != nil {
			t.Fatalf("neither index nor image: %+v", m)
		}
		for _, d := range append(m.Layers, m.Manifests...) {
			if d.Digest.Validate() != nil || d.Size < 0 || d.Size > MaxBlobSize {
				t.Fatalf("descriptor %+v", d)
			}
		}
	})
}
