package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// belonging is what belongs to a test image in the scripts: a cosign signature and a signature by subject of the whole,
// an SBOM of its first platform, and a signature of that SBOM.
type belonging struct{ cosign, signature, sbom, sbomSig *ocitest.Graph }

func belongingTo(image *ocitest.Graph) belonging {
	b := belonging{cosign: ocitest.CosignSignature(image)}
	b.signature = ocitest.Referrer(ocitest.SignatureType, image, "signature of "+image.Digest.String())
	b.sbom = ocitest.Referrer(ocitest.SBOMType, image.Children[0], "sbom of "+image.Children[0].Digest.String())
	b.sbomSig = ocitest.Referrer(ocitest.SignatureType, b.sbom, "signature of "+b.sbom.Digest.String())
	return b
}

// subjects returns those that are found by their subject, with it.
func (b belonging) subjects(image *ocitest.Graph) map[*ocitest.Graph]digest.Digest {
	return map[*ocitest.Graph]digest.Digest{
		b.signature: image.Digest, b.sbom: image.Children[0].Digest, b.sbomSig: b.sbom.Digest,
	}
}

// sign REGISTRY REPOSITORY IMAGE puts what belongs to the image into the repository.
func (s *story) sign(_ *testscript.TestScript, args []string) error {
	r, repo, image := s.registries[args[0]], args[1], testImages[args[2]].graph()
	b := belongingTo(image)
	putGraph(r, repo, ocitest.CosignTag(image), b.cosign)
	for g, subject := range b.subjects(image) {
		putGraph(r, repo, "", g)
		if r.Referrers(repo, subject) == nil {
			return fmt.Errorf("%s is not about %s", g.Digest, subject)
		}
		raw, err := json.Marshal(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []oci.Descriptor{g.Descriptor},
		})
		if err != nil {
			return err
		}
		index := r.AddManifest(repo, ocispec.MediaTypeImageIndex, raw)
		r.Tag(repo, oci.FallbackTag(subject), index.Digest)
	}
	return nil
}

func putGraph(r *registrytest.Server, repo, tag string, g *ocitest.Graph) {
	for _, b := range g.All() {
		if oci.IsManifest(b.MediaType) {
			r.AddManifest(repo, b.MediaType, b.Bytes)
		} else {
			r.AddBlob(repo, b.Bytes)
		}
	}
	if tag != "" {
		r.Tag(repo, tag, g.Digest)
	}
}

// signed REGISTRY REPOSITORY IMAGE [api] [sbom] proves that all that belongs to the image is in the repository, byte for
// byte, and can be found: by cosign's tag, and by the API, else by the fallback tag. With `sbom` that is the SBOM and its
// signature alone.
func (s *story) signed(_ *testscript.TestScript, args []string) error {
	r, repo, image := s.registries[args[0]], args[1], testImages[args[2]].graph()
	b := belongingTo(image)
	sbomAlone := slices.Contains(args[3:], "sbom")
	if d, _, ok := r.Manifest(repo, ocitest.CosignTag(image)); ok == sbomAlone || ok && d.Digest != b.cosign.Digest {
		return fmt.Errorf("the cosign tag names %q", d.Digest)
	}
	for g, subject := range b.subjects(image) {
		if sbomAlone && g == b.signature {
			if len(r.Referrers(repo, subject)) > 0 {
				return fmt.Errorf("%s is there", g.Digest)
			}
			continue
		}
		for _, part := range g.All() {
			raw, ok := r.Blob(repo, part.Digest)
			if !ok {
				_, raw, ok = r.Manifest(repo, part.Digest.String())
			}
			if !ok || !bytes.Equal(raw, part.Bytes) {
				return fmt.Errorf("%s does not have %s", repo, part.Digest)
			}
		}
		_, raw, fallback := r.Manifest(repo, oci.FallbackTag(subject))
		if slices.Contains(args[3:], "api") {
			if fallback {
				return fmt.Errorf("the registry has the API, and the fallback tag of %s was written", subject)
			}
		} else if !bytes.Contains(raw, []byte(g.Digest)) {
			return fmt.Errorf("the fallback index of %s does not list %s", subject, g.Digest)
		}
	}
	return nil
}
