package registry

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestProxyRules(t *testing.T) {
	rules := func(no string) ProxyRules {
		return ProxyRules{HTTP: "plain.proxy:3128", HTTPS: "http://secure.proxy:3129", No: no}
	}
	for _, tc := range []struct {
		name  string
		rules ProxyRules
		url   string
		want  string // the proxy; empty is none
	}{
		{"https", rules(""), "https://quay.io/v2/", "secure.proxy:3129"},
		{"plain http, and a proxy without a scheme", rules(""), "http://quay.io/v2/", "plain.proxy:3128"},
		{"none for https", ProxyRules{HTTP: "p:1"}, "https://quay.io/", ""},
		{"socks", ProxyRules{HTTPS: "socks5://s:1080"}, "https://quay.io/", "s:1080"},
		{"loopback by address", rules(""), "https://127.0.0.1:5000/", ""},
		{"loopback by name", rules(""), "http://localhost:5000/", ""},
		{"loopback in IPv6", rules(""), "http://[::1]:5000/", ""},
		{"all direct", rules("*"), "https://quay.io/", ""},

		{"in a network", rules("10.0.0.0/8"), "https://10.1.2.3:8443/", ""},
		{"in a network written from within", rules("10.9.8.7/8"), "https://10.1.2.3/", ""},
		{"outside of a network", rules("10.0.0.0/8"), "https://11.1.2.3/", "secure.proxy:3129"},
		{"in a network of IPv6", rules("fd00::/8"), "https://[fd12::1]/", ""},
		{"a name is in no network", rules("0.0.0.0/0"), "https://harbor.corp/", "secure.proxy:3129"},
		{"second of a list with spaces", rules("a.b, 192.168.0.0/16"), "https://192.168.7.1/", ""},

		{"address", rules("10.1.2.3"), "https://10.1.2.3:8443/", ""},
		{"address with its port", rules("10.1.2.3:8443"), "https://10.1.2.3:8443/", ""},
		{"address with another port", rules("10.1.2.3:8443"), "https://10.1.2.3/", "secure.proxy:3129"},
		{"address of IPv6 with a port", rules("[fd12::1]:443"), "https://[fd12::1]/", ""},

		{"name", rules("harbor.corp"), "https://harbor.corp:8443/", ""},
		{"name in capitals", rules("Harbor.CORP"), "https://HARBOR.corp/", ""},
		{"name below it", rules("corp"), "https://harbor.corp/", ""},
		{"name that only ends so", rules("corp"), "https://harborcorp/", "secure.proxy:3129"},
		{"name with a dot: below it", rules(".corp"), "https://harbor.corp/", ""},
		{"name with a dot: not itself", rules(".corp"), "https://corp/", "secure.proxy:3129"},
		{"name with a star", rules("*.corp"), "https://harbor.corp/", ""},
		{"name with its port, which https implies", rules("harbor.corp:443"), "https://harbor.corp/", ""},
		{"name with another port", rules("harbor.corp:80"), "https://harbor.corp/", "secure.proxy:3129"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			proxy, err := tc.rules.Proxy()
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			got, err := proxy(&http.Request{URL: u})
			if err != nil {
				t.Fatal(err)
			}
			host := ""
			if got != nil {
				host = got.Host
			}
			if host != tc.want {
				t.Errorf("%s goes by %q, want %q", tc.url, host, tc.want)
			}
		})
	}
}

