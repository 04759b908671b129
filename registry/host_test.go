package registry

import (
	"errors"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// A proxy that does not do its part is no reason to try plain http past it.
func TestProbeByAProxyThatRefuses(t *testing.T) {
	find, err := ProxyRules{HTTPS: "127.0.0.1:1"}.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	srv := registrytest.New(t, registrytest.Options{})
	c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
		return HostOptions{Proxy: find, InsecureSkipVerify: true}
	}})
	dialOnly(t, c, "example.com:80", listener(srv.Host()))
	_, err = c.Tagged(t.Context(), oci.Repository{Host: "example.com", Path: "a"}, "v1")
	var refused *ProxyError
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if n := len(srv.Requests()); n > 0 {
		t.Errorf("%d requests without the proxy", n)
	}
}

func TestHostOptionsThatAreWrong(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	wrong, asked := errors.New("ca.crt: no certificate in it"), 0
	c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions { asked++; return HostOptions{Err: wrong} }})
	for range 2 {
		if _, err := c.Tagged(t.Context(), repoOf(srv, "a"), "v1"); !errors.Is(err, wrong) {
			t.Errorf("got %v", err)
		}
	}
	if n := len(srv.Requests()); n > 0 || asked != 1 {
		t.Errorf("%d requests, and the options were asked for %d times", n, asked)
	}
}
