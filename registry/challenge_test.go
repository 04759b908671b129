package registry

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
)

func TestChooseChallenge(t *testing.T) {
	for want, all := range map[string][]string{
		"":                  nil,
		"Negotiate":         {"Negotiate"},
		`Basic realm="x"`:   {"Negotiate", `Basic realm="x"`},
		`Bearer realm="y"`:  {`Basic realm="x"`, `Bearer realm="y"`},
		`basic realm="low"`: {`Digest realm="d"`, `basic realm="low"`},
	} {
		if got := chooseChallenge(all); got != want {
			t.Errorf("%q: got %q, want %q", all, got, want)
		}
	}
}

func TestRaiseRealm(t *testing.T) {
	for _, tc := range []struct{ name, asked, realm, want string }{
		{"same host", "https://harbor.lan/v2/", "http://harbor.lan/service/token", "https://harbor.lan/service/token"},
		{"same host on another port", "https://harbor.lan:8443/v2/", "http://harbor.lan/service/token", "https://harbor.lan:8443/service/token"},
		{"its own port is kept", "https://harbor.lan/v2/", "http://harbor.lan:8080/t", "https://harbor.lan:8080/t"},
		{"another host", "https://harbor.lan/v2/", "http://auth.lan/t", "http://auth.lan/t"},
		{"asked in plain http", "http://harbor.lan/v2/", "http://harbor.lan/t", "http://harbor.lan/t"},
		{"https already", "https://harbor.lan/v2/", "https://harbor.lan/t", "https://harbor.lan/t"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked, err := url.Parse(tc.asked)
			if err != nil {
				t.Fatal(err)
			}
			got := raiseRealm(`Bearer realm="`+tc.realm+`",service="s"`, asked)
			if want := `Bearer realm="` + tc.want + `",service="s"`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// A registry on a private address names its token server by another name on a private address, as a Harbor does that
// is reached by its address. The private address is dialled on loopback here.
func TestRealmOnPrivateAddress(t *testing.T) {
	for _, tc := range []struct {
		name, host, realm string
		blocked           bool
	}{
		{"a Harbor in the LAN", "10.20.30.40:8443", "http://192.168.7.7/service/token", false},
		{"on this machine by two names", "127.0.0.1:5000", "http://localhost:5001/token", false},
		{"behind NAT of the carrier", "harbor.lan", "http://100.64.0.9/token", false},
		{"the cloud's own service", "10.20.30.40:8443", "http://169.254.169.254/token", true},
		{"this machine, for a registry elsewhere", "10.20.30.40:8443", "http://127.0.0.1:9/token", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/token"):
					if user, password, _ := r.BasicAuth(); user != testUser || password != testPassword {
						t.Errorf("the token server got %q", user)
					}
					json.NewEncoder(w).Encode(map[string]string{"token": "token-x"})
				case r.Header.Get("Authorization") != "Bearer token-x":
					w.Header().Add(headerChallenge, "Negotiate")
					w.Header().Add(headerChallenge, `Bearer realm="`+tc.realm+`",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}))
			defer srv.Close()
			c := newClient(Options{Host: func(string) HostOptions {
				return HostOptions{Scheme: SchemeHTTP, Credential: func(context.Context, oci.Repository) (Credential, error) {
					return Credential{Username: testUser, Password: testPassword}, nil
				}}
			}}, newFakeClock().clock())
			dialOnly(t, c, tc.host, srv.Listener.Addr())
			_, err := c.Tagged(t.Context(), oci.Repository{Host: tc.host, Path: "a"}, "v1")
			if tc.blocked {
				if err == nil || !strings.Contains(err.Error(), "blocked prefix") {
					t.Errorf("got %v", err)
				}
				return
			}
			checkErr(t, err, oci.ErrNotFound)
		})
	}
}

// dialOnly makes all connections for the registry host go to addr, whatever they are meant for.
func dialOnly(t *testing.T, c *Client, host string, addr net.Addr) {
	t.Helper()
	h, err := c.host(host)
	if err != nil {
		t.Fatal(err)
	}
	transport := h.plain.Transport.(challenged).next.(*retrier).next.(*doorman).next.(*watcher).next.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr.String())
	}
}
