package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ferry-oci/ferry/oci"
)

const (
	maxErrorBody    = 64 << 10 // bytes of an error answer that are read
	maxErrorMessage = 8 << 10  // bytes of it that are kept
)

// Error codes of the distribution specification that the client decides on.
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	codeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	codeDenied              = "DENIED"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeNotFound            = "NOT_FOUND" // of Harbor
	codeUnauthorized        = "UNAUTHORIZED"
	codeUnsupported         = "UNSUPPORTED"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
)

// ErrPlainHTTP comes back when a host that was spoken to in https answers in plain http.
var ErrPlainHTTP = errors.New("speaks plain http, not https")

// Error is the answer of a registry that did not do what it was asked. It is an [oci.ErrNotFound] or an
// [oci.ErrDenied] when its status or its code says so.
type Error struct {
	Host    string // that answered, host[:port]
	Method  string
	URL     string // without query and user
	Status  int    // of HTTP
	Code    string // the first one of the answer, such as MANIFEST_UNKNOWN; may be empty
	Message string // of the registry, at most 8 KiB of printable text; may be empty
}

func (e *Error) Error() string {
	switch {
	case e.Status == http.StatusNotFound && e.Code == codeManifestUnknown:
		return fmt.Sprintf("%s has no %s: no such tag or digest (404 %s)", e.Host, e.object(), e.Code)
	case e.Status == http.StatusNotFound && e.Code == codeNameUnknown && e.Method == http.MethodPost:
		return fmt.Sprintf("%s has no repository %s (404 %s)", e.Host, e.Repository(), e.Code)
	case e.Status == http.StatusNotFound && e.Code == codeNameUnknown:
		return fmt.Sprintf("%s has no %s: no such repository (404 %s)", e.Host, e.object(), e.Code)
	}
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// object returns the path of the URL behind /v2/, which says what was asked for.
func (e *Error) object() string {
	if _, path, ok := strings.Cut(e.URL, "/v2/"); ok {
		return path
	}
	return e.URL
}

// Repository returns the path of the repository that the request was about; empty when it was about none.
func (e *Error) Repository() string {
	_, path, ok := strings.Cut(e.URL, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(path, part); ok && i > 0 {
			return path[:i]
		}
	}
	return ""
}

func (e *Error) Is(target error) bool {
	switch target {
	case oci.ErrNotFound:
		switch e.Code {
		case codeNameUnknown, codeManifestUnknown, codeBlobUnknown:
			return true
		}
		return e.Status == http.StatusNotFound && e.Code != codeBlobUploadUnknown
	case oci.ErrIncomplete:
		return e.Code == codeManifestBlobUnknown || e.lacksChild()
	case oci.ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden ||
			e.Code == codeUnauthorized || e.Code == codeDenied
	}
	return false
}

// lacksChild reports whether a Harbor refused an index because a manifest is not there that it lists.
func (e *Error) lacksChild() bool {
	return e.Method == http.MethodPut && e.Status == http.StatusNotFound && e.Code == codeNotFound &&
		strings.Contains(e.URL, "/manifests/")
}

// CertificateError comes back when the certificate of a host is not trusted.
type CertificateError struct {
	Host     string
	Subject  string // whom the certificate is for
	Issuer   string // who signed it: the authority to trust, if one wants to
	NotAfter time.Time
	Expired  bool   // the certificate is out of date, or not valid yet
	Proxy    string // host:port of the proxy by which the host was reached; empty is none
	Err      error
}

func (e *CertificateError) Error() string {
	return fmt.Sprintf("%s: certificate of %q, issued by %q, is not trusted: %v", e.Host, e.Subject, e.Issuer, e.Err)
}

func (e *CertificateError) Unwrap() error { return e.Err }

// ClientCertificateError comes back when a host wants a client certificate and got none, or none that it takes.
type ClientCertificateError struct {
	Host string
	Err  error
}

func (e *ClientCertificateError) Error() string {
	return fmt.Sprintf("%s: the client certificate: %v", e.Host, e.Err)
}
func (e *ClientCertificateError) Unwrap() error { return e.Err }

// UnreachableError comes back when there was no connection to a host: it has no address, refuses, or does not answer.
type UnreachableError struct {
	Host string
	Err  error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("%s: no connection: %v", e.Host, e.Err) }
func (e *UnreachableError) Unwrap() error { return e.Err }

// TokenServerError comes back when the token server that a registry names does not do its part.
type TokenServerError struct {
	Host   string // the registry
	Server string // the token server's host[:port]; empty when what the registry names is refused
	Err    error  // an [*Error] when the token server refuses us
}

func (e *TokenServerError) Error() string {
	return fmt.Sprintf("%s: its token server: %v", e.Host, e.Err)
}

// Unwrap returns the error of the token server, unless it says that there is no such thing: that is no word on what the
// registry was asked for.
func (e *TokenServerError) Unwrap() error {
	if errors.Is(e.Err, oci.ErrNotFound) {
		return nil
	}
	return e.Err
}

// statusError reads and closes the answer resp and returns it as an [*Error].
func statusError(resp *http.Response) error {
	defer resp.Body.Close()
	e := &Error{Method: resp.Request.Method, URL: cleanURL(resp.Request.URL), Host: resp.Request.URL.Host, Status: resp.StatusCode}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil { // the status tells enough
		return e
	}
	var body struct {
		Errors []struct {
			Code    string          `json:"code"`
			Message string          `json:"message"`
			Detail  json.RawMessage `json:"detail"`
		} `json:"errors"`
	}
	if json.Unmarshal(raw, &body) != nil || len(body.Errors) == 0 {
		e.Message = printable(string(raw))
		return e
	}
	e.Code = printable(body.Errors[0].Code)
	var parts []string
	for i, item := range body.Errors {
		text := item.Message
		if i > 0 {
			text = item.Code + ": " + text
		}
		if detail := string(item.Detail); detail != "" && detail != "null" && detail != "{}" {
			text += " " + detail
		}
		parts = append(parts, text)
	}
	e.Message = printable(strings.Join(parts, "; "))
	return e
}

// printable returns what a terminal can show of s, in one line of at most maxErrorMessage bytes.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s[:min(len(s), maxErrorBody)])
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxErrorMessage {
		s = strings.ToValidUTF8(s[:maxErrorMessage], "") + "..."
	}
	return s
}

