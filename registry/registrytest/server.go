// Package registrytest is a small registry in memory for tests. It speaks the distribution API as strictly as real
// registries do, and it misbehaves on order.
//
//	srv := registrytest.New(t, registrytest.Options{})
//	layer := srv.AddBlob("library/nginx", content)
//	srv.Fault(registrytest.Match{Method: "GET", Kind: registrytest.Blob, Times: 1}, registrytest.Cut(1000))
//	...
//	if n := srv.Count("GET", registrytest.Blob); n != 2 { ... }
package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Auth is how the registry wants to be told who asks.
type Auth int

const (
	// NoAuth lets everybody do everything.
	NoAuth Auth = iota
	// Basic wants user name and password with each request.
	Basic
	// Bearer wants a token of the registry's own token server, which wants user name and password.
	Bearer
)

// LocationStyle is how the registry writes where an upload goes on.
type LocationStyle int

const (
	Absolute    LocationStyle = iota // http://host/v2/...
	Relative                         // /v2/...
	WrongScheme                      // http:// from a registry that speaks https, as behind a proxy that ends TLS
	OtherHost                        // on the storage host, see Server.StorageHost
)

// Options are the habits of a registry. The zero value is a strict one that speaks plain http.
type Options struct {
	TLS bool
	// ClientCA, unless nil, wants a client certificate of this authority from everybody, with TLS.
	ClientCA *x509.Certificate
	// Sparse takes manifests and indexes that refer to what is not there.
	Sparse bool

	Auth               Auth
	Username, Password string
	// TokenUses is how many requests a bearer token is good for; 0 is any number.
	TokenUses int
	// BasicToo takes user name and password as well as a token, with Bearer, and asks those for them who come with what
	// is not good any more, as Harbor does.
	BasicToo bool
	// IdentityToken buys a bearer token in place of the user name and the password, with Bearer; empty is none.
	IdentityToken string
	// TokenPrefix begins the bearer tokens; empty is `token`.
	TokenPrefix string
	// Grant, unless nil, says which of the rights `pull` and `push` to a repository a token gets.
	Grant func(repo, action string) bool

	// ChallengePull asks for a token with the right to pull alone, whatever is wanted, as GHCR may do.
	ChallengePull bool

	// ForgetUploads drops an upload session when a body of it is cut, as zot does.
	ForgetUploads bool
	// ChunkMinLength is said to those who begin an upload, in bytes; a PATCH that brings less, and is not the last, gets
	// 416. 0 says nothing.
	ChunkMinLength int64
	// MaxPatch is the size of the largest PATCH with a Content-Range that is taken, in bytes, as GHCR's 4 MiB; 416 above.
	// 0 is any.
	MaxPatch int64
	// MaxBody is the size of the largest body that the proxy in front of the registry lets through, in bytes; 413 above.
	// 0 is any.
	MaxBody int64
	// StickyRange answers each PATCH with 201 and the range of the first one, as ECR does.
	StickyRange bool
	// WholeOnly refuses PATCH and tells no one how far an upload is, as Google's registries do.
	WholeOnly bool
	// PatchOnly refuses a PUT that brings bytes, as old versions of Artifactory do.
	PatchOnly     bool
	ImmutableTags bool
	// NoMount answers 202 to every mount.
	NoMount bool
	// RedirectBlobs sends those who want a blob to the storage host.
	RedirectBlobs bool
	Location      LocationStyle
	IgnoreRange   bool
	// NoDigestHeader leaves Docker-Content-Digest out.
	NoDigestHeader bool
	// NoHead answers 405 to HEAD for a manifest.
	NoHead bool

	// MaxPage is the size of a page of a list; more is refused. 0 sends all in one unless the request asks for less.
	MaxPage   int
	PageLinks PageLinks
	// RefuseURLs takes no manifest with a layer that has URLs, as CNCF distribution by default.
	RefuseURLs bool
	// NoReferrers has no referrers API, as CNCF distribution.
	NoReferrers bool
	NoCatalog   bool
	// CatalogBasic wants user name and password for the catalog, whatever Auth is, as Harbor does.
	CatalogBasic bool

	// Wrap, unless nil, stands before the registry's own host and answers what it wants to; next is the registry.
	Wrap func(next http.Handler) http.Handler
}

// Server is a running registry.
type Server struct {
	o       Options
	main    *httptest.Server
	storage *httptest.Server // serves blobs and takes uploads, and knows no credentials

	mu      sync.Mutex
	blobs   map[digest.Digest][]byte // of all repositories, manifests included
	repos   map[string]*repository
	uploads map[string]*session
	tokens  map[string]*token
	nextID  int
	taken   int64 // bytes of uploads that came in
	quota   *int  // manifests that may still be had; nil is any number

	rules   []*rule
	records []*Request
	sent    map[digest.Digest]int64
}

// repository is what one repository holds.
type repository struct {
	blobs     map[digest.Digest]bool
	manifests map[digest.Digest]string // to their media types
	tags      map[string]digest.Digest
}

