package main

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// Artifacts that are no images, and images that are written as few are. They are added to testImages.
func init() {
	for name, graph := range map[string]func() *ocitest.Graph{
		"chart": chart,
		"artifact": func() *ocitest.Graph {
			return ocitest.Artifact("application/vnd.example.policy.v1", nil, ocitest.NewBlob("text/x-rego", []byte("package a\n")))
		},
		"bundled":       bundled,
		"untyped":       func() *ocitest.Graph { return odd("", "", ocitest.NewBlob(ocispec.MediaTypeImageConfig, []byte(`{}`))) },
		"untyped-index": untypedIndex,
		"inline":        inline,
		"no-layers":     func() *ocitest.Graph { return odd(`,"layers":[]`, ocispec.MediaTypeImageManifest, emptyConfig()) },
		"null-layers":   func() *ocitest.Graph { return odd(`,"layers":null`, ocispec.MediaTypeImageManifest, emptyConfig()) },
		"without-layers": func() *ocitest.Graph {
			return odd(`,"artifactType":"application/vnd.example.mark"`, ocispec.MediaTypeImageManifest, emptyConfig())
		},
		"windows":  func() *ocitest.Graph { return windowsImage("https://mcr.invalid") },
		"ordinary": func() *ocitest.Graph { return windowsImage("") },
		"empty-blob": func() *ocitest.Graph {
			empty := ocitest.NewBlob("application/vnd.example.nothing", nil)
			return odd(`,"layers":[`+descriptor(empty, "")+`]`, ocispec.MediaTypeImageManifest, emptyConfig(), empty)
		},
	} {
		testImages[name] = newTestImage("docker.io/library/"+name+":1", graph)
	}
}

func emptyConfig() ocitest.Blob { return ocitest.NewBlob(ocispec.MediaTypeEmptyJSON, []byte(`{}`)) }

// descriptor returns the JSON of a blob's descriptor, with more fields.
func descriptor(b ocitest.Blob, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, b.MediaType, b.Digest, b.Size, more)
}

// odd returns an image manifest with the fields in more. Its media type is inside only when one is given.
func odd(more, mediaType string, config ocitest.Blob, blobs ...ocitest.Blob) *ocitest.Graph {
	inside := ""
	if mediaType != "" {
		inside = fmt.Sprintf(`,"mediaType":%q`, mediaType)
	}
	raw := `{"schemaVersion":2` + inside + `,"config":` + descriptor(config, "") + more + `}`
	return &ocitest.Graph{
		Blob: ocitest.NewBlob(ocispec.MediaTypeImageManifest, []byte(raw)), Blobs: append([]ocitest.Blob{config}, blobs...),
	}
}

