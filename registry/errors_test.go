package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestStatusError(t *testing.T) {
	long := strings.Repeat("long ", 20_000)
	for name, test := range map[string]struct {
		status        int
		body          string
		code, message string
		is            []error
	}{
		"manifest unknown": {
			404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"v1"}}]}`,
			"MANIFEST_UNKNOWN", `manifest unknown {"Tag":"v1"}`,
			[]error{oci.ErrNotFound},
		},
		"blob unknown with an odd status": {
			400, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, "BLOB_UNKNOWN", "", []error{oci.ErrNotFound},
		},
		"name unknown": {
			404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, "NAME_UNKNOWN", "", []error{oci.ErrNotFound},
		},
		"a blob of the manifest unknown": {
			400, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`, "MANIFEST_BLOB_UNKNOWN", "", []error{oci.ErrIncomplete},
		},
		"upload unknown": {
			404, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`, "BLOB_UPLOAD_UNKNOWN", "", nil,
		},
		"unauthorized": {401, ``, "", "", []error{oci.ErrDenied}},
		"denied": {
			403, `{"errors":[{"code":"DENIED","message":"no"}]}`, "DENIED", "no", []error{oci.ErrDenied},
		},
		"two errors": {
			400, `{"errors":[{"code":"A","message":"a"},{"code":"B","message":"b","detail":null}]}`, "A", "a; B: b", nil,
		},
		"text of a proxy": {
			502, "<html>\n  <b>Bad\x1b[31m gateway</b>\r\n</html>", "", "<html> <b>Bad[31m gateway</b> </html>", nil,
		},
		"escapes in the code":   {400, `{"errors":[{"code":"A\u001b[0m","message":"b"}]}`, "A[0m", "b", nil},
		"long text":             {500, long, "", long[:maxErrorMessage] + "...", nil},
		"JSON of something":     {500, `{"errors":"x"}`, "", `{"errors":"x"}`, nil},
		"JSON without an error": {500, `{"errors":[]}`, "", `{"errors":[]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := url.Parse("https://robot:hunter2@registry.example/v2/a/manifests/v1?token=hunter2")
			err := statusError(&http.Response{
				StatusCode: test.status, Body: io.NopCloser(strings.NewReader(test.body)),
				Request: &http.Request{Method: "GET", URL: u},
			})
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("got %T", err)
			}
			if got.Status != test.status || got.Code != test.code || got.Message != test.message {
				t.Errorf("got %d %q %.100q", got.Status, got.Code, got.Message)
			}
			text := got.Error()
			if !strings.Contains(text, "registry.example") || !strings.Contains(text, "a/manifests/v1: ") ||
				strings.Contains(text, "hunter2") {
				t.Errorf("text %.200q", text)
			}
			for _, sentinel := range []error{oci.ErrNotFound, oci.ErrDenied, oci.ErrCorrupt, oci.ErrIncomplete} {
				want := false
				for _, is := range test.is {
					want = want || is == sentinel
				}
				if errors.Is(err, sentinel) != want {
					t.Errorf("is %v: got %v", sentinel, !want)
				}
			}
		})
	}
}

// open asks for some blob of the host, which is not there.
func open(c *Client, host string) error {
	_, d := content(3)
	_, err := c.Open(context.Background(), oci.Repository{Host: host, Path: "a/b"}, d, 0)
	return err
}

func TestCertificate(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{TLS: true})
	for name, test := range map[string]struct {
		o       HostOptions
		trusted bool
	}{
		"unknown authority": {HostOptions{Scheme: SchemeHTTPS}, false},
		"known authority":   {HostOptions{Scheme: SchemeHTTPS, CAs: []*x509.Certificate{srv.CA()}}, true},
		"not verified":      {HostOptions{InsecureSkipVerify: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			srv.ResetCounts()
			c, clock := newTestClient(t, srv, Options{Host: func(string) HostOptions { return test.o }})
			err := open(c, srv.Host())
			if test.trusted {
				checkErr(t, err, oci.ErrNotFound)
				return
			}
			var certificate *CertificateError
			if !errors.As(err, &certificate) {
				t.Fatalf("got error %v", err)
			}
			if certificate.Host != srv.Host() || !strings.Contains(certificate.Issuer, "Acme Co") ||
				!strings.Contains(certificate.Subject, "Acme Co") || certificate.Expired || certificate.NotAfter.IsZero() {
				t.Errorf("got %+v", certificate)
			}
			checkErr(t, err, err, srv.Host(), "Acme Co")
			if clock.total() > 0 || srv.Count("", "") > 0 {
				t.Error("tried again")
			}
		})
	}
}

