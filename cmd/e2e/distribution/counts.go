package distribution

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// CountsPath answers GET with [Counts] in JSON, for those who see the registry from another process; DELETE resets them.
// Neither is counted.
const CountsPath = "/-/counts"

// Counts tell what a registry was asked for.
type Counts struct {
	// Requests counts requests by method and kind, such as "GET blob", "HEAD manifest", "POST upload". The kinds are
	// blob, manifest, upload, tags, referrers, catalog, base (GET /v2/), token and other.
	Requests map[string]int `json:"requests"`
	// Mounts counts the uploads that ended at once because the registry mounted the blob from another repository.
	Mounts int `json:"mounts"`
	// BytesIn and BytesOut are bytes of request and response bodies.
	BytesIn  int64 `json:"bytesIn"`
	BytesOut int64 `json:"bytesOut"`
	// Fetched maps digests to the bytes that GETs of that blob or manifest were answered with. A blob that was fetched
	// once, whole or in parts, counts its size.
	Fetched map[string]int64 `json:"fetched"`
	// Gets maps the references of blobs and manifests, digests and tags, to the number of GETs.
	Gets map[string]int `json:"gets"`
	// Stored maps digests to the number of uploads of that blob that the registry took.
	Stored map[string]int `json:"stored"`
	// Received maps digests to the bytes that uploads of that blob brought, whether or not the registry took them. An
	// upload is known by the digest that some request of its session named.
	Received map[string]int64 `json:"received"`
}

// Uploads returns the number of requests that carried or might have carried content of a blob.
func (c Counts) Uploads() int {
	return c.Requests["PUT upload"] + c.Requests["PATCH upload"]
}

type counters struct {
	mu       sync.Mutex
	c        Counts
	sessions map[string]*session // by the path of the upload, of all that there ever were
}

// session is one upload. Its digest stands in the last request, at the latest.
type session struct {
	digest string
	n      int64 // bytes since the reset
}

func newCounters() *counters {
	c := &counters{sessions: map[string]*session{}}
	c.reset()
	return c
}

func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c = Counts{Requests: map[string]int{}, Fetched: map[string]int64{}, Gets: map[string]int{}, Stored: map[string]int{}}
	for _, s := range c.sessions {
		s.n = 0
	}
}

func (c *counters) snapshot() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.c
	s.Requests, s.Fetched, s.Stored = maps.Clone(s.Requests), maps.Clone(s.Fetched), maps.Clone(s.Stored)
	s.Gets = maps.Clone(s.Gets)
	s.Received = map[string]int64{}
	for _, u := range c.sessions {
		if u.digest != "" && u.n > 0 {
			s.Received[u.digest] += u.n
		}
	}
	return s
}

// serve answers with the counts.
func (c *counters) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.snapshot())
}

// wrap counts what next is asked and what it answers. A request is counted when it has ended, aborted or not.
func (c *counters) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := &countingBody{ReadCloser: r.Body}
		out := &countingWriter{ResponseWriter: w}
		asked := *r // handlers may change r
		defer func() { c.add(&asked, out.status, in.n, out.n) }()
		r.Body = in
		next.ServeHTTP(out, r)
	})
}

// add counts a request and the bytes of the bodies.
func (c *counters) add(r *http.Request, status int, in, out int64) {
	kind, reference := kindOf(r.URL.Path)
	query := r.URL.Query()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Requests[r.Method+" "+kind]++
	c.c.BytesIn += in
	if r.Method != http.MethodHead { // whose answers are written, but never sent
		c.c.BytesOut += out
	}
	if kind == "upload" && reference != "" {
		u := c.sessions[r.URL.Path]
		if u == nil {
			u = &session{}
			c.sessions[r.URL.Path] = u
		}
		u.n += in
		u.digest = cmp.Or(query.Get("digest"), u.digest)
	}
	switch {
	case r.Method == http.MethodPost && query.Has("mount") && status == http.StatusCreated:
		c.c.Mounts++
	case r.Method == http.MethodPut && kind == "upload" && status == http.StatusCreated:
		c.c.Stored[query.Get("digest")]++
	case r.Method == http.MethodGet && (kind == "blob" || kind == "manifest"):
		c.c.Gets[reference]++
		if strings.HasPrefix(reference, "sha256:") {
			c.c.Fetched[reference] += out
		}
	}
}

// KindOf returns the kind of a request, as in [Counts].
func KindOf(r *http.Request) string {
	kind, _ := kindOf(r.URL.Path)
	return kind
}

// kindOf tells what the path of a request names, and the tag or digest at its end.
func kindOf(path string) (kind, reference string) {
	switch path {
	case "/v2/":
		return "base", ""
	case "/v2/_catalog":
		return "catalog", ""
	case tokenPath:
		return "token", ""
	}
	for _, k := range []struct{ mark, kind string }{
		{"/blobs/uploads/", "upload"},
		{"/blobs/", "blob"},
		{"/manifests/", "manifest"},
		{"/referrers/", "referrers"},
		{"/tags/", "tags"},
	} {
		if i := strings.LastIndex(path, k.mark); i >= 0 && strings.HasPrefix(path, "/v2/") {
			return k.kind, path[i+len(k.mark):]
		}
	}
	return "other", ""
}

type countingBody struct {
	io.ReadCloser
	n int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}

type countingWriter struct {
	http.ResponseWriter
	n      int64
	status int
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

// ReadFrom lets the server copy with the buffers that it keeps for that.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.n += n
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