// chart returns a Helm chart with its provenance.
func chart() *ocitest.Graph {
	config := ocitest.NewBlob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"web","version":"1.2.3","apiVersion":"v2"}`))
	content := ocitest.Layer(map[string]string{"web/Chart.yaml": "name: web\nversion: 1.2.3\n"})
	content.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	proof := ocitest.NewBlob("application/vnd.cncf.helm.chart.provenance.v1.prov", []byte("-----BEGIN PGP SIGNED MESSAGE-----\n"))
	layers := `,"layers":[` + descriptor(content, "") + "," + descriptor(proof, "") + `]`
	return odd(layers, ocispec.MediaTypeImageManifest, config, content, proof)
}

// inline returns an artifact whose descriptors hold their content, too.
func inline() *ocitest.Graph {
	text := ocitest.NewBlob("text/plain", []byte("hi"))
	return odd(`,"layers":[`+descriptor(text, `,"data":"aGk="`)+`]`, ocispec.MediaTypeImageManifest, emptyConfig(), text)
}

// bundled returns an index of artifacts that tell no platform.
func bundled() *ocitest.Graph {
	g := ocitest.Index(
		ocitest.Artifact("application/vnd.example.a", nil, ocitest.NewBlob("text/plain", []byte("a"))),
		ocitest.Artifact("application/vnd.example.b", nil, ocitest.NewBlob("text/plain", []byte("b"))),
	)
	return g
}

// untypedIndex returns an index without a media type of a manifest without one.
func untypedIndex() *ocitest.Graph {
	child := testImages["untyped"].graph()
	raw := `{"schemaVersion":2,"manifests":[` + descriptor(child.Blob, `,"platform":{"os":"linux","architecture":"amd64"}`) + `]}`
	return &ocitest.Graph{Blob: ocitest.NewBlob(ocispec.MediaTypeImageIndex, []byte(raw)), Children: []*ocitest.Graph{child}}
}

// windowsImage returns an index of an image with a layer as those of Windows' base images are, which is to be had from the
// server, too; or what it is when that is rewritten, without a server.
func windowsImage(server string) *ocitest.Graph {
	base, own := ocitest.RandomLayer(95, 3000), ocitest.RandomLayer(96, 300)
	own.MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	layer := fmt.Sprintf(`{"digest":%q,"mediaType":%q,"size":%d}`, base.Digest, own.MediaType, base.Size)
	if server != "" {
		base.MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		layer = descriptor(base, `,"urls":["`+server+`/v2/elsewhere/blobs/`+base.Digest.String()+`"]`)
	}
	config := ocitest.NewBlob(oci.MediaTypeDockerConfig, []byte(`{"os":"windows","architecture":"amd64"}`))
	raw := fmt.Sprintf(`{"config":%s,"layers":[%s,%s],"mediaType":%q,"schemaVersion":2}`,
		descriptor(config, ""), layer, descriptor(own, ""), oci.MediaTypeDockerManifest)
	image := &ocitest.Graph{Blob: ocitest.NewBlob(oci.MediaTypeDockerManifest, []byte(raw)), Blobs: []ocitest.Blob{config, base, own}}
	entry := fmt.Sprintf(`{"digest":%q,"mediaType":%q,"platform":{"os":"windows","architecture":"amd64"},"size":%d}`,
		image.Digest, image.MediaType, image.Size)
	raw = fmt.Sprintf(`{"manifests":[%s],"mediaType":%q,"schemaVersion":2}`, entry, oci.MediaTypeDockerList)
	return &ocitest.Graph{Blob: ocitest.NewBlob(oci.MediaTypeDockerList, []byte(raw)), Children: []*ocitest.Graph{image}}
}

// put-windows REGISTRY REPOSITORY:TAG puts an image of Windows into a registry that lacks its base layer, which is to be had
// from another server.
func (s *story) putWindows(_ *testscript.TestScript, args []string) error {
	r := s.registries[args[0]]
	repo, tag, _ := strings.Cut(args[1], ":")
	g := windowsImage("http://" + r.StorageHost())
	putGraph(r, repo, tag, g)
	base := g.Children[0].Blobs[1]
	r.Remove(repo, base.Digest)
	r.AddBlob("elsewhere", base.Bytes)
	return nil
}

// put-old REGISTRY REPOSITORY:TAG schema1|sha512 puts an image into a registry that ferry does not carry.
func (s *story) putOld(_ *testscript.TestScript, args []string) error {
	r := s.registries[args[0]]
	repo, tag, _ := strings.Cut(args[1], ":")
	mediaType, raw := "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"name":"old","fsLayers":[]}`
	if args[2] == "sha512" {
		layer := []byte("a layer")
		mediaType = ocispec.MediaTypeImageManifest
		raw = `{"schemaVersion":2,"mediaType":"` + mediaType + `","config":` + descriptor(emptyConfig(), "") + `,"layers":[` +
			fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, "text/plain", digest.SHA512.FromBytes(layer), len(layer)) + `]}`
	}
	r.Tag(repo, tag, r.AddManifest(repo, mediaType, []byte(raw)).Digest)
	return nil
}
