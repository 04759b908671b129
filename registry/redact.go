package registry

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// mask stands in a server's text for what it repeats of a secret.
	mask = "***"
	// minSecret is the length of the shortest text that is masked, in bytes; a shorter one would take words apart.
	minSecret = 4
)

// publicParams are the parameters of queries and forms that hold no secret. Any other may: an address that an object
// store has signed has its signature there.
var publicParams = []string{
	"service", "scope", "account", "client_id", "grant_type", "access_type", "offline_token", // of token servers
	"digest", "mount", "from", "n", "last", "ns", "artifactType", // of the distribution API
	"q", "page", "page_size", "sort", "project_name", "with_tag", "with_label", "with_accessory", // of Harbor
}

// publicHeaders are the headers that hold no secret. Any other may: hosts.toml has some to be sent to a mirror.
var publicHeaders = []string{"Accept", "Content-Range", "Content-Type", "If-Range", "Range", "User-Agent"}

// redact takes out of a refusal what it repeats of the secrets of req. Some servers write the request that they refuse
// into their answer, and object stores the parts of a signed address.
func redact(req *http.Request, resp *http.Response) {
	if resp.StatusCode < http.StatusBadRequest || req.Method == http.MethodHead {
		return
	}
	secrets := secretsOf(req)
	if len(secrets) == 0 {
		return
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	for _, secret := range secrets {
		raw = bytes.ReplaceAll(raw, []byte(secret), []byte(mask))
	}
	rest := io.Reader(bytes.NewReader(raw))
	if err != nil {
		rest = io.MultiReader(rest, cutOff{err})
	}
	resp.Body = io.NopCloser(rest)
	resp.ContentLength = -1
	resp.Header = resp.Header.Clone()
	resp.Header.Del("Content-Length")
}

// cutOff is the end of a body that broke off.
type cutOff struct{ err error }

func (c cutOff) Read([]byte) (int, error) { return 0, c.err }

// secretsOf returns the texts in which the secrets of a request may be repeated, the longest first.
func secretsOf(req *http.Request) []string {
	var all []string
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	all = append(all, value)
	if strings.EqualFold(scheme, "basic") {
		if plain, err := base64.StdEncoding.DecodeString(value); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			all = append(all, password)
		}
	}
	for name, values := range req.Header {
		if name != "Authorization" && !slices.Contains(publicHeaders, name) {
			all = append(all, values...)
		}
	}
	all = append(all, secretParams(req.URL.RawQuery)...)
	if form := formOf(req); form != "" {
		all = append(all, secretParams(form)...)
	}
	var spelt []string
	for _, secret := range all {
		if len(secret) >= minSecret {
			quoted := strings.NewReplacer("&", `\u0026`, "<", `\u003c`, ">", `\u003e`).Replace(secret) // as JSON has them
			spelt = append(spelt, secret, url.QueryEscape(secret), url.PathEscape(secret), quoted)
		}
	}
	slices.SortFunc(spelt, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(spelt)
}

// secretParams returns the values of a query or a form that may be secret.
func secretParams(encoded string) []string {
	params, _ := url.ParseQuery(encoded) // what can be read of it
	var values []string
	for name, all := range params {
		if !slices.Contains(publicParams, name) {
			values = append(values, all...)
		}
	}
	return values
}

// formOf returns the form that a request has as its body, as those do that buy a token for another one.
func formOf(req *http.Request) string {
	if req.GetBody == nil || req.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return ""
	}
	body, err := req.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return ""
	}
	return string(raw)
}
