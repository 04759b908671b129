package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// signed is an image with a cosign signature of the whole, an SBOM of its first manifest and a signature of that SBOM.
type signed struct {
	image  corpus.Image
	cosign digest.Digest
	about  map[digest.Digest]digest.Digest // subjects, and what is about them
}

// fallbackTag returns the tag of the index of what is about a manifest.
func fallbackTag(d digest.Digest) string { return "sha256-" + d.Encoded() }

// sign puts an image of the story into a registry, with what belongs to it, as clients do where there is no referrers API.
func (w *world) sign(at wire.Registry, image corpus.Image) signed {
	w.Helper()
	if err := w.layout.Push(w.Context(), at, []corpus.Image{image}); err != nil {
		w.Fatal(err)
	}
	_, raw, err := at.Manifest(w.Context(), image.Repository, image.Tag)
	if err != nil {
		w.Fatal(err)
	}
	children, _, err := wire.Children(raw)
	if err != nil {
		w.Fatal(err)
	}
	s := signed{image: image, about: map[digest.Digest]digest.Digest{}}
	s.cosign = w.artifact(at, image, "signature", fallbackTag(image.Root.Digest)+".sig").Digest
	subject := image
	subject.Root = children[0]
	for _, text := range []string{"sbom", "signature-of-the-sbom"} {
		d := w.artifact(at, subject, text, "")
		w.push(at, image.Repository, fallbackTag(subject.Root.Digest), ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d},
		})
		s.about[subject.Root.Digest] = d.Digest
		subject.Root = d
	}
	return s
}

// check returns what is missing in a repository of all that belongs to the image, or cannot be found there.
func (s signed) check(registry http.Handler, repository string) error {
	get := func(reference string) []byte {
		req := httptest.NewRequest(http.MethodGet, "/v2/"+repository+"/manifests/"+reference, nil)
		req.Header["Accept"] = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest}
		answer := httptest.NewRecorder()
		registry.ServeHTTP(answer, req)
		if answer.Code != http.StatusOK {
			return nil
		}
		return answer.Body.Bytes()
	}
	if d := digest.FromBytes(get(fallbackTag(s.image.Root.Digest) + ".sig")); d != s.cosign {
		return fmt.Errorf("cosign's tag names %s, want %s", d, s.cosign)
	}
	for subject, want := range s.about {
		if index := get(fallbackTag(subject)); !bytes.Contains(index, []byte(want)) {
			return fmt.Errorf("%s is not listed about %s: %s", want, subject, index)
		}
		if digest.FromBytes(get(want.String())) != want {
			return fmt.Errorf("%s is not there", want)
		}
	}
	return nil
}

// guard notes when an image gets its tag before all that belongs to it is in the repository.
type guard struct {
	signed
	mu    sync.Mutex
	set   int // tags that were set
	early []error
}

func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, tag, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if r.Method == http.MethodPut && tag == g.image.Tag {
			err := g.check(next, path)
			g.mu.Lock()
			g.set++
			if err != nil {
				g.early = append(g.early, err)
			}
			g.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// At each moment a tag is visible, all that belongs to its image is there and found, what belongs to that included; and a
// second run writes nothing.
func TestReferrersPrecedeTheTag(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"unpack", "copy"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution.Options{}, distribution.Options{})
			source := startRegistry(t, distribution.Options{})
			g := &guard{signed: w.sign(wire.Registry{URL: source.URL()}, w.named("library/tools"))}
			target := startRegistry(t, distribution.Options{Wrap: g.wrap})
			w.write("images.list", g.image.Reference(source.Host())+"\n")
			deliver := []string{"copy", "-f", "images.list", target.Host() + "/" + prefix}
			if command == "unpack" {
				w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
				w.ok("verify", "k8s.tar.zst")
				deliver = []string{"unpack", "k8s.tar.zst", target.Host() + "/" + prefix}
			}
			w.expect(0, w.ferry(deliver...), "referrers: 3 ")
			if len(g.early) > 0 || g.set != 1 {
				t.Errorf("the tag was set %d times, too early: %v", g.set, g.early)
			}
			target.Reset()
			w.ok(deliver...)
			for request, n := range target.Counts().Requests {
				if method, _, _ := strings.Cut(request, " "); method != "HEAD" && method != "GET" {
					t.Errorf("second run: %d times %s", n, request)
				}
			}
		})
	}
}
