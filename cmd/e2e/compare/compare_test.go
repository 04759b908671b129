package compare_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// startWith runs a registry that holds one index of two manifests, as app:1.
func startWith(t *testing.T, l corpus.Layout, images []corpus.Image, wrap func(http.Handler) http.Handler) compare.End {
	t.Helper()
	s, err := distribution.Start(t.Context(), distribution.Options{Wrap: wrap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := wire.Registry{URL: s.URL()}
	if err := l.Push(t.Context(), r, images); err != nil {
		t.Fatal(err)
	}
	return compare.End{Registry: r, Repository: "app", Reference: "1"}
}

// build makes an image app:1 with a layer of the given text.
func build(t *testing.T, text string) (corpus.Layout, []corpus.Image) {
	t.Helper()
	l, err := corpus.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := l.Layer("text", corpus.File{Name: "text", Mode: 0o644, Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	var manifests []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		d, err := l.Image(corpus.OCI, ocispec.Platform{OS: "linux", Architecture: arch}, []corpus.Layer{layer})
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, d)
	}
	root, err := l.Index(corpus.OCI, manifests...)
	if err != nil {
		t.Fatal(err)
	}
	return l, []corpus.Image{{Repository: "app", Tag: "1", Root: root}}
}

func TestEqual(t *testing.T) {
	l, images := build(t, "one")
	from, to := startWith(t, l, images, nil), startWith(t, l, images, nil)
	got, err := compare.Image(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if got.Manifests != 2 || got.Blobs != 3 || strings.Join(got.Platforms, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("compared %+v, want 2 manifests with 3 blobs", got)
	}
	if got.Root.Digest != images[0].Root.Digest {
		t.Errorf("root %s, want %s", got.Root.Digest, images[0].Root.Digest)
	}
	if extra, err := compare.Extra(t.Context(), to.Registry, nil); err != nil || len(extra) != 1 {
		t.Errorf("extra repositories %v, %v; want app", extra, err)
	}
}

// altered answers GETs of a path that holds part with what alter makes of the body.
func altered(part string, alter func([]byte) []byte) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, part) {
				next.ServeHTTP(w, r)
				return
			}
			rec := &recorder{ResponseWriter: w}
			next.ServeHTTP(rec, r)
			w.Header().Del("Content-Length")
			_, _ = w.Write(alter(rec.body.Bytes()))
		})
	}
}

// recorder keeps a body back.
type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error)            { return r.body.Write(p) }
func (r *recorder) ReadFrom(from io.Reader) (int64, error) { return r.body.ReadFrom(from) }
func (r *recorder) WriteHeader(int)                        {}

func TestDifferences(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	for _, test := range []struct {
		name string
		text string // of the image at the target
		wrap func(http.Handler) http.Handler
		want string
	}{
		{"another image", "two", nil, "manifest 1: target has sha256:"},
		{"bit of a blob flipped", "one", altered("/app/blobs/", flip), "content with digest"},
		{"blob cut", "one", altered("/app/blobs/", cut), "bytes, want"},
		{"manifest cut", "one", altered("/app/manifests/", cut), "target has sha256:"},
		{"blobs gone", "one", altered("/app/blobs/", func([]byte) []byte { panic(http.ErrAbortHandler) }), "target: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, images := build(t, "one")
			from := startWith(t, l, images, nil)
			l, images = build(t, test.text)
			to := startWith(t, l, images, test.wrap)
			if _, err := compare.Image(t.Context(), from, to); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	l, images := build(t, "one")
	from := startWith(t, l, images, nil)
	to := from
	to.Repository = "nothing"
	if _, err := compare.Image(t.Context(), from, to); !errors.Is(err, wire.ErrNotFound) {
		t.Errorf("image that is not there: %v", err)
	}
}
