package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/server"
)

// held is an image as the tests put it on a shelf.
type held struct {
	name      string
	graph     *ocitest.Graph
	referrers []about
}

// about is a referrer.
type about struct {
	*ocitest.Graph
	subject digest.Digest
	tag     string
}

// newShelf returns a shelf with images, and what has their content.
func newShelf(t *testing.T, name string, images ...held) (server.Shelf, *ocitest.Memory) {
	t.Helper()
	memory := &ocitest.Memory{}
	shelf := server.Shelf{Name: name, Source: memory}
	for _, h := range images {
		ref, err := oci.ParseReference(h.name)
		if err != nil {
			t.Fatal(err)
		}
		all := h.graph.All()
		img := server.Image{Ref: ref, Root: h.graph.Descriptor}
		for _, r := range h.referrers {
			all = append(all, r.All()...)
			img.Referrers = append(img.Referrers, server.Referrer{Descriptor: r.Descriptor, Subject: r.subject, Tag: r.tag})
		}
		img.Blobs = func() (list []oci.Descriptor) {
			for _, b := range all {
				list = append(list, b.Descriptor)
			}
			return list
		}
		for _, b := range all {
			memory.AddBlob(oci.Repository{}, b)
		}
		shelf.Images = append(shelf.Images, img)
	}
	return shelf, memory
}

// served is a server that a test talks to.
type served struct {
	*server.Server
	url string

	mu  sync.Mutex
	log []server.Request
}

// serve starts a server that ends with the test.
func serve(t *testing.T, o server.Options, shelves ...server.Shelf) *served {
	t.Helper()
	s := &served{}
	o.Log = func(r server.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, r)
	}
	s.Server = server.New(shelves, o)
	srv := httptest.NewServer(s.Server)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// requests returns the log of what is over.
func (s *served) requests() []server.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// answer is what a client got.
type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// ask sends a request with headers, as pairs of name and value.
func (s *served) ask(t *testing.T, method, path string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{Response: res}
	a.body, a.err = io.ReadAll(res.Body)
	return a
}

// get is a GET that has to be answered with that status.
func (s *served) get(t *testing.T, status int, path string, headers ...string) answer {
	t.Helper()
	a := s.ask(t, http.MethodGet, path, headers...)
	if a.StatusCode != status {
		t.Fatalf("GET %s: %d %s, want %d", path, a.StatusCode, a.body, status)
	}
	return a
}

// code returns the error code of an answer.
func (a answer) code(t *testing.T) string {
	t.Helper()
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || len(doc.Errors) != 1 || doc.Errors[0].Message == "" {
		t.Fatalf("body %q is no error of the specification (%v)", a.body, err)
	}
	return doc.Errors[0].Code
}

func TestImagesAreServedWhole(t *testing.T) {
	g := ocitest.MultiArch(1, "nginx")
	shelf, _ := newShelf(t, "a", held{name: "docker.io/library/nginx:1.27", graph: g})
	s := serve(t, server.Options{}, shelf)
	for _, b := range g.All() {
		kind := "blobs"
		if oci.IsManifest(b.MediaType) {
			kind = "manifests"
		}
		for _, name := range []string{"library/nginx", "docker.io/library/nginx"} {
			path := "/v2/" + name + "/" + kind + "/" + b.Digest.String()
			a := s.get(t, http.StatusOK, path)
			if got := digest.FromBytes(a.body); got != b.Digest {
				t.Errorf("GET %s: content is %s", path, got)
			}
			head := s.ask(t, http.MethodHead, path)
			for _, answer := range []answer{a, head} {
				if answer.ContentLength != b.Size || answer.Header.Get("Docker-Content-Digest") != b.Digest.String() ||
					answer.Header.Get("ETag") != `"`+b.Digest.String()+`"` {
					t.Errorf("%s %s: %d bytes, %v", answer.Request.Method, path, answer.ContentLength, answer.Header)
				}
			}
			if got := a.Header.Get("Content-Type"); kind == "manifests" && got != b.MediaType {
				t.Errorf("GET %s: Content-Type %s, want %s", path, got, b.MediaType)
			}
			if len(head.body) > 0 || head.Header.Get("Content-Type") != a.Header.Get("Content-Type") {
				t.Errorf("HEAD %s: body %q, %v", path, head.body, head.Header)
			}
		}
	}
	if a := s.get(t, http.StatusOK, "/v2/library/nginx/manifests/1.27"); digest.FromBytes(a.body) != g.Digest {
		t.Errorf("the tag is %s, want %s", digest.FromBytes(a.body), g.Digest)
	}
	if a := s.get(t, http.StatusOK, "/v2/"); a.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("/v2/: %v", a.Header)
	}
}

