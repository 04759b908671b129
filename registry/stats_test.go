package registry

import (
	"maps"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestStats(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{IgnoreRange: true})
	raw, d := content(1000)
	srv.AddBlob("a", raw)
	c, _ := newTestClient(t, srv, Options{})
	if s := c.Stats(); s.Retries+s.Resumed != 0 || s.Waited != nil || s.Twice != 0 {
		t.Errorf("before anything: %+v", s)
	}
	srv.Fault(registrytest.Match{Times: 1}, registrytest.Status(502, "bad gateway"))
	srv.Fault(registrytest.Match{Times: 2}, registrytest.TooManyRequests(30))
	srv.Fault(registrytest.Match{Times: 1}, registrytest.Cut(10))
	_, err := readAll(c, repoOf(srv, "a"), d)
	checkErr(t, err, nil)
	s := c.Stats()
	if s.Retries != 3 || s.Resumed != 1 || s.Twice != 10 {
		t.Errorf("got %+v", s)
	}
	if want := map[string]time.Duration{srv.Host(): time.Minute}; !maps.Equal(s.Waited, want) {
		t.Errorf("waited %v, want %v", s.Waited, want)
	}
}