// authError is cleanError for what an [auth.Client] returns. What ends the request itself is a [*url.Error]; all else has
// happened on the way to a credential or a token.
func (h *host) authError(req *http.Request, err error) error {
	clean := h.cleanError(req, err)
	var cred *credentialError
	if _, own := err.(*url.Error); own || req.Context().Err() != nil || errors.As(err, &cred) || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return clean
	}
	e := &TokenServerError{Host: h.name, Err: clean}
	var answer *errcode.ErrorResponse
	var wrapped *url.Error
	if errors.As(err, &answer) {
		e.Server = answer.URL.Host
	} else if errors.As(err, &wrapped) {
		if u, perr := url.Parse(wrapped.URL); perr == nil {
			e.Server = u.Host
		}
	}
	return e
}

// cleanError turns what came instead of an answer to req into an error that names the host and holds no secret.
func (h *host) cleanError(req *http.Request, err error) error {
	asked, what := req.URL, req.Method+" "+cleanURL(req.URL)
	if ctx := req.Context(); ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	var wrapped *url.Error // its text has the whole URL, which may be that of a token server or of a redirection
	if errors.As(err, &wrapped) {
		if u, perr := url.Parse(wrapped.URL); perr == nil && u.Host != "" {
			asked, what = u, strings.ToUpper(wrapped.Op)+" "+cleanURL(u)
		}
		err = wrapped.Err
	}
	addr := asked.Host
	var token *errcode.ErrorResponse
	var cred *credentialError
	var verification *tls.CertificateVerificationError
	var quota *QuotaError
	proxy := h.proxyFor(asked)
	if refused, ok := asProxyError(err, addr, proxy); ok {
		return refused
	}
	switch {
	case errors.As(err, &quota):
		return quota
	case errors.As(err, &token):
		return tokenError(token)
	case errors.As(err, &cred):
		return fmt.Errorf("%s: %w", h.name, cred)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return &Error{
			Host: addr, Method: req.Method, URL: cleanURL(req.URL), Status: http.StatusUnauthorized,
			Message: "the registry asks for a user name and a password, and none is known",
		}
	case errors.As(err, &verification):
		return certificateError(addr, proxy, verification)
	case wantsCertificate(err):
		return &ClientCertificateError{Host: addr, Err: err}
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: %w", addr, ErrPlainHTTP)
	case isDial(err):
		return &UnreachableError{Host: addr, Err: err}
	}
	return fmt.Errorf("%s: %w", what, cleanText(err))
}

// tokenError is the answer of a token server as an [*Error].
func tokenError(resp *errcode.ErrorResponse) error {
	e := &Error{Host: resp.URL.Host, Method: resp.Method, URL: cleanURL(resp.URL), Status: resp.StatusCode}
	if len(resp.Errors) > 0 {
		e.Code, e.Message = printable(resp.Errors[0].Code), printable(resp.Errors[0].Message)
	}
	return e
}

// wantsCertificate reports whether the other side broke off because of our certificate, or because there was none. Such
// an alert of TLS has no type of its own.
func wantsCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate")
}

func certificateError(addr, proxy string, err *tls.CertificateVerificationError) error {
	e := &CertificateError{Host: addr, Proxy: proxy, Err: err.Err}
	if len(err.UnverifiedCertificates) > 0 {
		leaf := err.UnverifiedCertificates[0]
		e.Subject, e.Issuer, e.NotAfter = printable(leaf.Subject.String()), printable(leaf.Issuer.String()), leaf.NotAfter
	}
	var invalid x509.CertificateInvalidError
	e.Expired = errors.As(err.Err, &invalid) && invalid.Reason == x509.Expired
	return e
}

// cleanURL returns u without what may be secret in it.
func cleanURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// query finds the query of a URL in a text, or that of a path.
var query = regexp.MustCompile(`(/[^\s"?]*)\?[^\s"]*`)

// cleanText returns err with the queries of all URLs taken out of its text.
func cleanText(err error) error {
	text := err.Error()
	if clean := query.ReplaceAllString(text, "$1"); clean != text {
		return &cleaned{text: clean, err: err}
	}
	return err
}

// cleaned is an error whose text has been changed.
type cleaned struct {
	text string
	err  error
}

func (e *cleaned) Error() string { return e.text }
func (e *cleaned) Unwrap() error { return e.err }
