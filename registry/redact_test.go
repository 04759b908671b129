package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestRedact(t *testing.T) {
	const password = "can/ary+7&f"
	withBasic := func(r *http.Request) { r.SetBasicAuth("ada", password) }
	for _, tc := range []struct {
		name    string
		url     string
		prepare func(*http.Request)
		answer  string
		want    string
	}{
		{"a password", "http://h/v2/", withBasic, "no such password: can/ary+7&f!", "no such password: ***!"},
		{"a password in JSON", "http://h/v2/", withBasic, `{"m":"can/ary+7\u0026f"}`, `{"m":"***"}`},
		{"a password in a URL", "http://h/v2/", withBasic, "p=can%2Fary%2B7%26f", "p=***"},
		{"the header", "http://h/v2/", withBasic, "Authorization: Basic YWRhOmNhbi9hcnkrNyZm", "Authorization: Basic ***"},
		{
			"a token", "http://h/v2/", func(r *http.Request) { r.Header.Set("Authorization", "Bearer abcd.efgh") },
			"token abcd.efgh is too old", "token *** is too old",
		},
		{
			"a header for a mirror", "http://h/v2/", func(r *http.Request) { r.Header.Set("X-Key", "canary-2"); r.Header.Set("Accept", "text/plain") },
			"X-Key canary-2, Accept text/plain", "X-Key ***, Accept text/plain",
		},
		{
			"the signature of an address", "http://s3/blob?X-Amz-Signature=00ff00ff&X-Amz-Date=20260101", nil,
			"<Sig>00ff00ff</Sig> of 20260101", "<Sig>***</Sig> of ***",
		},
		{"what is no secret", "http://h/token?scope=repository:a:pull&service=reg&n=1000", nil, "repository:a:pull, 1000", "repository:a:pull, 1000"},
		{"a short one", "http://h/v2/?x=on", nil, "no connection", "no connection"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.prepare != nil {
				tc.prepare(req)
			}
			resp := &http.Response{StatusCode: 403, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tc.answer))}
			redact(req, resp)
			if raw, err := io.ReadAll(resp.Body); err != nil || string(raw) != tc.want {
				t.Errorf("got %q, %v, want %q", raw, err, tc.want)
			}
		})
	}
}

// The form by which an identity token buys an access token.
func TestRedactForm(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "http://h/token", strings.NewReader("grant_type=refresh_token&refresh_token=canary-1&service=reg"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp := &http.Response{StatusCode: 401, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("refresh_token canary-1 of reg"))}
	redact(req, resp)
	if raw, _ := io.ReadAll(resp.Body); string(raw) != "refresh_token *** of reg" {
		t.Errorf("got %q", raw)
	}
}

// A place that cannot be read is not repeated with its query.
func TestRedirectThatCannotBeRead(t *testing.T) {
	for _, location := range []string{"/v2/%zz?signature=canary-1", "http://s3.example/%zz?signature=canary-1", "http://s3.example:port/a?signature=canary-1"} {
		srv := registrytest.New(t, registrytest.Options{})
		raw, _ := content(100)
		d := srv.AddBlob("a", raw)
		srv.Fault(registrytest.Match{Kind: registrytest.Blob}, registrytest.Status(http.StatusTemporaryRedirect, "", "Location", location))
		var told []string
		c, _ := newTestClient(t, srv, Options{Events: func(e Event) { told = append(told, e.Why.Error()) }})
		_, err := readAll(c, repoOf(srv, "a"), d)
		if err == nil {
			t.Fatal("the blob was read")
		}
		srv.Fault(registrytest.Match{Kind: registrytest.Upload}, registrytest.Status(http.StatusAccepted, "", "Location", location))
		pushErr := c.Push(t.Context(), repoOf(srv, "b"), d, (&opener{raw: raw}).Open)
		if pushErr == nil {
			t.Fatal("the blob was pushed")
		}
		if text := err.Error() + pushErr.Error() + strings.Join(told, "; "); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", location, text)
		}
	}
}
