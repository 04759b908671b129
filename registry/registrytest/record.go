package registrytest

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Kind is what a request is about.
type Kind string

const (
	Ping      Kind = "ping"
	Blob      Kind = "blob"
	Upload    Kind = "upload" // POST opens a session, PATCH and PUT fill it
	Mount     Kind = "mount"
	Manifest  Kind = "manifest"
	Tags      Kind = "tags"
	Catalog   Kind = "catalog"
	Referrers Kind = "referrers"
	Token     Kind = "token"
	Storage   Kind = "storage" // anything on the storage host
	Other     Kind = "other"
)

// Request is one that the registry got.
type Request struct {
	Method        string
	Kind          Kind
	Repo          string
	Ref           string // tag, digest, or the id of an upload session
	Query         string // of requests for a list
	Range         string // the header
	ContentRange  string // the header
	Length        int64  // of the body; -1 when it was not said
	Authorization string // the header
	UserAgent     string
	Status        int // of the answer; 0 when the connection was cut before
}

// parse tells what the request is about.
func parse(r *http.Request) *Request {
	q := &Request{
		Method: r.Method, Kind: Other, Range: r.Header.Get("Range"),
		ContentRange: r.Header.Get("Content-Range"), Length: r.ContentLength,
		Authorization: r.Header.Get("Authorization"), UserAgent: r.UserAgent(),
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case r.URL.Path == tokenPath:
		q.Kind = Token
		return q
	case !ok:
		return q
	case path == "":
		q.Kind = Ping
		return q
	case path == "_catalog":
		q.Kind, q.Query = Catalog, r.URL.RawQuery
		return q
	}
	if repo, ok := strings.CutSuffix(path, "/tags/list"); ok {
		q.Kind, q.Repo, q.Query = Tags, repo, r.URL.RawQuery
		return q
	}
	for _, part := range []struct {
		sep  string
		kind Kind
	}{{"/blobs/uploads/", Upload}, {"/blobs/", Blob}, {"/manifests/", Manifest}, {"/referrers/", Referrers}} {
		if i := strings.LastIndex(path, part.sep); i > 0 {
			q.Kind, q.Repo, q.Ref = part.kind, path[:i], path[i+len(part.sep):]
			break
		}
	}
	if q.Kind == Upload && q.Method == http.MethodPost && r.URL.Query().Has("mount") {
		q.Kind, q.Ref = Mount, r.URL.Query().Get("mount")
	}
	return q
}

// Requests returns all requests so far, in the order in which they came.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.records))
	for i, r := range s.records {
		list[i] = *r
	}
	return list
}

// Count returns the number of requests so far; an empty method or kind stands for any.
func (s *Server) Count(method string, kind Kind) int {
	n := 0
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && (kind == "" || r.Kind == kind) {
			n++
		}
	}
	return n
}

// ResetCounts forgets the requests so far, and how many bytes were sent and came in.
func (s *Server) ResetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = nil
	clear(s.sent)
	s.taken = 0
}

// BytesSent returns how many bytes of a blob were sent, all requests together.
func (s *Server) BytesSent(d digest.Digest) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[d]
}

// BytesReceived returns how many bytes of uploads came in, those of cut ones too.
func (s *Server) BytesReceived() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// record notes a request and returns a writer that notes the answer's status.
func (s *Server) record(w http.ResponseWriter, q *Request) http.ResponseWriter {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, q)
	return &recorder{ResponseWriter: w, s: s, q: q}
}

type recorder struct {
	http.ResponseWriter
	s *Server
	q *Request
}

func (w *recorder) WriteHeader(status int) {
	w.s.mu.Lock()
	w.q.Status = status
	w.s.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
