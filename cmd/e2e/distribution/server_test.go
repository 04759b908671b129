package distribution

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const content = "a blob"

var users = map[string]string{"ann": "secret"}

// start runs a registry until the test ends.
func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is an http client with an Authorization for every request.
type client struct {
	t    *testing.T
	auth string
	http http.Client

	mediaType string // of the body; none when empty
}

func (c *client) do(method, url string, body string) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	if c.mediaType != "" {
		req.Header.Set("Content-Type", c.mediaType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(got)
}

// pushAndPull moves content there and back.
func (c *client) pushAndPull(s *Server) {
	c.t.Helper()
	resp, body := c.do("POST", s.URL()+"/v2/a/b/blobs/uploads/", "")
	if resp.StatusCode != http.StatusAccepted {
		c.t.Fatalf("open upload: %s %s", resp.Status, body)
	}
	id := digest.FromString(content).String()
	resp, body = c.do("PUT", resp.Header.Get("Location")+"&digest="+id, content)
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("upload: %s %s", resp.Status, body)
	}
	if resp, body = c.do("GET", s.URL()+"/v2/a/b/blobs/"+id, ""); body != content {
		c.t.Fatalf("got %s %q, want %q", resp.Status, body, content)
	}
}

// token asks the token server that a 401 names.
func (c *client) token(s *Server, user, password string) (status int, token string) {
	c.t.Helper()
	resp, _ := c.do("GET", s.URL()+"/v2/a/b/tags/list", "")
	challenge := resp.Header.Get("Www-Authenticate")
	if want := `Bearer realm="` + s.URL() + `/token"`; !strings.HasPrefix(challenge, want) {
		c.t.Fatalf("challenge %q, want %q", challenge, want)
	}
	basic := http.Request{Header: http.Header{}}
	basic.SetBasicAuth(user, password)
	c.auth = basic.Header.Get("Authorization")
	resp, body := c.do("GET", s.URL()+tokenPath+"?service=x&scope=repository:a/b:pull,push", "")
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); resp.StatusCode == http.StatusOK && err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, answer.Token
}

