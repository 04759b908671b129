package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/server"
)

func TestRanges(t *testing.T) {
	g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 200_000))
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
	s := serve(t, server.Options{}, shelf)
	layer := g.Blobs[1]
	size, etag := layer.Size, `"`+layer.Digest.String()+`"`
	for _, tc := range []struct {
		name, rng, ifRange string
		status             int
		from, to           int64 // of the content that is to come
	}{
		{"the first byte", "bytes=0-0", "", 206, 0, 1},
		{"some in the middle", "bytes=1000-99999", "", 206, 1000, 100_000},
		{"to the end", "bytes=1000-", "", 206, 1000, size},
		{"all", "bytes=0-", "", 206, 0, size},
		{"beyond the end", "bytes=1000-999999999", "", 206, 1000, size},
		{"number too large", "bytes=1000-99999999999999999999999", "", 206, 1000, size},
		{"the last bytes", "bytes=-100", "", 206, size - 100, size},
		{"more last bytes than there are", "bytes=-999999999", "", 206, 0, size},
		{"if it is this", "bytes=1000-", etag, 206, 1000, size},
		{"if it is another", "bytes=1000-", `"sha256:12"`, 200, 0, size},
		{"if it is weakly this", "bytes=1000-", "W/" + etag, 200, 0, size},
		{"from behind the end", fmt.Sprintf("bytes=%d-", size), "", 416, 0, 0},
		{"no last bytes", "bytes=-0", "", 416, 0, 0},
		{"end before begin", "bytes=9-8", "", 200, 0, size},
		{"two ranges", "bytes=0-1,5-6", "", 200, 0, size},
		{"another unit", "lines=0-1", "", 200, 0, size},
		{"nonsense", "bytes=a-b", "", 200, 0, size},
		{"a minus", "bytes=--1", "", 200, 0, size},
		{"empty", "bytes=", "", 200, 0, size},
	} {
		t.Run(tc.name, func(t *testing.T) {
			headers := []string{"Range", tc.rng}
			if tc.ifRange != "" {
				headers = append(headers, "If-Range", tc.ifRange)
			}
			a := s.get(t, tc.status, "/v2/x/app/blobs/"+layer.Digest.String(), headers...)
			want := map[int]string{
				200: "",
				206: fmt.Sprintf("bytes %d-%d/%d", tc.from, tc.to-1, size),
				416: fmt.Sprintf("bytes */%d", size),
			}[tc.status]
			if got := a.Header.Get("Content-Range"); got != want {
				t.Errorf("Content-Range %q, want %q", got, want)
			}
			if tc.status == 416 {
				if a.code(t) != "RANGE_INVALID" {
					t.Errorf("body %s", a.body)
				}
				return
			}
			if !bytes.Equal(a.body, layer.Bytes[tc.from:tc.to]) {
				t.Errorf("%d bytes, which are not those from %d to %d", len(a.body), tc.from, tc.to)
			}
		})
	}
	if a := s.ask(t, http.MethodHead, "/v2/x/app/blobs/"+layer.Digest.String(), "Range", "bytes=0-0"); a.StatusCode != 200 || a.ContentLength != size {
		t.Errorf("HEAD with a range: %d, %d bytes", a.StatusCode, a.ContentLength)
	}
}

func TestIfNoneMatch(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
	s := serve(t, server.Options{}, shelf)
	blob := g.Children[0].Blobs[0].Digest
	for path, d := range map[string]digest.Digest{"/v2/x/app/manifests/1": g.Digest, "/v2/x/app/blobs/" + blob.String(): blob} {
		for value, status := range map[string]int{
			`"` + d.String() + `"`: 304, `"other", W/"` + d.String() + `"`: 304, "*": 304, `"other"`: 200, d.String(): 200,
		} {
			a := s.get(t, status, path, "If-None-Match", value)
			if got := a.Header.Get("ETag"); got != `"`+d.String()+`"` {
				t.Errorf("%s: ETag %s", path, got)
			}
			if status == 304 && len(a.body) > 0 {
				t.Errorf("%s: 304 with a body", path)
			}
		}
	}
}

