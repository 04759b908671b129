package registrytest

import (
	"net/http"
	"strconv"
)

// QuotaLimit and QuotaWindow are what the registry says of its quota, see [Server.SetQuota].
const (
	QuotaLimit  = 100
	QuotaWindow = "21600" // seconds
)

// SetQuota lets the registry give so many manifests more, and then 429, in the way of Docker Hub: a GET of a manifest
// counts, HEAD and all else do not.
func (s *Server) SetQuota(left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = &left
}

// useQuota takes a request for a manifest off the quota and reports whether there was any left, or answers it.
func (s *Server) useQuota(w http.ResponseWriter, q *Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quota == nil {
		return true
	}
	counts := q.Method == http.MethodGet
	ok := !counts || *s.quota > 0
	if counts && ok {
		*s.quota--
	}
	w.Header().Set("RateLimit-Limit", strconv.Itoa(QuotaLimit)+";w="+QuotaWindow)
	w.Header().Set("RateLimit-Remaining", strconv.Itoa(*s.quota)+";w="+QuotaWindow)
	return ok
}
