// Package server is a read-only registry over content that lies elsewhere: in bundles, in a store, in an image layout. It
// speaks the distribution API of the OCI (version 1.1) and changes nothing: what would write is answered with 405.
//
//	s := server.New([]server.Shelf{{Name: "k8s.tar.zst", Source: b, Images: images}}, server.Options{})
//	http.Serve(listener, s)
//
// Each image answers under three names: docker.io/library/nginx:1.27 is library/nginx:1.27, docker.io/library/nginx:1.27 (the
// colon of a host is a _ there), and library/nginx:1.27 with containerd's ?ns=docker.io. Where two hosts have one path, the
// path alone has what both have; a tag that means two things there is not found under it, and the answer names the full names,
// see [Server.Conflicts]. A repository gives what its images need, and nothing else.
//
// Nothing is read before it is asked for. A manifest is proven before it is sent. A blob is proven on the way: one whose
// content is not what its digest says never ends well, since the connection is cut before its last bytes. Of a range only what
// the source proves by itself is known, as a bundle does by the checksums of its frames; whoever pulls proves the whole.
//
// Memory is bounded: [Options.CacheSize] for manifests, and for each request that is under way some 100 KiB beside what the
// source needs. How many are under way is for the listener to bound, as are all timeouts but that of a client which takes
// nothing.
package server

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/ferry-oci/ferry/oci"
)

// Shelf is one place that has images. Its Source is asked without a repository; what it gives is proven here.
type Shelf struct {
	Name   string // for messages
	Source oci.Source
	Images []Image
}

// Damager is a [Shelf]'s source that can say more of content which is not what its digest says: where it lies, and which
// images need it. The error it returns is the one that is told.
type Damager interface {
	DamageOf(d digest.Digest, err error) error
}

// Image is one image of a shelf.
type Image struct {
	// Ref is its full name. Without a tag it can be had by digest alone.
	Ref       oci.Reference
	Root      oci.Descriptor
	Platforms []string
	Size      int64 // of all blobs, in bytes
	// Blobs returns the descriptors of all that the image needs: manifests, with their media types, configs, layers,
	// and all that its referrers need. It is called once, when something of the repository is asked for by digest.
	Blobs func() []oci.Descriptor
	// Referrers are about the image, or about each other.
	Referrers []Referrer
}

// Referrer is a manifest that is about another one. Whether it says so itself, and its artifact type and its annotations, are
// read from it when they are asked for.
type Referrer struct {
	oci.Descriptor
	Subject digest.Digest
	Tag     string // of cosign's, which the repository has, too; empty for none
}

// Options are how a server works. The zero value lets everybody read.
type Options struct {
	// Page answers GET and HEAD of /; nil is 404.
	Page http.Handler
	// Users, unless nil, are those who may read. They send their password with each request, so TLS is needed around that.
	Users *Users
	// CacheSize is how many bytes of manifests are kept in memory; 0 means 64 MiB.
	CacheSize int64
	// Log, unless nil, is told of each request when it is over. Calls come from many goroutines.
	Log func(Request)
}

// Request is a request that was answered.
type Request struct {
	Remote string // address of the client
	User   string // who asked, when Users are given and the password was right
	Method string
	Target string // path and query as they came
	Status int
	Bytes  int64 // of the body that was sent
	Took   time.Duration
	Digest digest.Digest // of what was asked for, when it is known
	// Err is why content could not be given, or not by the first shelf that has it: it was damaged, or the source failed. It
	// is nil for what a client does wrong, and for a client that goes away.
	Err error
}

// Server is a read-only registry, an [http.Handler].
type Server struct {
	o         Options
	names     *names
	manifests *manifestCache
	reading   singleflight.Group // of manifests
}

// New returns a registry of what is on the shelves. Where several have an image, it comes from the first one that can give it.
func New(shelves []Shelf, o Options) *Server {
	if o.CacheSize <= 0 {
		o.CacheSize = 64 << 20
	}
	return &Server{o: o, names: newNames(shelves), manifests: newManifestCache(o.CacheSize)}
}

// Repositories returns the names that the catalog lists, sorted: the path alone of each, and the full names, too, where a tag
// means two things under the path.
func (s *Server) Repositories() []string { return s.names.catalog }

