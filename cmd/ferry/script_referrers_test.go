package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

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
	return checkSigned(s.registries[args[0]], args[1], testImages[args[2]].graph(), args[3:]...)
}

func checkSigned(r *registrytest.Server, repo string, image *ocitest.Graph, words ...string) error {
	b := belongingTo(image)
	sbomAlone := slices.Contains(words, "sbom")
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
		if slices.Contains(words, "api") {
			if fallback {
				return fmt.Errorf("the registry has the API, and the fallback tag of %s was written", subject)
			}
		} else if !bytes.Contains(raw, []byte(g.Digest)) {
			return fmt.Errorf("the fallback index of %s does not list %s", subject, g.Digest)
		}
	}
	return nil
}

// retag REGISTRY REPOSITORY IMAGE OTHER makes the cosign tag of OTHER name IMAGE.
func (s *story) retag(_ *testscript.TestScript, args []string) error {
	image, other := testImages[args[2]].graph(), testImages[args[3]].graph()
	s.registries[args[0]].Tag(args[1], ocitest.CosignTag(other), image.Digest)
	return nil
}

// watch REGISTRY IMAGE TAG [api] makes the registry refuse to give any manifest that tag while not all that belongs to
// the image is in the repository and can be found.
func (s *story) watch(_ *testscript.TestScript, args []string) error {
	r, image := s.registries[args[0]], testImages[args[1]].graph()
	r.Fault(registrytest.Match{Method: "PUT", Kind: registrytest.Manifest, Ref: args[2]}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			repo, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
			if err := checkSigned(r, repo, image, args[3:]...); err != nil {
				http.Error(w, "the tag comes too early: "+err.Error(), http.StatusTeapot)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	return nil
}

// unlist REGISTRY REPOSITORY IMAGE takes the fallback index of the image out of a registry.
func (s *story) unlist(_ *testscript.TestScript, args []string) error {
	r, tag := s.registries[args[0]], oci.FallbackTag(testImages[args[2]].graph().Digest)
	d, _, ok := r.Manifest(args[1], tag)
	if !ok {
		return fmt.Errorf("%s has no tag %s", args[1], tag)
	}
	r.Remove(args[1], d.Digest)
	return nil
}
