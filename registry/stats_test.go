package registry

import (
	"fmt"
	"io"
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
	if want := map[Reason]int{ReasonCut: 1, ReasonTooMany: 2, ReasonServer: 1}; !maps.Equal(s.Again, want) {
		t.Errorf("done again %v, want %v", s.Again, want)
	}
	if want := map[string]time.Duration{srv.Host(): time.Minute}; !maps.Equal(s.Waited, want) {
		t.Errorf("waited %v, want %v", s.Waited, want)
	}
}

func TestReasonOf(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want Reason
	}{
		"cut":          {io.ErrUnexpectedEOF, ReasonCut},
		"unreachable":  {&UnreachableError{Err: io.EOF}, ReasonCut},
		"stalled":      {fmt.Errorf("blob: %w", errStalled), ReasonStalled},
		"429":          {fmt.Errorf("blob: %w", &Error{Status: 429}), ReasonTooMany},
		"quota":        {&QuotaError{Err: &Error{Status: 429}}, ReasonTooMany},
		"503":          {&Error{Status: 503}, ReasonServer},
		"408":          {&Error{Status: 408}, ReasonServer},
		"session gone": {&Error{Status: 404, Code: codeBlobUploadUnknown}, ReasonRefused},
	} {
		if got := reasonOf(test.err); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}