func TestScheme(t *testing.T) {
	plain := registrytest.New(t, registrytest.Options{})
	secure := registrytest.New(t, registrytest.Options{TLS: true})
	for name, test := range map[string]struct {
		srv *registrytest.Server
		o   HostOptions
		is  error
	}{
		"loopback":             {plain, HostOptions{}, oci.ErrNotFound},
		"http":                 {plain, HostOptions{Scheme: SchemeHTTP}, oci.ErrNotFound},
		"https to http":        {plain, HostOptions{Scheme: SchemeHTTPS}, ErrPlainHTTP},
		"insecure finds http":  {plain, HostOptions{InsecureSkipVerify: true}, oci.ErrNotFound},
		"insecure finds https": {secure, HostOptions{InsecureSkipVerify: true}, oci.ErrNotFound},
		"insecure https does not go back": {
			plain, HostOptions{InsecureSkipVerify: true, Scheme: SchemeHTTPS}, ErrPlainHTTP,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, clock := newTestClient(t, test.srv, Options{Host: func(string) HostOptions { return test.o }})
			checkErr(t, open(c, test.srv.Host()), test.is, test.srv.Host())
			if clock.total() > 0 {
				t.Error("tried again")
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for host, retries := range map[string]int{addr: retriesUnreached, "registry.invalid": 0} {
		c := newClient(Options{}, newFakeClock().clock())
		n := 0
		c.opts.Events = func(Event) { n++ }
		err := open(c, host)
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Host != host || !strings.Contains(err.Error(), host) {
			t.Errorf("%s: got error %v", host, err)
		}
		// The resolver of some networks has an answer for names that do not exist, or none at all.
		if n != retries && host == addr {
			t.Errorf("%s: tried %d times again, want %d", host, n, retries)
		}
	}
}

func TestCredentials(t *testing.T) {
	errLocked := errors.New("keyring is locked")
	raw, d := content(3000)
	good := Credential{Username: testUser, Password: testPassword}
	for name, test := range map[string]struct {
		cred Credential
		err  error
		is   error
		says string
	}{
		"right":          {cred: good},
		"none":           {is: oci.ErrDenied},
		"wrong":          {cred: Credential{Username: testUser, Password: testPassword + "x"}, is: oci.ErrDenied},
		"cannot be read": {err: errLocked, is: errLocked, says: "locked"},
	} {
		for _, scheme := range []registrytest.Auth{registrytest.Basic, registrytest.Bearer} {
			t.Run(name, func(t *testing.T) {
				srv := registrytest.New(t, registrytest.Options{Auth: scheme, Username: testUser, Password: testPassword})
				srv.AddBlob("a/b", raw)
				var asked []oci.Repository
				c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
					return HostOptions{Credential: func(_ context.Context, repo oci.Repository) (Credential, error) {
						asked = append(asked, repo)
						return test.cred, test.err
					}}
				}})
				for range 2 {
					_, err := readAll(c, repoOf(srv, "a/b"), d)
					checkErr(t, err, test.is, srv.Host(), test.says)
				}
				if len(asked) == 0 || asked[0] != repoOf(srv, "a/b") {
					t.Errorf("asked for %v", asked)
				}
				if test.is == nil {
					checkCounts(t, srv, map[string]int{"GET blob": 3})
					if len(asked) != 1 {
						t.Errorf("asked %d times", len(asked))
					}
				}
			})
		}
	}
}

// Harbor answers so when there is no such project.
func TestUnauthorizedWithoutChallenge(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	body := `{"errors":[{"code":"UNAUTHORIZED","message":"project nope not found"}]}`
	srv.Fault(registrytest.Match{}, registrytest.Status(401, body, "Www-Authenticate", ""))
	c, _ := newTestClient(t, srv, Options{})
	_, d := content(3)
	err := c.Push(context.Background(), repoOf(srv, "nope/x"), d, (&opener{raw: []byte("abc")}).Open)
	checkErr(t, err, oci.ErrDenied, "project nope not found")
}

func TestErrorsNameTokenServer(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword})
	for name, fault := range map[string]registrytest.Fault{
		"500": registrytest.Status(500, "oops"), "dropped": registrytest.Drop(false), "no JSON": registrytest.Status(200, "x"),
		"no token": registrytest.Status(200, "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			srv.ClearFaults()
			srv.Fault(registrytest.Match{Kind: registrytest.Token}, fault)
			c, _ := newTestClient(t, srv, Options{Retries: -1})
			err := open(c, srv.Host())
			if err == nil {
				t.Fatal("no error")
			}
			checkErr(t, err, err, srv.Host(), "/token")
			if strings.Contains(err.Error(), "?") {
				t.Errorf("error %q has a query", err)
			}
		})
	}
}

