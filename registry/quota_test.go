package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// counting is a registry with one manifest and a quota.
type counting struct {
	*registrytest.Server
	d   oci.Descriptor
	raw []byte
}

func newCounting(t *testing.T, left int) *counting {
	h := &counting{raw: []byte(`{"schemaVersion":2}`), Server: registrytest.New(t, registrytest.Options{})}
	h.d = h.AddManifest("a/b", oci.MediaTypeDockerManifest, h.raw)
	h.Tag("a/b", "v1", h.d.Digest)
	h.SetQuota(left)
	return h
}

func (h *counting) read(c *Client) error {
	r, err := c.Open(context.Background(), repoOf(h.Server, "a/b"), h.d, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, h.raw) {
		return errors.New("other content")
	}
	return err
}

// What is used up is not asked for again, by nobody, while what does not count goes on.
func TestQuotaIsNotBurned(t *testing.T) {
	h := newCounting(t, 1)
	c, clock := newTestClient(t, h.Server, Options{})
	checkErr(t, h.read(c), nil)
	for range 3 {
		err := h.read(c)
		var quota *QuotaError
		if !errors.As(err, &quota) {
			t.Fatalf("got error %v", err)
		}
		checkErr(t, err, err, h.Host(), "0 of 100 left in 6h", "You have reached your")
	}
	checkCounts(t, h.Server, map[string]int{"GET manifest": 2})
	if _, err := c.Resolve(context.Background(), oci.Reference{Repository: repoOf(h.Server, "a/b"), Tag: "v1"}); err != nil {
		t.Errorf("HEAD, which does not count: %v", err)
	}
	if clock.total() != 0 {
		t.Errorf("waited %v", clock.total())
	}
	want := Quota{Limit: 100, Left: 0, Window: 6 * time.Hour, Counted: 1}
	if got := c.Quotas()[h.Host()]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	h.SetQuota(1)
	clock.sleep(context.Background(), 6*time.Hour)
	checkErr(t, h.read(c), nil)
}

// Where it is wanted, many that hit the end of the quota wait together, and one of them looks whether it has opened.
func TestQuotaIsWaitedFor(t *testing.T) {
	const n = 5
	h := newCounting(t, 1)
	c, clock := newTestClient(t, h.Server, Options{WaitQuota: true, Retries: -1})
	checkErr(t, h.read(c), nil)
	h.ResetCounts()
	polls := 0
	h.Fault(registrytest.Match{Method: "HEAD"}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if polls++; polls == 3 { // one at a time
				h.SetQuota(n)
			}
			next.ServeHTTP(w, r)
		})
	})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := h.read(c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if refused := h.Count("GET", registrytest.Manifest) - n; refused < 1 || refused > n { // those that were under way
		t.Errorf("%d were refused", refused)
	}
	checkCounts(t, h.Server, map[string]int{"HEAD manifest": 3})
	if got := c.Stats().Waited[h.Host()]; got != 3*quotaPoll || clock.total() != got {
		t.Errorf("waited %v and %v, want %v", got, clock.total(), 3*quotaPoll)
	}
}

func TestQuotaWaitIsCanceled(t *testing.T) {
	h := newCounting(t, 0)
	ctx, cancel := context.WithCancel(context.Background())
	c := NewClient(Options{WaitQuota: true, Events: func(Event) { cancel() }}) // with the real clock
	_, err := c.Open(ctx, repoOf(h.Server, "a/b"), h.d, 0)
	checkErr(t, err, context.Canceled)
}

// Docker Hub is named as references name it, and counts whether it says so or not; others only where they say so.
func TestQuotasByName(t *testing.T) {
	for name, test := range map[string]struct {
		host string
		says bool
		want map[string]Quota
	}{
		"Docker Hub":                  {"docker.io", true, map[string]Quota{"docker.io": {Limit: 100, Left: 36, Window: 6 * time.Hour, Counted: 1}}},
		"Docker Hub, unsaid":          {"docker.io", false, map[string]Quota{"docker.io": {Left: -1, Counted: 1}}},
		"another registry, that says": {"quay.example", true, map[string]Quota{"quay.example": {Limit: 100, Left: 36, Window: 6 * time.Hour, Counted: 1}}},
		"another registry":            {"quay.example", false, map[string]Quota{}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{TLS: true})
			raw := []byte(`{"schemaVersion":2}`)
			d := srv.AddManifest("a/b", oci.MediaTypeDockerManifest, raw)
			if test.says {
				srv.SetQuota(37)
			}
			c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions { return HostOptions{Scheme: SchemeHTTPS, InsecureSkipVerify: true} }})
			addr, err := net.ResolveTCPAddr("tcp", srv.Host())
			if err != nil {
				t.Fatal(err)
			}
			dialOnly(t, c, test.host, addr)
			from := oci.Repository{Host: test.host, Path: "a/b"}
			ref := oci.Reference{Repository: from, Digest: d.Digest}
			if _, err := c.Resolve(context.Background(), ref); err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(c, from, d); err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("got %q and error %v", got, err)
			}
			if got := c.Quotas(); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestIsQuota(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   bool
	}{
		"Docker Hub":              {status: 429, body: quotaText, want: true},
		"Docker Hub, to a HEAD":   {status: 429, header: map[string]string{"Ratelimit-Remaining": "0;w=21600"}, want: true},
		"some are left":           {status: 429, header: map[string]string{"Ratelimit-Remaining": "7;w=21600"}},
		"too fast":                {status: 429, body: "slow down"},
		"too fast, with a moment": {status: 429, header: map[string]string{"Ratelimit-Remaining": "0", "Retry-After": "30"}},
		"opens tomorrow":          {status: 429, header: map[string]string{"Ratelimit-Remaining": "0", "Retry-After": "80000"}, want: true},
		"tomorrow, and no number": {status: 429, header: map[string]string{"Retry-After": "80000"}, want: true},
		"no 429":                  {status: 200, body: quotaText},
	} {
		resp := &http.Response{StatusCode: test.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(test.body)))}
		for key, value := range test.header {
			resp.Header.Set(key, value)
		}
		if got := isQuota(resp, now); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
		if rest, _ := io.ReadAll(resp.Body); string(rest) != test.body {
			t.Errorf("%s: %q is left of the body", name, rest)
		}
	}
}

func TestParseQuota(t *testing.T) {
	for text, want := range map[string]struct {
		n      int
		window time.Duration
	}{"100;w=21600": {100, 6 * time.Hour}, "76": {76, 0}, " 5 ; w=60": {5, time.Minute}, "5;w=x": {5, 0}} {
		if n, window, ok := parseQuota(text); !ok || n != want.n || window != want.window {
			t.Errorf("%q: got %d, %v, %v", text, n, window, ok)
		}
	}
	for _, text := range []string{"", "-1", "x", ";w=5", "99999999999"} {
		if _, _, ok := parseQuota(text); ok {
			t.Errorf("%q: taken", text)
		}
	}
}

func TestQuotaString(t *testing.T) {
	for want, q := range map[string]Quota{
		"37 of 100 left in 6h": {Limit: 100, Left: 37, Window: 6 * time.Hour},
		"0 of 5 left in 10m":   {Limit: 5, Window: 10 * time.Minute},
		"1 left in 1m30s":      {Left: 1, Window: 90 * time.Second},
		"0 left":               {},
		"":                     {Limit: 100, Left: -1},
	} {
		if got := q.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