// What is not asked for is not read.
func TestHeadReadsNothing(t *testing.T) {
	g := ocitest.MultiArch(1, "nginx")
	shelf, memory := newShelf(t, "a", held{name: "docker.io/library/nginx:1.27", graph: g})
	s := serve(t, server.Options{}, shelf)
	s.ask(t, http.MethodHead, "/v2/library/nginx/manifests/1.27")
	s.ask(t, http.MethodHead, "/v2/library/nginx/blobs/"+g.Children[0].Blobs[0].Digest.String())
	s.get(t, http.StatusOK, "/v2/library/nginx/tags/list")
	s.get(t, http.StatusNotModified, "/v2/library/nginx/manifests/1.27", "If-None-Match", `"`+g.Digest.String()+`"`)
	if ops := memory.Ops(); len(ops) > 0 {
		t.Errorf("it read %v", ops)
	}
	s.get(t, http.StatusOK, "/v2/library/nginx/manifests/1.27")
	s.get(t, http.StatusOK, "/v2/library/nginx/manifests/"+g.Digest.String())
	if ops := memory.Ops("open"); len(ops) != 1 {
		t.Errorf("a manifest was read %d times, want 1", len(ops))
	}
}

// Many clients who begin with one image read its manifest once.
func TestManifestIsReadOnceForMany(t *testing.T) {
	const clients = 8
	g := ocitest.MultiArch(1, "nginx")
	shelf, memory := newShelf(t, "a", held{name: "docker.io/library/nginx:1.27", graph: g})
	read := make(chan struct{})
	memory.Fault = func(context.Context, ocitest.Op) error {
		<-read // until somebody has waited for it
		return nil
	}
	s := serve(t, server.Options{}, shelf)
	first, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(first, http.MethodGet, s.url+"/v2/library/nginx/manifests/1.27", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			t.Error("the first client got an answer, and should have gone away")
		}
	}()
	time.AfterFunc(time.Millisecond, cancel) // whenever that is, the others are served
	<-gone
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			res, err := http.Get(s.url + "/v2/library/nginx/manifests/1.27")
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if raw, err := io.ReadAll(res.Body); err != nil || digest.FromBytes(raw) != g.Digest {
				t.Errorf("got %s, %v", raw, err)
			}
		})
	}
	close(read)
	wait.Wait()
	if ops := memory.Ops("open"); len(ops) != 1 {
		t.Errorf("it was read %d times", len(ops))
	}
}

