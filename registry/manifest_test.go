package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// testManifest returns a manifest that refers to the blobs, the first of which is its config.
func testManifest(t *testing.T, blobs ...oci.Descriptor) (oci.Descriptor, []byte) {
	t.Helper()
	return encode(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: blobs[0], Layers: blobs[1:],
	})
}

func testIndex(t *testing.T, children ...oci.Descriptor) (oci.Descriptor, []byte) {
	t.Helper()
	return encode(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

func encode(t *testing.T, mediaType string, v any) (oci.Descriptor, []byte) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw
}

func sameDescriptor(a, b oci.Descriptor) bool {
	return a.MediaType == b.MediaType && a.Digest == b.Digest && a.Size == b.Size
}

func TestResolve(t *testing.T) {
	_, config := content(10)
	want, raw := testManifest(t, config)
	schema1 := []byte(`{"schemaVersion":1,"name":"x"}`)
	huge := bytes.Repeat([]byte(" "), oci.MaxManifestSize+1)
	manifest := registrytest.Match{Kind: registrytest.Manifest}
	head := registrytest.Match{Kind: registrytest.Manifest, Method: "HEAD"}
	get := registrytest.Match{Kind: registrytest.Manifest, Method: "GET"}
	for name, test := range map[string]struct {
		o      registrytest.Options
		raw    []byte // raw when nil
		stored string // media type; that of want when empty
		ref    string // v1 when empty
		match  registrytest.Match
		fault  registrytest.Fault
		is     error
		says   string
		counts map[string]int
	}{
		"tag":        {counts: map[string]int{"HEAD manifest": 1, "": 1}},
		"digest":     {ref: want.Digest.String(), counts: map[string]int{"HEAD manifest": 1, "": 1}},
		"parameters": {stored: want.MediaType + "; charset=utf-8", counts: map[string]int{"": 1}},
		"no digest header": {
			o:      registrytest.Options{NoDigestHeader: true},
			counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1, "": 2},
		},
		"digest without header": {
			o: registrytest.Options{NoDigestHeader: true}, ref: want.Digest.String(), counts: map[string]int{"HEAD manifest": 1, "": 1},
		},
		"HEAD not known": {
			o: registrytest.Options{NoHead: true}, counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1},
		},
		"HEAD says it is absent": {
			match: head, fault: registrytest.Status(404, ""),
			counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1},
		},
		"HEAD without length": {
			match: head, fault: registrytest.Header("Content-Length", ""), counts: map[string]int{"GET manifest": 1},
		},
		"type of no manifest": {
			stored: "application/json", counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1},
		},
		"no type": {stored: " ", counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1}},
		"the registry lies about the digest of a digest": {
			ref: want.Digest.String(), match: manifest,
			fault: registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)),
		},
		"absent": {
			ref: "v2", is: oci.ErrNotFound, says: "MANIFEST_UNKNOWN",
			counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1},
		},
		"denied": {
			match: manifest, fault: registrytest.Code(403, "DENIED", "not for you"), is: oci.ErrDenied, says: "not for you",
			counts: map[string]int{"HEAD manifest": 1, "GET manifest": 1},
		},
		"schema 1": {
			raw: schema1, stored: "application/vnd.docker.distribution.manifest.v1+prettyjws", is: oci.ErrUnsupported,
			says: "schema 1",
		},
		"no image": {
			raw: []byte(`{"mediaType":"application/x"}`), stored: "application/x", is: oci.ErrUnsupported,
			says: "application/x",
		},
		"no JSON": {raw: []byte(`<html>`), stored: "text/html", is: oci.ErrUnsupported, says: "text/html"},
		"huge":    {raw: huge, is: oci.ErrUnsupported, says: "4194305 bytes"},
		"huge without length": {
			raw: huge, match: head, fault: registrytest.Header("Content-Length", ""), is: oci.ErrUnsupported,
			counts: map[string]int{"GET manifest": 1},
		},
		"other bytes than the digest says": {
			o: registrytest.Options{NoHead: true}, ref: want.Digest.String(), match: get, fault: registrytest.Corrupt(), is: oci.ErrCorrupt,
		},
		"other bytes than the header says": {
			o: registrytest.Options{NoHead: true}, match: get, fault: registrytest.Corrupt(), is: oci.ErrCorrupt,
		},
		"malformed digest": {ref: "sha256:xyz", is: digest.ErrDigestInvalidLength, counts: map[string]int{"": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			if test.raw == nil {
				test.raw = raw
			}
			if test.stored == "" {
				test.stored = want.MediaType
			}
			srv.Tag("a/b", "v1", srv.AddManifest("a/b", test.stored, test.raw).Digest)
			if test.fault != nil {
				srv.Fault(test.match, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{})
			ref := oci.Reference{Repository: repoOf(srv, "a/b"), Tag: "v1"}
			if strings.Contains(test.ref, ":") {
				ref.Digest = digest.Digest(test.ref)
			} else if test.ref != "" {
				ref.Tag = test.ref
			}
			got, err := c.Resolve(context.Background(), ref)
			checkErr(t, err, test.is, test.says)
			if err == nil && !sameDescriptor(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			checkCounts(t, srv, test.counts)
		})
	}
}