func TestProxyRulesOfTheEnvironment(t *testing.T) {
	env := map[string]string{"HTTPS_PROXY": "a:1", "https_proxy": "b:1", "http_proxy": "c:1", "no_proxy": "d"}
	got := ProxyRulesFrom(func(name string) string { return env[name] })
	if want := (ProxyRules{HTTPS: "a:1", HTTP: "c:1", No: "d"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProxyThatIsNone(t *testing.T) {
	for _, s := range []string{"ftp://ann:hunter2@p:1", "http://ann:hunter2@", "http://ann:hunter2@p:port", "ann:hunter2 x"} {
		_, err := ProxyRules{HTTPS: s}.Proxy()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// proxied returns a registry with TLS that is example.com:443 behind the proxy that o describes, a client that trusts it
// and goes by the proxy, and the proxy.
func proxied(t *testing.T, o registrytest.ProxyOptions, user *url.Userinfo) (*registrytest.Server, *Client, *registrytest.Proxy) {
	t.Helper()
	srv := registrytest.New(t, registrytest.Options{TLS: true, RedirectBlobs: true})
	o.Routes = map[string]string{"example.com:443": srv.Host()}
	proxy := registrytest.NewProxy(t, o)
	by := url.URL{Scheme: "http", Host: proxy.Host(), User: user}
	find, err := ProxyRules{HTTPS: by.String()}.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
		return HostOptions{Proxy: find, CAs: []*x509.Certificate{srv.CA()}}
	}})
	return srv, c, proxy
}

func TestProxyServesTheRegistry(t *testing.T) {
	const user, password = "ann", testPassword
	srv, c, proxy := proxied(t, registrytest.ProxyOptions{Username: user, Password: password}, url.UserPassword(user, password))
	raw, _ := content(1000)
	d := srv.AddBlob("a", raw)
	has, err := c.Has(t.Context(), oci.Repository{Host: "example.com", Path: "a"}, d)
	if err != nil || !has {
		t.Fatalf("has it: %v, %v", has, err)
	}
	if got := proxy.Served(); !slices.Equal(got, []string{"example.com:443"}) {
		t.Errorf("the proxy served %q", got)
	}
}

func TestProxyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		user   *url.Userinfo
		host   string
		status int
		slept  int // pauses before a repetition
	}{
		{"without a password", nil, "example.com", 407, 0},
		{"with a wrong one", url.UserPassword("ann", testPassword+"x"), "example.com", 407, 0},
		{"a host that it cannot reach", url.UserPassword("ann", testPassword), "other.example", 502, retriesUnreached},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, _, proxy := proxied(t, registrytest.ProxyOptions{Username: "ann", Password: testPassword}, nil)
			by := url.URL{Scheme: "http", Host: proxy.Host(), User: tc.user}
			find, err := ProxyRules{HTTPS: by.String()}.Proxy()
			if err != nil {
				t.Fatal(err)
			}
			c, clock := newTestClient(t, srv, Options{Host: func(string) HostOptions { return HostOptions{Proxy: find} }})
			_, err = c.Resolve(t.Context(), oci.Reference{Repository: oci.Repository{Host: tc.host, Path: "a"}, Tag: "v1"})
			var refused *ProxyError
			if !errors.As(err, &refused) || refused.Status != tc.status || refused.Proxy != proxy.Host() {
				t.Fatalf("got %v", err)
			}
			checkErr(t, err, refused, tc.host, proxy.Host())
			if len(clock.slept) != tc.slept {
				t.Errorf("%d pauses, want %d", len(clock.slept), tc.slept)
			}
		})
	}
}

// Plain http is not connected but forwarded, so the answer of the proxy comes in the place of the registry's.
func TestProxyRefusesPlainHTTP(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	proxy := registrytest.NewProxy(t, registrytest.ProxyOptions{
		Routes: map[string]string{"plain.example": srv.Host()}, Username: "ann", Password: testPassword,
	})
	resolve := func(user *url.Userinfo) error {
		find, err := ProxyRules{HTTP: (&url.URL{Scheme: "http", Host: proxy.Host(), User: user}).String()}.Proxy()
		if err != nil {
			t.Fatal(err)
		}
		c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
			return HostOptions{Proxy: find, Scheme: SchemeHTTP}
		}})
		_, err = c.Tagged(t.Context(), oci.Repository{Host: "plain.example", Path: "a"}, "v1")
		return err
	}
	var refused *ProxyError
	if err := resolve(nil); !errors.As(err, &refused) || refused.Status != 407 || refused.Proxy != proxy.Host() {
		t.Errorf("without a password: %v", err)
	}
	if err := resolve(url.UserPassword("ann", testPassword)); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("with the password: %v", err)
	}
}

func TestProxyThatIsNotThere(t *testing.T) {
	for _, scheme := range []string{"http", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			find, err := ProxyRules{HTTPS: scheme + "://ann:" + testPassword + "@127.0.0.1:1"}.Proxy()
			if err != nil {
				t.Fatal(err)
			}
			srv := registrytest.New(t, registrytest.Options{})
			c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions { return HostOptions{Proxy: find} }})
			_, err = c.Tagged(t.Context(), oci.Repository{Host: "example.com", Path: "a"}, "v1")
			var refused *ProxyError
			if !errors.As(err, &refused) || refused.Status != 0 {
				t.Fatalf("got %v", err)
			}
			checkErr(t, err, refused, "example.com", "no connection to the proxy 127.0.0.1:1")
		})
	}
}

func TestProxyThatInspectsTLS(t *testing.T) {
	corp := registrytest.NewAuthority(t, "Corp Inspection CA")
	srv, c, proxy := proxied(t, registrytest.ProxyOptions{Inspect: corp}, nil)
	repo := oci.Repository{Host: "example.com", Path: "a"}
	_, err := c.Tagged(t.Context(), repo, "v1")
	var untrusted *CertificateError
	if !errors.As(err, &untrusted) {
		t.Fatalf("got %v", err)
	}
	if untrusted.Issuer != "CN=Corp Inspection CA" || untrusted.Proxy != proxy.Host() || untrusted.Host != "example.com" {
		t.Errorf("got %+v", untrusted)
	}

	find, err := ProxyRules{HTTPS: proxy.Host()}.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	trusting, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
		return HostOptions{Proxy: find, CAs: []*x509.Certificate{corp.CA()}}
	}})
	if _, err := trusting.Tagged(t.Context(), repo, "v1"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("with the CA of the proxy: %v", err)
	}
}