func TestNames(t *testing.T) {
	hub, quay, local := ocitest.MultiArch(1, "hub"), ocitest.MultiArch(1, "quay"), ocitest.MultiArch(1, "local")
	both, single := ocitest.MultiArch(1, "both"), ocitest.MultiArch(1, "single")
	shelf, _ := newShelf(
		t, "a",
		held{name: "docker.io/library/app:v1", graph: hub},
		held{name: "docker.io/library/app:v2", graph: both},
		held{name: "quay.io/library/app:v1", graph: quay},
		held{name: "quay.io/library/app:v2", graph: both},
		held{name: "quay.io/library/app:v3", graph: quay},
		held{name: "localhost:5000/tags/list:x", graph: local},
		held{name: "registry.k8s.io/pause:3.9", graph: single},
	)
	s := serve(t, server.Options{}, shelf)
	for _, tc := range []struct {
		path string
		want *ocitest.Graph // nil: not found
	}{
		{"library/app/manifests/v1", nil}, // two things
		{"library/app/manifests/v2", both},
		{"library/app/manifests/v3", quay},
		{"docker.io/library/app/manifests/v1", hub},
		{"quay.io/library/app/manifests/v1", quay},
		{"docker.io/library/app/manifests/v3", nil},
		{"library/app/manifests/v1?ns=docker.io", hub},
		{"library/app/manifests/v1?ns=registry-1.docker.io", hub},
		{"library/app/manifests/v1?ns=quay.io", quay},
		{"library/app/manifests/v3?ns=docker.io", nil},
		{"library/app/manifests/v1?ns=ghcr.io", nil},
		{"quay.io/library/app/manifests/v1?ns=quay.io", quay},
		{"quay.io/library/app/manifests/v1?ns=docker.io", nil},
		{"library/app/manifests/" + hub.Digest.String(), hub},
		{"quay.io/library/app/manifests/" + hub.Digest.String(), nil},
		{"pause/manifests/3.9", single},
		{"library/pause/manifests/3.9", nil},
		{"tags/list/manifests/x", local},
		{"localhost_5000/tags/list/manifests/x", local},
		{"tags/list/manifests/x?ns=localhost:5000", local},
	} {
		a := s.ask(t, http.MethodGet, "/v2/"+tc.path)
		switch {
		case tc.want == nil && a.StatusCode != http.StatusNotFound:
			t.Errorf("%s: %d, want 404", tc.path, a.StatusCode)
		case tc.want != nil && digest.FromBytes(a.body) != tc.want.Digest:
			t.Errorf("%s: %d %.200s", tc.path, a.StatusCode, a.body)
		}
	}
	a := s.get(t, http.StatusNotFound, "/v2/library/app/manifests/v1")
	if a.code(t) != "MANIFEST_UNKNOWN" || !strings.Contains(string(a.body), "docker.io/library/app:v1@"+hub.Digest.String()) ||
		!strings.Contains(string(a.body), "quay.io/library/app:v1@"+quay.Digest.String()) {
		t.Errorf("the answer to a name of two images does not name them: %s", a.body)
	}
	conflicts := s.Conflicts()
	if len(conflicts) != 1 || conflicts[0].Name != "library/app:v1" || len(conflicts[0].Images) != 2 {
		t.Errorf("conflicts %v", conflicts)
	}
	want := []string{"docker.io/library/app", "library/app", "pause", "quay.io/library/app", "tags/list"}
	if got := s.Repositories(); !slices.Equal(got, want) {
		t.Errorf("repositories %v, want %v", got, want)
	}
	if a := s.get(t, http.StatusOK, "/v2/library/app/tags/list"); string(a.body) != `{"name":"library/app","tags":["v2","v3"]}`+"\n" {
		t.Errorf("tags %s", a.body)
	}
	if a := s.get(t, http.StatusOK, "/v2/tags/list/tags/list"); string(a.body) != `{"name":"tags/list","tags":["x"]}`+"\n" {
		t.Errorf("tags %s", a.body)
	}
}

// A repository gives its own blobs alone, as a registry does.
func TestBlobsBelongToRepositories(t *testing.T) {
	one, two := ocitest.MultiArch(1, "one"), ocitest.MultiArch(1, "two")
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/one:1", graph: one}, held{name: "quay.io/x/two:1", graph: two})
	s := serve(t, server.Options{}, shelf)
	blobs := one.Children[0].Blobs
	shared, own := blobs[1].Digest, blobs[len(blobs)-1].Digest
	for _, tc := range []struct {
		repo   string
		blob   digest.Digest
		status int
	}{{"x/one", own, 200}, {"x/one", shared, 200}, {"x/two", shared, 200}, {"x/two", own, 404}} {
		if a := s.ask(t, http.MethodHead, "/v2/"+tc.repo+"/blobs/"+tc.blob.String()); a.StatusCode != tc.status {
			t.Errorf("%s of %s: %d, want %d", tc.blob, tc.repo, a.StatusCode, tc.status)
		}
	}
}