func TestStorage(t *testing.T) {
	root := filepath.Join(t.TempDir(), "deep", "root")
	for name, opts := range map[string]Options{"memory": {}, "files": {Root: root}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, opts)
			(&client{t: t}).pushAndPull(s)
		})
	}
	hex := digest.FromString(content).Encoded()
	blob, err := os.ReadFile(filepath.Join(root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data"))
	if err != nil || string(blob) != content {
		t.Errorf("file of the blob: %q, %v", blob, err)
	}
}

func TestHtpasswd(t *testing.T) {
	s := start(t, Options{Users: users})
	if resp, _ := (&client{t: t}).do("GET", s.URL()+"/v2/", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without password: %s", resp.Status)
	}
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth("ann", "secret")
	(&client{t: t, auth: request.Header.Get("Authorization")}).pushAndPull(s)
}

func TestToken(t *testing.T) {
	s := start(t, Options{Users: users, TokenLifetime: time.Hour})
	c := &client{t: t}
	if status, _ := c.token(s, "ann", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("wrong password: status %d", status)
	}
	c.auth = ""
	_, token := c.token(s, "ann", "secret")
	c.auth = "Bearer " + token
	c.pushAndPull(s)
}

func TestTokenExpires(t *testing.T) {
	s := start(t, Options{Users: users, TokenLifetime: -2 * time.Second})
	c := &client{t: t}
	_, token := c.token(s, "ann", "secret")
	c.auth = "Bearer " + token
	if resp, _ := c.do("POST", s.URL()+"/v2/a/b/blobs/uploads/", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("expired token: %s", resp.Status)
	}
}

func TestTLS(t *testing.T) {
	s := start(t, Options{TLS: true})
	(&client{t: t, http: httpsClient(t, s)}).pushAndPull(s)
	if _, err := http.Get(s.URL() + "/v2/"); err == nil {
		t.Error("a client that does not know the CA was served")
	}
}

func TestMutualTLS(t *testing.T) {
	s := start(t, Options{MutualTLS: true})
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.CertDir(), "client.cert"), filepath.Join(s.CertDir(), "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	(&client{t: t, http: httpsClient(t, s, pair)}).pushAndPull(s)
	nobody := httpsClient(t, s)
	if _, err := nobody.Get(s.URL() + "/v2/"); err == nil {
		t.Error("a client without a certificate was served")
	}
}

// httpsClient returns a client that trusts the registry's CA.
func httpsClient(t *testing.T, s *Server, certificates ...tls.Certificate) http.Client {
	t.Helper()
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in the CA file")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates}}
	t.Cleanup(transport.CloseIdleConnections)
	return http.Client{Transport: transport}
}

func TestValidation(t *testing.T) {
	missing := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","size":5,"digest":"` +
		digest.FromString("absent").String() + `","platform":{"os":"linux","architecture":"amd64"}}`
	index := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + missing + `]}`
	layer := `{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","size":6,"digest":"` +
		digest.FromString(content).String() + `","urls":["https://example.com/layer"]}`
	config := `{"mediaType":"` + ocispec.MediaTypeImageConfig + `","size":6,"digest":"` + digest.FromString(content).String() + `"}`
	foreign := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + config +
		`,"layers":[` + layer + `]}`
	for _, test := range []struct {
		name, mediaType, manifest string
		opts                      Options
		want                      int
	}{
		{"index with a hole", ocispec.MediaTypeImageIndex, index, Options{}, http.StatusBadRequest},
		{"index with a hole, allowed", ocispec.MediaTypeImageIndex, index, Options{AnyIndex: true}, http.StatusCreated},
		{"foreign layer", ocispec.MediaTypeImageManifest, foreign, Options{}, http.StatusInternalServerError},
		{
			"foreign layer, allowed", ocispec.MediaTypeImageManifest, foreign,
			Options{AllowURLs: []string{"^https://example.com/"}},
			http.StatusCreated,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, test.opts)
			c := &client{t: t}
			c.pushAndPull(s)
			c.mediaType = test.mediaType
			if resp, body := c.do("PUT", s.URL()+"/v2/a/b/manifests/1", test.manifest); resp.StatusCode != test.want {
				t.Errorf("got %s %s, want %d", resp.Status, body, test.want)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	s := start(t, Options{})
	c := &client{t: t}
	c.pushAndPull(s)
	id := digest.FromString(content).String()
	c.do("HEAD", s.URL()+"/v2/a/b/blobs/"+id, "")
	c.do("POST", s.URL()+"/v2/c/d/blobs/uploads/?from=a/b&mount="+id, "")
	c.do("GET", s.URL()+"/v2/a/b/blobs/"+id, "")
	got := s.Counts()
	want := map[string]int{"POST upload": 2, "PUT upload": 1, "GET blob": 2, "HEAD blob": 1}
	if !maps.Equal(got.Requests, want) {
		t.Errorf("requests %v, want %v", got.Requests, want)
	}
	if got.Mounts != 1 || got.Uploads() != 1 || got.Stored[id] != 1 {
		t.Errorf("%d mounts, %d uploads, %d stored; want one of each", got.Mounts, got.Uploads(), got.Stored[id])
	}
	if want := int64(2 * len(content)); got.Fetched[id] != want || got.BytesIn != int64(len(content)) {
		t.Errorf("fetched %d bytes, want %d; took %d, want %d", got.Fetched[id], want, got.BytesIn, len(content))
	}
	if got.Received[id] != int64(len(content)) {
		t.Errorf("received %d bytes of the blob, want %d", got.Received[id], len(content))
	}
	var served Counts
	if _, body := c.do("GET", s.URL()+CountsPath, ""); json.Unmarshal([]byte(body), &served) != nil || served.Mounts != 1 {
		t.Errorf("counts over http: %s", body)
	}
	c.do("DELETE", s.URL()+CountsPath, "")
	if got := s.Counts(); len(got.Requests) != 0 || got.BytesOut != 0 {
		t.Errorf("after reset: %+v", got)
	}
}

func TestWrapInjectsFaults(t *testing.T) {
	s := start(t, Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/tags/list") {
				http.Error(w, "broken", http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	c := &client{t: t}
	c.pushAndPull(s)
	if resp, _ := c.do("GET", s.URL()+"/v2/a/b/tags/list", ""); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("got %s, want the fault", resp.Status)
	}
}
