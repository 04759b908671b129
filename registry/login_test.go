package registry

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// refusesWrongPasswords is a registry that lets everybody in but those with a wrong password.
func refusesWrongPasswords(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, given := r.BasicAuth(); given && password != testPassword {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestCheckLogin(t *testing.T) {
	basic := registrytest.Options{Auth: registrytest.Basic, Username: testUser, Password: testPassword}
	bearer := registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword}
	anyone := registrytest.Options{Wrap: refusesWrongPasswords}
	absent := registrytest.Options{Wrap: func(http.Handler) http.Handler { return http.NotFoundHandler() }}
	for _, tc := range []struct {
		name     string
		o        registrytest.Options
		password string
		asked    bool
		want     error
	}{
		{"basic", basic, testPassword, true, nil},
		{"basic, wrong password", basic, testPassword + "x", true, oci.ErrDenied},
		{"bearer", bearer, testPassword, true, nil},
		{"bearer, wrong password", bearer, testPassword + "x", true, oci.ErrDenied},
		{"everybody", anyone, testPassword, false, nil},
		{"everybody, wrong password", anyone, testPassword + "x", false, oci.ErrDenied},
		{"no registry", absent, testPassword, false, oci.ErrNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := registrytest.New(t, tc.o)
			c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
				return HostOptions{Credential: func(context.Context, oci.Repository) (Credential, error) {
					return Credential{Username: testUser, Password: tc.password}, nil
				}}
			}})
			asked, err := c.CheckLogin(t.Context(), srv.Host())
			if asked != tc.asked {
				t.Errorf("asked %v", asked)
			}
			checkErr(t, err, tc.want)
		})
	}
}

func TestTokenServerThatIsNotThere(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(headerChallenge, `Bearer realm="http://127.0.0.1:1/service/token?x=hush",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
	}})
	c, _ := newTestClient(t, srv, Options{})
	_, err := c.Tagged(t.Context(), repoOf(srv, "a"), "v1")
	var server *TokenServerError
	var unreachable *UnreachableError
	if !errors.As(err, &server) || !errors.As(err, &unreachable) {
		t.Fatalf("got %v", err)
	}
	if server.Host != srv.Host() || server.Server != "127.0.0.1:1" {
		t.Errorf("got %+v", server)
	}
	checkErr(t, err, server, srv.Host()+": its token server: 127.0.0.1:1: no connection")
}

// A page that is not there in the place of a token server does not say that an image is missing.
func TestTokenServerOfAnotherPath(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword})
	srv.Fault(registrytest.Match{Kind: registrytest.Token}, registrytest.Status(http.StatusNotFound, "no such page"))
	c, _ := newTestClient(t, srv, Options{})
	_, err := c.Tagged(t.Context(), repoOf(srv, "a"), "v1")
	var server *TokenServerError
	if !errors.As(err, &server) || errors.Is(err, oci.ErrNotFound) || errors.Is(err, oci.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

// A token that is kept in place of a password buys the tokens for the repositories.
func TestIdentityToken(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{Auth: registrytest.Bearer, IdentityToken: "identity-1"})
	raw, _ := content(1000)
	d := srv.AddBlob("a", raw)
	for _, tc := range []struct {
		token string
		want  error
	}{{"identity-1", nil}, {"identity-0", oci.ErrDenied}} {
		c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
			return HostOptions{Credential: func(context.Context, oci.Repository) (Credential, error) {
				return Credential{Username: "00000000-0000-0000-0000-000000000000", RefreshToken: tc.token}, nil
			}}
		}})
		has, err := c.Has(t.Context(), repoOf(srv, "a"), d)
		checkErr(t, err, tc.want)
		if has != (tc.want == nil) {
			t.Errorf("%s: has it: %v", tc.token, has)
		}
	}
}