// wrong returns what Memory.Body needs to flip the last byte of a blob.
func wrong(d digest.Digest) func(ocitest.Op, io.ReadCloser) io.ReadCloser {
	return func(op ocitest.Op, r io.ReadCloser) io.ReadCloser {
		if op.Digest != d {
			return r
		}
		defer r.Close()
		raw, _ := io.ReadAll(r)
		raw[len(raw)-1] ^= 1
		return io.NopCloser(bytes.NewReader(raw))
	}
}

// damager is a source that knows where its content lies.
type damager struct{ *ocitest.Memory }

func (damager) DamageOf(_ digest.Digest, err error) error {
	return fmt.Errorf("volume 2: %w", err)
}

// A body that is wrong never ends well: the client sees that it is cut.
func TestDamageIsCut(t *testing.T) {
	g := ocitest.Index(ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 300_000)))
	config, layer := g.Children[0].Blobs[0], g.Children[0].Blobs[1]
	for _, tc := range []struct {
		name, kind string
		blob       oci.Descriptor
		status     int // of the answer; 0: the body is cut
	}{
		{"a large blob", "blobs", layer.Descriptor, 0},
		{"a small blob", "blobs", config.Descriptor, 500},
		{"a manifest", "manifests", g.Descriptor, 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shelf, memory := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
			shelf.Source = damager{memory}
			memory.Body = wrong(tc.blob.Digest)
			s := serve(t, server.Options{}, shelf)
			a := s.ask(t, http.MethodGet, "/v2/x/app/"+tc.kind+"/"+tc.blob.Digest.String())
			switch {
			case tc.status == 0 && (a.StatusCode != 200 || !errors.Is(a.err, io.ErrUnexpectedEOF) || int64(len(a.body)) >= tc.blob.Size):
				t.Errorf("%d, %d of %d bytes, %v: want a body that is cut", a.StatusCode, len(a.body), tc.blob.Size, a.err)
			case tc.status != 0 && (a.StatusCode != tc.status || a.code(t) != "UNKNOWN" || a.Header.Get("ETag") != ""):
				t.Errorf("%d %s, want %d", a.StatusCode, a.body, tc.status)
			}
			logged := s.waitForLog(t, 1)[0]
			if !errors.Is(logged.Err, oci.ErrCorrupt) || !strings.HasPrefix(logged.Err.Error(), "volume 2: ") || logged.Digest != tc.blob.Digest {
				t.Errorf("logged %+v", logged)
			}
			// All else is given.
			for _, b := range g.All() {
				if b.Digest != tc.blob.Digest && !oci.IsManifest(b.MediaType) {
					s.get(t, http.StatusOK, "/v2/x/app/blobs/"+b.Digest.String())
				}
			}
		})
	}
}

