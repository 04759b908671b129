package registrytest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// maxUpload is the size of the largest blob that is taken, in bytes.
const maxUpload = 4 << 30

// session is an upload that has begun.
type session struct {
	repo  string
	data  []byte
	first int  // bytes of the first PATCH
	short bool // the last PATCH was too small for any but the last
}

// location returns where the session goes on. As in CNCF distribution it says how far the session is, so that it is good
// for one request only.
func (s *Server) location(repo, id string, size int) string {
	path := fmt.Sprintf("/v2/%s/blobs/uploads/%s?_state=%s", repo, id, state(id, size))
	switch s.o.Location {
	case Relative:
		return path
	case WrongScheme:
		return "http://" + s.Host() + path
	case OtherHost:
		return s.storage.URL + path
	}
	return s.main.URL + path
}

func state(id string, size int) string { return fmt.Sprintf("%s-%d%%3D", id, size) }

// ForgetAllUploads ends all upload sessions, as the restart of a registry does that keeps them in memory.
func (s *Server) ForgetAllUploads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.uploads)
}

// Uploads returns how many upload sessions are open.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// serveUpload opens upload sessions and fills them.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request, q *Request) {
	if r.Method == http.MethodPost && q.Ref == "" {
		s.openSession(w, q)
		return
	}
	up, size := s.session(q.Ref)
	if up == nil || up.repo != q.Repo || !strings.HasPrefix(r.URL.Query().Get("_state"), q.Ref+"-") {
		apiError(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		return
	}
	stale := r.URL.Query().Get("_state") != fmt.Sprintf("%s-%d=", q.Ref, size)
	switch {
	case s.o.WholeOnly && r.Method != http.MethodPut:
		apiError(w, http.StatusBadRequest, "UNSUPPORTED", "must use monolithic upload")
	case s.o.PatchOnly && r.Method == http.MethodPut && r.ContentLength != 0:
		apiError(w, http.StatusBadRequest, "UNSUPPORTED", "no content expected")
	case r.Method == http.MethodGet:
		s.sessionStatus(w, q, http.StatusNoContent, size, size)
	case s.o.MaxBody > 0 && r.ContentLength > s.o.MaxBody:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, "<html><h1>413 Request Entity Too Large</h1></html>")
	case stale:
		apiError(w, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", "invalid content range")
	case r.Method == http.MethodPatch:
		s.patchUpload(w, r, q, up, size)
	case r.Method == http.MethodPut:
		s.putUpload(w, r, q, up)
	default:
		apiError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
	}
}

func (s *Server) openSession(w http.ResponseWriter, q *Request) {
	s.mu.Lock()
	s.nextID++
	id := "upload-" + strconv.Itoa(s.nextID)
	s.uploads[id] = &session{repo: q.Repo}
	s.mu.Unlock()
	w.Header().Set("Location", s.location(q.Repo, id, 0))
	w.Header().Set("Range", "0-0")
	if s.o.ChunkMinLength > 0 {
		w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(s.o.ChunkMinLength, 10))
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *Server) dropSession(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
}

// session returns a session, or nil, and how many bytes it has. The request before may still be at work on it, for nobody.
func (s *Server) session(id string) (up *session, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if up = s.uploads[id]; up != nil {
		size = len(up.data)
	}
	return up, size
}

// sessionStatus says that the session, which has size bytes, has so many.
func (s *Server) sessionStatus(w http.ResponseWriter, q *Request, status, size, said int) {
	w.Header().Set("Location", s.location(q.Repo, q.Ref, size))
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, said-1)))
	w.WriteHeader(status)
}

func (s *Server) patchUpload(w http.ResponseWriter, r *http.Request, q *Request, up *session, before int) {
	if header := r.Header.Get("Content-Range"); header != "" {
		first, _, _ := strings.Cut(header, "-")
		if first != strconv.Itoa(before) {
			apiError(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "out of order")
			return
		}
		if s.o.MaxPatch > 0 && r.ContentLength > s.o.MaxPatch {
			apiError(w, http.StatusRequestedRangeNotSatisfiable, "REQUESTED_RANGE_NOT_SATISFIABLE", "chunk too large")
			return
		}
	}
	s.mu.Lock()
	short := up.short
	s.mu.Unlock()
	if short {
		apiError(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "the chunk before was too small")
		return
	}
	size, ok := s.receive(w, r, q, up)
	if !ok {
		return
	}
	status, said := http.StatusAccepted, size
	s.mu.Lock()
	up.short = int64(size-before) < s.o.ChunkMinLength
	if up.first == 0 {
		up.first = size
	}
	if s.o.StickyRange {
		status, said = http.StatusCreated, up.first
	}
	s.mu.Unlock()
	s.sessionStatus(w, q, status, size, said)
}

func (s *Server) putUpload(w http.ResponseWriter, r *http.Request, q *Request, up *session) {
	if _, ok := s.receive(w, r, q, up); !ok {
		return
	}
	s.dropSession(q.Ref)
	d := digest.Digest(r.URL.Query().Get("digest"))
	if d.Validate() != nil || d.Algorithm().FromBytes(up.data) != d {
		apiError(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	}
	s.mu.Lock()
	s.blobs[d] = up.data
	s.repo(q.Repo).blobs[d] = true
	s.mu.Unlock()
	s.created(w, q.Repo, d)
}

func (s *Server) created(w http.ResponseWriter, repo string, d digest.Digest) {
	s.setDigest(w, d)
	w.Header().Set("Location", "/v2/"+repo+"/blobs/"+d.String())
	w.WriteHeader(http.StatusCreated)
}

// receive appends the request's body to the session, and returns how many bytes that has now. False means that the
// answer is given.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, q *Request, up *session) (size int, ok bool) {
	if r.ContentLength > maxUpload {
		apiError(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "blob too large")
		return 0, false
	}
	var got []byte
	var err error
	if r.ContentLength >= 0 {
		buf := make([]byte, r.ContentLength)
		var n int
		n, err = io.ReadFull(r.Body, buf)
		got = buf[:n]
	} else {
		got, err = io.ReadAll(io.LimitReader(r.Body, maxUpload))
	}
	s.mu.Lock()
	s.taken += int64(len(got))
	if len(up.data) == 0 { // mostly: no copy
		up.data = got
	} else {
		up.data = append(up.data, got...)
	}
	size = len(up.data)
	s.mu.Unlock()
	if err == nil {
		return size, true
	}
	if s.o.ForgetUploads {
		s.dropSession(q.Ref)
	}
	panic(http.ErrAbortHandler) // nobody is there to answer to
}

// serveMount gives a repository a blob of another one, or opens a session when it cannot.
func (s *Server) serveMount(w http.ResponseWriter, r *http.Request, q *Request) {
	d, from := digest.Digest(q.Ref), r.URL.Query().Get("from")
	if _, ok := s.Blob(from, d); !ok || s.o.NoMount {
		s.openSession(w, q)
		return
	}
	s.mu.Lock()
	s.repo(q.Repo).blobs[d] = true
	s.mu.Unlock()
	s.created(w, q.Repo, d)
}
