package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// What a bundle has is served as it was at its source, whatever form the bundle has, under all names, to many at once.
func TestServe(t *testing.T) {
	for _, bundle := range []struct {
		name    string
		flags   []string
		clients int // at once, each of which pulls everything
	}{
		{"k8s.tar.zst", nil, 6},
		{"k8s.tar.xz", nil, 2},
		{"k8s.tar", nil, 6},
		{"compact.tar.zst", []string{"--compact", "--level", "fastest"}, rounds(2, 6)}, // each layer is made again for each
	} {
		t.Run(bundle.name, func(t *testing.T) {
			t.Parallel()
			w := newServedWorld(t)
			w.pack(bundle.name, bundle.flags...)
			s := w.serve(bundle.name)
			group, _ := errgroup.WithContext(t.Context())
			for i := range bundle.clients {
				group.Go(func() error { return w.isServed(s, []string{"", servedHost + "/"}[i%2]) })
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			w.mirrored(s)
		})
	}
}

// isServed compares all images with those of the source, under their paths with a prefix.
func (w *servedWorld) isServed(s *served, prefix string) error {
	for _, image := range w.images {
		if err := w.imageIsServed(s, prefix, image); err != nil {
			return fmt.Errorf("%s%s: %w", prefix, image.Repository, err)
		}
	}
	return nil
}

func (w *servedWorld) imageIsServed(s *served, prefix string, image corpus.Image) error {
	reference := image.Tag
	if image.Pinned {
		reference = image.Root.Digest.String()
	}
	_, err := compare.Image(w.Context(),
		compare.End{Registry: wire.Registry{URL: w.source.URL()}, Repository: image.Repository, Reference: reference},
		compare.End{Registry: wire.Registry{URL: s.url}, Repository: prefix + image.Repository, Reference: reference})
	return err
}

// mirrored asks as containerd asks a mirror: for the registry that is meant, and for another one.
func (w *servedWorld) mirrored(s *served) {
	w.Helper()
	for host, want := range map[string]int{servedHost: http.StatusOK, "other.invalid": http.StatusNotFound} {
		for _, image := range w.images {
			at := fmt.Sprintf("%s/v2/%s/manifests/%s?ns=%s", s.url, image.Repository, image.Root.Digest, url.QueryEscape(host))
			resp, err := http.Head(at)
			if err != nil {
				w.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				w.Errorf("HEAD %s: status %d, want %d", at, resp.StatusCode, want)
			}
		}
	}
}
