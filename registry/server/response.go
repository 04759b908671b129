package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// response is an answer that knows what became of it.
type response struct {
	http.ResponseWriter
	status int   // 0 until it is sent
	bytes  int64 // of the body
	user   string
	digest digest.Digest
	err    error
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// send answers with raw, whose Content-Type the caller has set.
func (w *response) send(r *http.Request, status int, raw []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := w.Write(raw); err != nil {
		return errClientGone
	}
	return nil
}

// sendJSON answers with v.
func (w *response) sendJSON(r *http.Request, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	return w.send(r, http.StatusOK, append(raw, '\n'))
}

// Error codes of the distribution specification, and some of CNCF distribution for what that has none for.
const (
	codeBlobUnknown      = "BLOB_UNKNOWN"
	codeDigestInvalid    = "DIGEST_INVALID"
	codeManifestUnknown  = "MANIFEST_UNKNOWN"
	codeNameInvalid      = "NAME_INVALID"
	codeNameUnknown      = "NAME_UNKNOWN"
	codeNotFound         = "NOT_FOUND"
	codePaginationNumber = "PAGINATION_NUMBER_INVALID"
	codeRangeInvalid     = "RANGE_INVALID"
	codeUnauthorized     = "UNAUTHORIZED"
	codeUnknown          = "UNKNOWN"
	codeUnsupported      = "UNSUPPORTED"
)

// failure is an answer that tells why there is none.
type failure struct {
	status  int
	code    string
	message string
	detail  any   // may be nil
	err     error // what failed here; nil when the client is wrong
}

func (f *failure) Error() string { return fmt.Sprintf("%d %s: %s", f.status, f.code, f.message) }

// errClientGone ends an answer that the client does not take.
var errClientGone = errors.New("the client went away")

// errReadOnly is the answer to all that would write.
func errReadOnly(method string) error {
	return &failure{
		status: http.StatusMethodNotAllowed, code: codeUnsupported,
		message: fmt.Sprintf("this registry is read-only, it does not take %s", method),
	}
}

// unreadable is the answer when content cannot be read because of err.
func unreadable(err error) *failure {
	f := &failure{status: http.StatusInternalServerError, code: codeUnknown, message: err.Error(), err: err}
	if errors.Is(err, oci.ErrNotFound) {
		f.status, f.code = http.StatusNotFound, codeBlobUnknown
	}
	return f
}

// write sends the failure as the specification wants it.
func (f *failure) write(w *response, r *http.Request) {
	h := w.Header()
	for _, name := range []string{"ETag", "Docker-Content-Digest", "Cache-Control", "Accept-Ranges", "Last-Modified"} {
		h.Del(name) // of what is not sent
	}
	if f.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD")
		h.Set("Connection", "close") // and what the client wants to send is not read
	}
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	raw, err := json.Marshal(map[string][]entry{"errors": {{f.code, f.message, f.detail}}})
	if err != nil { // of a detail that is no JSON
		raw = []byte("{}")
	}
	h.Set("Content-Type", "application/json")
	_ = w.send(r, f.status, append(raw, '\n')) // nobody is left to be told
}