// A registry that is offered schema 1 may convert to it.
func TestResolveAsksForNoSchema1(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	var accept []string
	srv.Fault(registrytest.Match{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			accept = append(accept, r.Header.Values("Accept")...)
			next.ServeHTTP(w, r)
		})
	})
	c, _ := newTestClient(t, srv, Options{})
	_, err := c.Resolve(context.Background(), oci.Reference{Repository: repoOf(srv, "a"), Tag: "v1"})
	checkErr(t, err, oci.ErrNotFound)
	if len(accept) != 2 {
		t.Fatalf("%d requests, want 2", len(accept))
	}
	for _, list := range accept {
		for mediaType := range strings.SplitSeq(list, ", ") {
			if !oci.IsManifest(mediaType) {
				t.Errorf("accepts %q", mediaType)
			}
		}
	}
}

func TestPushManifestsAndTag(t *testing.T) {
	configRaw, config := content(10)
	layerRaw, layer := content(20)
	image, imageRaw := testManifest(t, config, layer)
	index, indexRaw := testIndex(t, image)
	srv := registrytest.New(t, registrytest.Options{})
	c, _ := newTestClient(t, srv, Options{})
	ctx, to := context.Background(), repoOf(srv, "a/b")
	push := func(d oci.Descriptor, raw []byte) error { return c.Push(ctx, to, d, (&opener{raw: raw}).Open) }

	var status *Error
	err := push(index, indexRaw)
	if !errors.As(err, &status) || status.Code != codeManifestBlobUnknown || status.Status != http.StatusBadRequest {
		t.Errorf("index before its child: got error %v", err)
	}
	checkErr(t, push(config, configRaw), nil)
	checkErr(t, push(layer, layerRaw), nil)
	checkErr(t, push(image, imageRaw), nil)
	checkErr(t, push(index, append(indexRaw, ' ')), oci.ErrCorrupt)
	srv.Fault(registrytest.Match{Method: "PUT", Kind: registrytest.Manifest, Times: 2}, registrytest.Status(502, ""))
	checkErr(t, push(index, indexRaw), nil)
	srv.Fault(registrytest.Match{Method: "PUT", Kind: registrytest.Manifest, Times: 1}, registrytest.TooManyRequests(1))

	_, err = c.Tagged(ctx, to, "v1")
	checkErr(t, err, oci.ErrNotFound)
	checkErr(t, c.Tag(ctx, to, "v1", index, append(indexRaw, ' ')), oci.ErrCorrupt)
	checkErr(t, c.Tag(ctx, to, "v1", index, indexRaw), nil)
	got, err := c.Tagged(ctx, to, "v1")
	if err != nil || !sameDescriptor(got, index) {
		t.Errorf("tagged %v and error %v, want %v", got, err, index)
	}
	for _, d := range []oci.Descriptor{image, index} {
		if has, err := c.Has(ctx, to, d); err != nil || !has {
			t.Errorf("has %s: got %v and error %v", d.MediaType, has, err)
		}
	}
	stored, raw, _ := srv.Manifest("a/b", "v1")
	if !sameDescriptor(stored, index) || !bytes.Equal(raw, indexRaw) {
		t.Errorf("the registry has %v %q", stored, raw)
	}
	checkCounts(t, srv, map[string]int{"PUT manifest": 7, "HEAD manifest": 4, "GET manifest": 0})
}

func TestTagImmutable(t *testing.T) {
	_, config := content(10)
	image, raw := testManifest(t, config)
	srv := registrytest.New(t, registrytest.Options{ImmutableTags: true, Sparse: true})
	c, _ := newTestClient(t, srv, Options{})
	ctx, to := context.Background(), repoOf(srv, "a/b")
	checkErr(t, c.Tag(ctx, to, "v1", image, raw), nil)
	err := c.Tag(ctx, to, "v1", image, raw)
	var status *Error
	if !errors.As(err, &status) || status.Status != http.StatusPreconditionFailed || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("got error %v", err)
	}
	checkCounts(t, srv, map[string]int{"PUT manifest": 2})
}

func TestTagStoredAsSomethingElse(t *testing.T) {
	_, config := content(10)
	image, raw := testManifest(t, config)
	for header, want := range map[string]error{
		"sha256:" + strings.Repeat("0", 64):  oci.ErrCorrupt,
		"sha512:" + strings.Repeat("0", 128): nil, // of the same bytes, for all we know
		"nonsense":                           nil,
		"":                                   nil,
	} {
		srv := registrytest.New(t, registrytest.Options{Sparse: true})
		srv.Fault(registrytest.Match{}, registrytest.Header("Docker-Content-Digest", header))
		c, _ := newTestClient(t, srv, Options{})
		checkErr(t, c.Tag(context.Background(), repoOf(srv, "a/b"), "v1", image, raw), want)
	}
}