// waitForLog returns the log when it has n requests: one that is cut is logged after the client has seen it.
func (s *served) waitForLog(t *testing.T, n int) []server.Request {
	t.Helper()
	for t.Context().Err() == nil {
		if log := s.requests(); len(log) >= n {
			return log
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// What one shelf cannot give comes from another one, and the damage is told.
func TestAnotherShelfHelps(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	layer := g.Children[0].Blobs[1]
	for _, d := range []digest.Digest{g.Digest, layer.Digest} {
		hurt, memory := newShelf(t, "hurt", held{name: "quay.io/x/app:1", graph: g})
		memory.Body = wrong(d)
		whole, _ := newShelf(t, "whole", held{name: "quay.io/x/app:1", graph: g})
		s := serve(t, server.Options{}, hurt, whole)
		kind := "blobs"
		if d == g.Digest {
			kind = "manifests"
		}
		a := s.get(t, http.StatusOK, "/v2/x/app/"+kind+"/"+d.String())
		if got := digest.FromBytes(a.body); got != d {
			t.Errorf("content is %s, want %s", got, d)
		}
		if log := s.waitForLog(t, 1); !errors.Is(log[0].Err, oci.ErrCorrupt) {
			t.Errorf("the damage was not told: %+v", log[0])
		}
	}
}

// A tag that means one thing in one bundle and another one in the next has no meaning, but both are there by digest.
func TestShelvesDisagree(t *testing.T) {
	october, november := ocitest.MultiArch(1, "october"), ocitest.MultiArch(1, "november")
	a, _ := newShelf(t, "oct.tar.zst", held{name: "quay.io/x/app:latest", graph: october})
	b, _ := newShelf(t, "nov.tar.zst", held{name: "quay.io/x/app:latest", graph: november})
	s := serve(t, server.Options{}, a, b)
	for _, name := range []string{"x/app", "quay.io/x/app"} {
		if a := s.get(t, http.StatusNotFound, "/v2/"+name+"/manifests/latest"); a.code(t) != "MANIFEST_UNKNOWN" {
			t.Errorf("%s", a.body)
		}
		for _, g := range []*ocitest.Graph{october, november} {
			s.get(t, http.StatusOK, "/v2/"+name+"/manifests/"+g.Digest.String())
		}
	}
	c := s.Conflicts()
	if len(c) != 1 || c[0].Images[0].Shelf != "oct.tar.zst" || c[0].Images[1].Shelf != "nov.tar.zst" {
		t.Errorf("conflicts %+v", c)
	}
	if got := s.Repositories(); len(got) != 1 {
		t.Errorf("repositories %v: the full name says no more than the path", got)
	}
}

// HTTP/2 has no connection to cut for one body: its stream is reset.
func TestDamageIsCutInHTTP2(t *testing.T) {
	g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 300_000))
	layer := g.Blobs[1]
	shelf, memory := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
	memory.Body = wrong(layer.Digest)
	srv := httptest.NewUnstartedServer(server.New([]server.Shelf{shelf}, server.Options{}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for _, rng := range []string{"", "bytes=0-"} { // all of it is proven, too, when it is asked for as a range
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v2/x/app/blobs/"+layer.Digest.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.ProtoMajor != 2 || err == nil || int64(len(raw)) >= layer.Size {
			t.Errorf("range %q: %s, %d of %d bytes, %v: want a body that is cut", rng, res.Proto, len(raw), layer.Size, err)
		}
	}
}

// Whatever is asked for, the answer is one of HTTP's, and what it refuses has an error of the specification.
func FuzzRequests(f *testing.F) {
	g := ocitest.MultiArch(1, "app")
	layer := g.Children[0].Blobs[1]
	for _, path := range []string{
		"/v2/", "/v2/_catalog?n=1&last=x", "/v2/x/app/tags/list", "/v2/x/app/manifests/1?ns=quay.io", "/v2/x/app/referrers/" + g.Digest.String(),
		"/v2/x/app/blobs/" + layer.Digest.String(), "/v2//manifests/", "/v2/x/app/blobs/sha256:", "/v2/tags/list", "/",
	} {
		f.Add(path, "bytes=0-1", `"x"`)
		f.Add(path, "bytes=-5", "*")
	}
	f.Fuzz(func(t *testing.T, path, rng, etag string) {
		target, err := url.ParseRequestURI(path)
		if err != nil {
			t.Skip()
		}
		shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.URL, req.RequestURI = target, path
		req.Header.Set("Range", rng)
		req.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		server.New([]server.Shelf{shelf}, server.Options{}).ServeHTTP(w, req)
		if w.Code >= 400 {
			answer{Response: w.Result(), body: w.Body.Bytes()}.code(t)
		}
		if length := w.Header().Get("Content-Length"); w.Code != 304 && length != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%d with Content-Length %s and %d bytes", w.Code, length, w.Body.Len())
		}
	})
}