func TestUserAgent(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Bearer, Username: testUser, Password: testPassword,
		RedirectBlobs: true, Location: registrytest.OtherHost,
	})
	raw, d := content(3000)
	c, _ := newTestClient(t, srv, Options{UserAgent: "ferry/test"})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	_, err := readAll(c, repoOf(srv, "a/b"), d)
	checkErr(t, err, nil)
	for _, q := range srv.Requests() {
		if q.UserAgent != "ferry/test" {
			t.Errorf("%s %s came from %q", q.Method, q.Kind, q.UserAgent)
		}
	}
}

func TestParseCAs(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{TLS: true})
	good := string(srv.CAPEM())
	key := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	bad := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for name, test := range map[string]struct {
		text string
		n    int
	}{
		"one": {good, 1}, "two with text and a key": {"my CA\n" + good + key + good, 2},
		"none": {"hello", 0}, "empty": {"", 0}, "only a key": {key, 0}, "one that cannot be read": {good + bad, 0},
	} {
		cas, err := ParseCAs([]byte(test.text))
		if len(cas) != test.n || (err == nil) != (test.n > 0) {
			t.Errorf("%s: got %d certificates and error %v", name, len(cas), err)
		}
	}
}

func TestAPIAddr(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io",
		"quay.io": "quay.io", "localhost:5000": "localhost:5000",
	} {
		if got := apiAddr(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestKnownScheme(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:5000": "http", "127.9.9.9": "http", "localhost": "http", "localhost:5000": "http", "[::1]:5000": "http",
		"registry.localhost": "http", "quay.io": "https", "10.0.0.1:5000": "https", "localhost.example": "https",
		"127.0.0.1.example": "https",
	} {
		if got := knownScheme(addr, HostOptions{}); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

func TestNoHost(t *testing.T) {
	checkErr(t, open(NewClient(Options{}), ""), errNoHost)
}

// A client that follows a redirect from https to http would show the content of an upload to others.
func TestUploadDoesNotLeaveHTTPS(t *testing.T) {
	own, _ := url.Parse("https://registry.example:8443/v2/a/blobs/uploads/")
	for location, want := range map[string]string{
		"/up":                             "https://registry.example:8443/up",
		"next?x=1%2F2":                    "https://registry.example:8443/v2/a/blobs/uploads/next?x=1%2F2",
		"http://registry.example/up":      "https://registry.example:8443/up",
		"http://registry.example:80/up":   "https://registry.example:8443/up",
		"http://registry.example:8443/up": "https://registry.example:8443/up",
		"http://REGISTRY.example/up":      "https://registry.example:8443/up",
		"https://storage.example/up":      "https://storage.example/up",
		"http://registry.example:8080/up": "",
		"http://storage.example/up":       "",
		"http://registry.example.evil/up": "",
		"":                                "",
		"http://[::1":                     "",
	} {
		u := &upload{h: &host{addr: own.Host}}
		err := u.follow(&http.Response{Header: http.Header{"Location": {location}}, Request: &http.Request{URL: own}})
		if (err != nil) != (want == "") || err == nil && u.location.String() != want {
			t.Errorf("%q: got %v and error %v, want %q", location, u.location, err, want)
		}
	}
}

func TestErrorSaysWhatIsNotThere(t *testing.T) {
	for name, test := range map[string]struct {
		err  Error
		want string
	}{
		"tag": {
			Error{Host: "r.io", Method: "GET", URL: "https://r.io/v2/a/manifests/v1", Status: 404, Code: "MANIFEST_UNKNOWN"},
			"r.io has no a/manifests/v1: no such tag or digest (404 MANIFEST_UNKNOWN)",
		},
		"repository": {
			Error{Host: "r.io", Method: "GET", URL: "https://r.io/v2/a/manifests/v1", Status: 404, Code: "NAME_UNKNOWN"},
			"r.io has no a/manifests/v1: no such repository (404 NAME_UNKNOWN)",
		},
		"repository to push to": {
			Error{Host: "r.io", Method: "POST", URL: "https://r.io/v2/a/blobs/b/blobs/uploads/", Status: 404, Code: "NAME_UNKNOWN"},
			"r.io has no repository a/blobs/b (404 NAME_UNKNOWN)",
		},
		"something else": {
			Error{Host: "r.io", Method: "PUT", URL: "https://r.io/v2/a/manifests/v1", Status: 404, Code: "BLOB_UNKNOWN"},
			"PUT https://r.io/v2/a/manifests/v1: 404 Not Found: BLOB_UNKNOWN",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.err.Error(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