func TestErrors(t *testing.T) {
	g := ocitest.MultiArch(1, "nginx")
	shelf, _ := newShelf(t, "a", held{name: "docker.io/library/nginx:1.27", graph: g})
	s := serve(t, server.Options{}, shelf)
	config := g.Children[0].Blobs[0].Digest.String()
	absent := digest.FromString("absent").String()
	for _, tc := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v2/library/nginx/manifests/1.28", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/library/nginx/manifests/.INVALID_MANIFEST_NAME", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/library/nginx/manifests/" + absent, 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/library/nginx/manifests/" + config, 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/library/nginx/blobs/" + absent, 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/library/nginx/blobs/sha256:12", 400, "DIGEST_INVALID"},
		{"GET", "/v2/library/nginx/blobs/1.27", 400, "DIGEST_INVALID"},
		{"GET", "/v2/library/nginx/referrers/1.27", 400, "DIGEST_INVALID"},
		{"GET", "/v2/library/none/manifests/1.27", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/library/none/tags/list", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/library/none/referrers/" + absent, 404, "NAME_UNKNOWN"},
		{"GET", "/v2/Library/nginx/manifests/1.27", 400, "NAME_INVALID"},
		{"GET", "/v2//manifests/1.27", 400, "NAME_INVALID"},
		{"GET", "/v2/library/nginx/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"},
		{"GET", "/v2/_catalog?n=many", 400, "PAGINATION_NUMBER_INVALID"},
		{"GET", "/v2/library/nginx/other/1.27", 404, "NOT_FOUND"},
		{"GET", "/v2/library", 404, "NOT_FOUND"},
		{"GET", "/v1/_ping", 404, "NOT_FOUND"},
		{"GET", "/", 404, "NOT_FOUND"},
		{"PUT", "/v2/library/nginx/manifests/1.28", 405, "UNSUPPORTED"},
		{"DELETE", "/v2/library/nginx/manifests/1.27", 405, "UNSUPPORTED"},
		{"POST", "/v2/library/nginx/blobs/uploads/", 405, "UNSUPPORTED"},
		{"PATCH", "/v2/library/nginx/blobs/uploads/1", 405, "UNSUPPORTED"},
		{"DELETE", "/v2/library/nginx/blobs/" + config, 405, "UNSUPPORTED"},
	} {
		a := s.ask(t, tc.method, tc.path)
		if a.StatusCode != tc.status || a.code(t) != tc.code || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.path, a.StatusCode, a.body, tc.status, tc.code)
		}
		if allow := a.Header.Get("Allow"); tc.status == 405 && allow != "GET, HEAD" {
			t.Errorf("%s %s: Allow %q", tc.method, tc.path, allow)
		}
	}
	for _, r := range s.requests() {
		if r.Err != nil {
			t.Errorf("%s %s: %v is told as an error of the server's", r.Method, r.Target, r.Err)
		}
	}
}

// In HTTP/2, what is refused with its body unread is reset, and some clients lose the answer.
func TestShortBodyIsTakenInHTTP2(t *testing.T) {
	s := server.New(nil, server.Options{})
	for _, tc := range []struct{ size, left int }{{2, 0}, {100_000, 0}, {1 << 20, 1<<20 - 256<<10}} {
		body := strings.NewReader(strings.Repeat("x", tc.size))
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/v2/library/nginx/manifests/1", io.NopCloser(body))
		req.ProtoMajor = 2
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if w.Code != http.StatusMethodNotAllowed || body.Len() != tc.left {
			t.Errorf("%d bytes: %d, %d bytes are left, want %d", tc.size, w.Code, body.Len(), tc.left)
		}
	}
}

func TestPages(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	var images []held
	for _, name := range []string{"a", "b", "c", "d"} {
		images = append(images, held{name: "quay.io/x/" + name + ":1", graph: g}, held{name: "quay.io/x/a:" + name, graph: g})
	}
	shelf, _ := newShelf(t, "a", images...)
	s := serve(t, server.Options{}, shelf)
	for _, tc := range []struct{ path, body, link string }{
		{"/v2/x/a/tags/list", `{"name":"x/a","tags":["1","a","b","c","d"]}`, ""},
		{"/v2/x/a/tags/list?n=2", `{"name":"x/a","tags":["1","a"]}`, `</v2/x/a/tags/list?last=a&n=2>; rel="next"`},
		{"/v2/x/a/tags/list?last=a&n=2", `{"name":"x/a","tags":["b","c"]}`, `</v2/x/a/tags/list?last=c&n=2>; rel="next"`},
		{"/v2/x/a/tags/list?last=c&n=2", `{"name":"x/a","tags":["d"]}`, ""},
		{"/v2/x/a/tags/list?last=aa", `{"name":"x/a","tags":["b","c","d"]}`, ""},
		{"/v2/x/a/tags/list?last=z", `{"name":"x/a","tags":[]}`, ""},
		{"/v2/x/a/tags/list?n=0", `{"name":"x/a","tags":[]}`, ""},
		{"/v2/x/a/tags/list?n=99999999999999999999", `{"name":"x/a","tags":["1","a","b","c","d"]}`, ""},
		{"/v2/_catalog", `{"repositories":["x/a","x/b","x/c","x/d"]}`, ""},
		{"/v2/_catalog?n=3", `{"repositories":["x/a","x/b","x/c"]}`, `</v2/_catalog?last=x%2Fc&n=3>; rel="next"`},
		{"/v2/_catalog?n=3&last=x%2Fc", `{"repositories":["x/d"]}`, ""},
	} {
		a := s.get(t, http.StatusOK, tc.path)
		if got := strings.TrimSpace(string(a.body)); got != tc.body || a.Header.Get("Link") != tc.link {
			t.Errorf("%s: %s, Link %q", tc.path, got, a.Header.Get("Link"))
		}
	}
}
