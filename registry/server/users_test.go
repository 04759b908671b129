package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/server"
)

// htpasswd is as `htpasswd -B -C 4` writes it: ada has the password secret, bob the empty one.
const htpasswd = `# who may read
ada:$2y$04$KlDIh0K91g5m1S.23vmhmej5YXfbjSvZ9lSMB/GjWEA8uBqKQ3lZK

bob:$2y$04$I653aI16I7us885pPIwsaeciynIInR.AS1ehBIHHHkymkj2XcTglC
`

func TestUsers(t *testing.T) {
	users, err := server.ParseUsers("users", strings.NewReader(htpasswd))
	if err != nil {
		t.Fatal(err)
	}
	g := ocitest.MultiArch(1, "app")
	shelf, _ := newShelf(t, "a", held{name: "quay.io/x/app:1", graph: g})
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	s := serve(t, server.Options{Users: users, Page: page}, shelf)
	for _, path := range []string{"/", "/v2/", "/v2/x/app/manifests/1", "/v2/x/app/blobs/" + g.Children[0].Blobs[0].Digest.String()} {
		for _, tc := range []struct {
			name, user, password string
			status               int
		}{
			{"nobody", "", "", 401},
			{"right", "ada", "secret", 200},
			{"right again", "ada", "secret", 200},
			{"wrong password", "ada", "Secret", 401},
			{"no password", "ada", "", 401},
			{"an empty password", "bob", "", 200},
			{"a password that is too long", "ada", strings.Repeat("x", 100), 401},
			{"unknown user", "eve", "secret", 401},
		} {
			a := s.askAs(t, path, tc.user, tc.password)
			if a.StatusCode != tc.status {
				t.Errorf("%s, %s: %d, want %d", path, tc.name, a.StatusCode, tc.status)
			}
			if tc.status != 401 {
				continue
			}
			if a.code(t) != "UNAUTHORIZED" || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s, %s: %s, %v", path, tc.name, a.body, a.Header)
			}
		}
	}
	for _, r := range s.requests() {
		if (r.User != "") != (r.Status == http.StatusOK) {
			t.Errorf("logged %q with %d", r.User, r.Status)
		}
	}
}

// askAs sends a GET with user and password unless the user is empty.
func (s *served) askAs(t *testing.T, path, user, password string) answer {
	t.Helper()
	if user == "" {
		return s.ask(t, http.MethodGet, path)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	return s.ask(t, http.MethodGet, path, "Authorization", req.Header.Get("Authorization"))
}

func TestParseUsersRefuses(t *testing.T) {
	_, err := server.ParseUsers("users", strings.NewReader(strings.Join([]string{
		"ada:secret", "bob:$apr1$nI4Zi8pG$a0Oi8W0uUfXSn3gXQ9nUB/", "carl", ":$2y$04$", "eve:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
		"dora:$2y$31$rWlIfAj9iMzmHe.PLAPQVuCkCKFUdVvfHdFVRLB7PtkoqGXmYDqaK",
	}, "\n")))
	for _, want := range []string{
		`users:1: user "ada": the hash is not of bcrypt`, `users:2: user "bob"`, "users:3: USER:HASH", "users:4: USER:HASH",
		`users:5: user "eve"`, `users:6: user "dora": a bcrypt cost of 31`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, which lacks %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("%v tells a password", err)
	}
	for _, text := range []string{"", "# nobody\n"} {
		if _, err := server.ParseUsers("users", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "no user in it") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