// New starts a registry that ends with the test.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := &Server{
		o: o, blobs: map[digest.Digest][]byte{}, repos: map[string]*repository{},
		uploads: map[string]*session{}, tokens: map[string]*token{}, sent: map[digest.Digest]int64{},
	}
	// Both are set before either serves: a request may come from another process, and nothing orders it after this.
	var api http.Handler = http.HandlerFunc(s.serveAPI)
	if o.Wrap != nil {
		api = o.Wrap(api)
	}
	s.main = httptest.NewUnstartedServer(api)
	s.storage = httptest.NewUnstartedServer(http.HandlerFunc(s.serveStorage))
	if o.ClientCA != nil {
		pool := x509.NewCertPool()
		pool.AddCert(o.ClientCA)
		s.main.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		s.main.Listener = lingering{s.main.Listener}
	}
	start(s.main, o.TLS)
	start(s.storage, o.TLS)
	tb.Cleanup(s.main.Close)
	tb.Cleanup(s.storage.Close)
	return s
}

func start(srv *httptest.Server, secure bool) {
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that a test makes fail
	if secure {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
}

// lingering is a listener whose connections are closed when the other side has read all: in TLS 1.3 the refusal of a
// client comes after the client's first request, and a connection that is cut with that unread loses the refusal.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lingeringConn{c.(*net.TCPConn)}, nil
}

type lingeringConn struct{ *net.TCPConn }

func (c lingeringConn) Close() error {
	if err := c.CloseWrite(); err == nil {
		io.Copy(io.Discard, c.TCPConn)
	}
	return c.TCPConn.Close()
}

// Host returns the registry's host:port.
func (s *Server) Host() string { return hostOf(s.main) }

// StorageHost returns the host:port of the second server, which [Options.RedirectBlobs] and [OtherHost] send to.
func (s *Server) StorageHost() string { return hostOf(s.storage) }

func hostOf(srv *httptest.Server) string {
	_, host, _ := strings.Cut(srv.URL, "://")
	return host
}

// CA returns the certificate to trust, with [Options.TLS].
func (s *Server) CA() *x509.Certificate { return s.main.Certificate() }

// Certificates returns what the registry proves itself with, with [Options.TLS], for another server in its place.
func (s *Server) Certificates() []tls.Certificate { return s.main.TLS.Certificates }

// CAPEM returns the certificate to trust as the content of a file.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA().Raw})
}

// Close ends the registry before the test does, as a crash would.
func (s *Server) Close() {
	s.main.CloseClientConnections()
	s.main.Close()
}

// repo returns the repository of that name, which is made if need be. The caller holds s.mu.
func (s *Server) repo(name string) *repository {
	r := s.repos[name]
	if r == nil {
		r = &repository{
			blobs: map[digest.Digest]bool{}, manifests: map[digest.Digest]string{}, tags: map[string]digest.Digest{},
		}
		s.repos[name] = r
	}
	return r
}

// AddBlob puts a blob into a repository. The registry keeps raw itself, which must not be changed.
func (s *Server) AddBlob(repo string, raw []byte) ocispec.Descriptor {
	d := digest.FromBytes(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d] = raw
	s.repo(repo).blobs[d] = true
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(len(raw))}
}

// AddManifest puts a manifest or index into a repository, whether what it refers to is there or not.
func (s *Server) AddManifest(repo, mediaType string, raw []byte) ocispec.Descriptor {
	d := digest.FromBytes(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d] = raw
	s.repo(repo).manifests[d] = mediaType
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// Tag makes tag name the manifest d.
func (s *Server) Tag(repo, tag string, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(repo).tags[tag] = d
}

// Remove takes a blob or a manifest, and the tags that name it, out of a repository.
func (s *Server) Remove(repo string, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repo(repo)
	delete(r.blobs, d)
	delete(r.manifests, d)
	maps.DeleteFunc(r.tags, func(_ string, named digest.Digest) bool { return named == d })
}

// Untag takes a tag off what it names, which stays.
func (s *Server) Untag(repo, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repo(repo).tags, tag)
}

// Repositories returns the names of all repositories that hold something, sorted.
func (s *Server) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.repos))
}

// Tags returns a repository's tags and what they name.
func (s *Server) Tags(repo string) map[string]digest.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repos[repo]; r != nil {
		return maps.Clone(r.tags)
	}
	return nil
}

// Blob returns the content of a blob of a repository.
func (s *Server) Blob(repo string, d digest.Digest) (raw []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repos[repo]; r == nil || !r.blobs[d] {
		return nil, false
	}
	return s.blobs[d], true
}

// Manifest returns the manifest of a repository that reference, a tag or a digest, names.
func (s *Server) Manifest(repo, reference string) (d ocispec.Descriptor, raw []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifest(repo, reference)
}

// Contents returns all that a repository holds, sorted by digest: the manifests with their media types, the blobs without.
func (s *Server) Contents(repo string) []ocispec.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[repo]
	if r == nil {
		return nil
	}
	var all []ocispec.Descriptor
	for d := range r.blobs {
		all = append(all, ocispec.Descriptor{Digest: d, Size: int64(len(s.blobs[d]))})
	}
	for d, mediaType := range r.manifests {
		all = append(all, ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(s.blobs[d]))})
	}
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return all
}

// manifest is Manifest for a caller that holds s.mu.
func (s *Server) manifest(repo, reference string) (d ocispec.Descriptor, raw []byte, ok bool) {
	r := s.repos[repo]
	if r == nil {
		return d, nil, false
	}
	dgst, tagged := r.tags[reference]
	if !tagged {
		dgst = digest.Digest(reference)
	}
	mediaType, ok := r.manifests[dgst]
	if !ok {
		return d, nil, false
	}
	raw = s.blobs[dgst]
	return ocispec.Descriptor{MediaType: mediaType, Digest: dgst, Size: int64(len(raw))}, raw, true
}