// ServeHTTP answers a request. It panics with [http.ErrAbortHandler], as handlers do, to cut a body that is wrong.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res := &response{ResponseWriter: w}
	if s.o.Log != nil {
		began := time.Now()
		defer func() {
			s.o.Log(Request{
				Remote: r.RemoteAddr, User: res.user, Method: r.Method, Target: r.RequestURI, Status: res.status,
				Bytes: res.bytes, Took: time.Since(began), Digest: res.digest, Err: res.err,
			})
		}()
	}
	err := s.serve(res, r)
	var failed *failure
	switch {
	case err == nil:
		return
	case errors.Is(err, errClientGone):
		panic(http.ErrAbortHandler)
	case !errors.As(err, &failed):
		failed = unreadable(err)
	}
	if failed.err != nil && r.Context().Err() == nil {
		res.err = failed.err
	}
	if res.status != 0 {
		panic(http.ErrAbortHandler)
	}
	drain(w, r)
	failed.write(res, r)
}

const (
	// maxDrained is how many bytes of a body that nobody wants are taken all the same.
	maxDrained = 256 << 10
	// drainTime is how long is waited for them.
	drainTime = 5 * time.Second
)

// drain takes a short body of a request that is refused. In HTTP/2 an answer before the end of the body is followed by a reset, and
// some versions of curl drop the answer then. In HTTP/1 the library does it.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 || r.Body == nil {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) // of this stream alone
	_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
}

// serve answers a request, or returns why not.
func (s *Server) serve(w *response, r *http.Request) error {
	api, isAPI := strings.CutPrefix(r.URL.Path, "/v2/")
	if r.URL.Path == "/v2" {
		isAPI = true
	}
	if isAPI {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	}
	if err := s.admit(w, r); err != nil {
		return err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return errReadOnly(r.Method)
	}
	switch {
	case isAPI:
		return s.serveAPI(w, r, api)
	case r.URL.Path == "/" && s.o.Page != nil:
		s.o.Page.ServeHTTP(w, r)
		return nil
	}
	return &failure{status: http.StatusNotFound, code: codeNotFound, message: "there is nothing here; the registry is at /v2/"}
}

// serveAPI answers a request for what lies under /v2/.
func (s *Server) serveAPI(w *response, r *http.Request, path string) error {
	t := parseTarget(path)
	switch t.kind {
	case kindBase:
		return w.sendJSON(r, struct{}{})
	case kindCatalog:
		return s.serveCatalog(w, r)
	case kindUnknown:
		return &failure{status: http.StatusNotFound, code: codeNotFound, message: "no such path in the distribution API"}
	}
	repo, err := s.names.find(t.name, r.URL.Query().Get("ns"))
	if err != nil {
		return err
	}
	switch t.kind {
	case kindManifest:
		return s.serveManifest(w, r, repo, t.ref)
	case kindBlob:
		return s.serveBlob(w, r, repo, t.ref)
	case kindReferrers:
		return s.serveReferrers(w, r, repo, t.ref)
	default:
		return s.serveTags(w, r, repo)
	}
}

// kind is what a path of the API asks for.
type kind int

const (
	kindUnknown kind = iota
	kindBase
	kindCatalog
	kindManifest
	kindBlob
	kindReferrers
	kindTags
)

// target is what a path of the API asks for.
type target struct {
	kind
	name string // of the repository
	ref  string // tag or digest
}

// parseTarget reads what follows /v2/. A repository may have any of the words of the API in its name, so the end counts.
func parseTarget(path string) target {
	switch path {
	case "":
		return target{kind: kindBase}
	case "_catalog":
		return target{kind: kindCatalog}
	}
	if name, ok := strings.CutSuffix(path, "/tags/list"); ok {
		return target{kind: kindTags, name: name}
	}
	rest, ref, _ := cutLast(path)
	name, word, _ := cutLast(rest)
	t := target{name: name, ref: ref}
	switch word {
	case "manifests":
		t.kind = kindManifest
	case "blobs":
		t.kind = kindBlob
	case "referrers":
		t.kind = kindReferrers
	}
	return t
}

// cutLast cuts at the last slash.
func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
