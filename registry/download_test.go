package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

const quotaText = `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit."}]}`

func TestOpenGetsOverFaults(t *testing.T) {
	const size = 100_000
	raw, d := content(size)
	get := registrytest.Match{Method: "GET", Kind: registrytest.Blob}
	times := func(n int) registrytest.Match { m := get; m.Times = n; return m }
	clockStart := newFakeClock().now()
	for name, test := range map[string]struct {
		o      registrytest.Options
		match  registrytest.Match
		fault  registrytest.Fault
		gets   int
		ranges []string      // that were asked for, from the second request on
		waited time.Duration // at least
	}{
		"nothing wrong": {gets: 1},
		"cut once": {
			match: times(1), fault: registrytest.Cut(1000), gets: 2, ranges: []string{"bytes=1000-"},
		},
		"cut before the first": {match: times(1), fault: registrytest.Cut(0), gets: 2, ranges: []string{""}},
		"cut before the last": {
			match: times(1), fault: registrytest.Cut(size - 1), gets: 2, ranges: []string{"bytes=99999-"},
		},
		"cut more than it retries": {match: times(9), fault: registrytest.Cut(10_000), gets: 10},
		"cut, ranges ignored": {
			o: registrytest.Options{IgnoreRange: true}, match: times(1), fault: registrytest.Cut(1000),
			gets: 2, ranges: []string{"bytes=1000-"},
		},
		"dropped without an answer": {match: times(2), fault: registrytest.Drop(false), gets: 3},
		"500 twice": {
			match: times(2), fault: registrytest.Status(500, "oops"), gets: 3, waited: time.Second,
		},
		"502, 503, 504 come as one": {match: times(4), fault: registrytest.Status(502, "bad gateway"), gets: 5},
		"503 without a pause":       {match: times(1), fault: registrytest.Status(503, "down"), gets: 2},
		"429 with seconds": {
			match: times(2), fault: registrytest.TooManyRequests(7), gets: 3, waited: 14 * time.Second,
		},
		"429 with seconds, often": {
			match: times(20), fault: registrytest.TooManyRequests(1), gets: 21, waited: 20 * time.Second,
		},
		"429 with a date": {
			match: times(1), fault: registrytest.TooManyRequestsUntil(clockStart, clockStart.Add(90*time.Second)),
			gets: 2, waited: 90 * time.Second,
		},
		"429 with a date that is past": {
			match: times(1), fault: registrytest.TooManyRequestsUntil(clockStart, clockStart.Add(-time.Hour)), gets: 2,
		},
		"429 with a date, from a clock that is days off": {
			match: times(1), gets: 2, waited: 90 * time.Second,
			fault: registrytest.TooManyRequestsUntil(clockStart.Add(-72*time.Hour), clockStart.Add(90*time.Second-72*time.Hour)),
		},
		"429 with nonsense": {
			match: times(1), fault: registrytest.Status(429, "", "Retry-After", "soon"), gets: 2,
		},
		"503 with seconds": {
			match: times(1), fault: registrytest.Status(503, "", "Retry-After", "40"), gets: 2, waited: 40 * time.Second,
		},
		"503 with a date": {
			match: times(1), gets: 2, waited: time.Minute,
			fault: registrytest.Status(503, "", "Retry-After", clockStart.Add(time.Minute).Format(http.TimeFormat),
				"Date", clockStart.Format(http.TimeFormat)),
		},
		"redirected": {o: registrytest.Options{RedirectBlobs: true}, gets: 1},
		"TLS": {
			o: registrytest.Options{TLS: true}, match: times(1), fault: registrytest.Cut(1000), gets: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			srv.AddBlob("a/b", raw)
			if test.fault != nil {
				srv.Fault(test.match, test.fault)
			}
			c, clock := newTestClient(t, srv, Options{Retries: 4})
			got, err := readAll(c, repoOf(srv, "a/b"), d)
			checkErr(t, err, nil)
			if !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, map[string]int{"GET blob": test.gets})
			if test.ranges != nil {
				var ranges []string
				for _, q := range srv.Requests()[1:] {
					ranges = append(ranges, q.Range)
				}
				if !slices.Equal(ranges, test.ranges) {
					t.Errorf("asked for %q, want %q", ranges, test.ranges)
				}
			}
			if clock.total() < test.waited {
				t.Errorf("waited %v, want at least %v", clock.total(), test.waited)
			}
		})
	}
}

func TestOpenGivesUp(t *testing.T) {
	raw, d := content(50_000)
	smaller := d
	smaller.Size--
	unknown := d
	_, other := content(3)
	unknown.Digest = other.Digest
	evil := d
	evil.Digest = "../../../v2/secret"
	for name, test := range map[string]struct {
		o     registrytest.Options
		d     oci.Descriptor
		fault registrytest.Fault
		is    error
		says  []string
		gets  int
	}{
		"cut always at the start": {
			d: d, fault: registrytest.Cut(0), is: io.ErrUnexpectedEOF, gets: 4,
			says: []string{d.Digest.String(), "a/b", "byte 0 of 50000"},
		},
		"ranges ignored and cut always in the middle": {
			o: registrytest.Options{IgnoreRange: true}, d: d, fault: registrytest.Cut(20_000), is: io.ErrUnexpectedEOF, gets: 4,
			says: []string{"byte 20000 of 50000"},
		},
		"500 always": {
			d: d, fault: registrytest.Status(500, "oops"), is: &Error{Status: 500}, gets: 4,
			says: []string{"500", "oops"},
		},
		"502 always": {d: d, fault: registrytest.Status(502, ""), is: &Error{Status: 502}, gets: 4},
		"429 for two hours": {
			d: d, fault: registrytest.TooManyRequests(7200), is: &Error{Status: 429}, gets: 1,
			says: []string{"slow down", "opens in 2h"},
		},
		"429 for ever": {d: d, fault: registrytest.TooManyRequests(150), is: &Error{Status: 429}, gets: 5},
		"quota used up": {
			d: d, fault: registrytest.Status(429, quotaText), is: &Error{Status: 429}, gets: 1,
			says: []string{"the quota is used up", "You have reached your"},
		},
		"longer than said": {
			d: smaller, is: oci.ErrCorrupt, gets: 1,
			says: []string{"registry says 50000 bytes, descriptor says 49999"},
		},
		"longer by a lie": {
			d: d, fault: registrytest.Resize(5), is: oci.ErrCorrupt, gets: 1,
			says: []string{"registry says 50005 bytes"},
		},
		"shorter by a lie": {
			d: d, fault: registrytest.Resize(-5), is: oci.ErrCorrupt, gets: 1,
			says: []string{"registry says 49995 bytes"},
		},
		"other bytes":  {d: d, fault: registrytest.Corrupt(), is: oci.ErrCorrupt, gets: 1},
		"no such blob": {d: unknown, is: oci.ErrNotFound, gets: 1, says: []string{"BLOB_UNKNOWN"}},
		"forbidden": {
			d: d, fault: registrytest.Code(403, "DENIED", "not for you"), is: oci.ErrDenied, gets: 1,
			says: []string{"not for you"},
		},
		"a digest that is none": {d: evil, is: nil, gets: 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			srv.AddBlob("a/b", raw)
			if test.fault != nil {
				srv.Fault(registrytest.Match{Method: "GET", Kind: registrytest.Blob}, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{Retries: 3})
			_, err := readAll(c, repoOf(srv, "a/b"), test.d)
			if err == nil {
				t.Fatal("no error")
			}
			var status *Error
			if want, ok := test.is.(*Error); ok {
				if !errors.As(err, &status) || status.Status != want.Status || status.Host != srv.Host() {
					t.Fatalf("got error %v, want status %d", err, want.Status)
				}
			} else if test.is != nil {
				checkErr(t, err, test.is, test.says...)
			}
			checkErr(t, err, err, test.says...)
			checkCounts(t, srv, map[string]int{"GET blob": test.gets})
		})
	}
}

func TestOpenAtOffset(t *testing.T) {
	raw, d := content(5000)
	for name, test := range map[string]struct {
		o      registrytest.Options
		offset int64
		fault  registrytest.Fault // of the first answer
		is     error
		gets   int
	}{
		"start":                  {gets: 1},
		"middle":                 {offset: 2000, gets: 1},
		"last byte":              {offset: 4999, gets: 1},
		"end":                    {offset: 5000, gets: 0},
		"ranges ignored":         {o: registrytest.Options{IgnoreRange: true}, offset: 2000, gets: 1},
		"ranges not satisfiable": {offset: 2000, fault: registrytest.Status(416, ""), gets: 2},
		"not satisfiable because the blob is shorter": {
			offset: 2000, fault: registrytest.Status(416, "", "Content-Range", "bytes */1000"), gets: 1, is: oci.ErrCorrupt,
		},
		"range of another place": {
			offset: 2000, fault: registrytest.Header("Content-Range", "bytes 1000-4999/5000"), gets: 2,
		},
		"range of another size": {
			offset: 2000, fault: registrytest.Header("Content-Range", "bytes 2000-4999/6000"), gets: 1,
			is: oci.ErrCorrupt,
		},
		"range beyond the end": {
			offset: 2000, fault: registrytest.Header("Content-Range", "bytes 2000-5000/*"), gets: 2,
		},
		"range of another length": {
			offset: 2000, fault: registrytest.Header("Content-Range", "bytes 2000-4000/5000"), gets: 2,
		},
		"range without numbers": {offset: 2000, fault: registrytest.Header("Content-Range", "bytes all"), gets: 2},
		"range missing":         {offset: 2000, fault: registrytest.Header("Content-Range", ""), gets: 2},
		"size left open": {
			offset: 2000, fault: registrytest.Header("Content-Range", "bytes 2000-4999/*"), gets: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			srv.AddBlob("a/b", raw)
			if test.fault != nil {
				srv.Fault(registrytest.Match{Method: "GET", Times: 1}, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{})
			r, err := c.Open(context.Background(), repoOf(srv, "a/b"), d, test.offset)
			if err == nil {
				var got []byte
				got, err = io.ReadAll(r)
				r.Close()
				if err == nil && !bytes.Equal(got, raw[test.offset:]) {
					t.Errorf("got %d bytes that are not the blob's", len(got))
				}
			}
			checkErr(t, err, test.is)
			checkCounts(t, srv, map[string]int{"GET blob": test.gets})
		})
	}

	c := NewClient(Options{})
	for _, offset := range []int64{-1, 5001} {
		if _, err := c.Open(context.Background(), oci.Repository{Host: "127.0.0.1:1"}, d, offset); err == nil {
			t.Errorf("opened at offset %d of %d bytes", offset, d.Size)
		}
	}
}

func TestOpenEmptyBlob(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	d := srv.AddBlob("a/b", nil)
	c, _ := newTestClient(t, srv, Options{})
	got, err := readAll(c, repoOf(srv, "a/b"), d)
	if err != nil || len(got) != 0 {
		t.Errorf("got %d bytes and error %v", len(got), err)
	}
}

func TestOpenManifest(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	raw := []byte(`{"schemaVersion":2}`)
	d := srv.AddManifest("a/b", oci.MediaTypeDockerManifest, raw)
	c, _ := newTestClient(t, srv, Options{})
	srv.Fault(registrytest.Match{Kind: registrytest.Manifest, Times: 1}, registrytest.Cut(7))
	got, err := readAll(c, repoOf(srv, "a/b"), d)
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("got %q and error %v", got, err)
	}
	checkCounts(t, srv, map[string]int{"GET manifest": 2, "GET blob": 0})

	d.Size = oci.MaxManifestSize + 1
	_, err = c.Open(context.Background(), repoOf(srv, "a/b"), d, 0)
	checkErr(t, err, oci.ErrUnsupported)
}

func TestOpenStall(t *testing.T) {
	raw, d := content(300_000)
	for _, sent := range []int64{0, 1000, 299_999} {
		t.Run(fmt.Sprint("after ", sent), func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{})
			srv.AddBlob("a/b", raw)
			var resumed []Event
			c, clock := newTestClient(t, srv, Options{Events: func(e Event) { resumed = append(resumed, e) }})
			srv.Fault(registrytest.Match{Method: "GET", Times: 1}, registrytest.Stall(sent, clock.expire, nil))
			got, err := readAll(c, repoOf(srv, "a/b"), d)
			checkErr(t, err, nil)
			if !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, map[string]int{"GET blob": 2})
			if len(resumed) != 1 || !errors.Is(resumed[0].Why, errStalled) || resumed[0].Host != srv.Host() {
				t.Errorf("got events %v", resumed)
			}
		})
	}
}

func TestOpenCanceled(t *testing.T) {
	raw, d := content(300_000)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a/b", raw)
	c, _ := newTestClient(t, srv, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	srv.Fault(registrytest.Match{Method: "GET"}, registrytest.Stall(1000, cancel, nil))
	r, err := c.Open(ctx, repoOf(srv, "a/b"), d, 0)
	if err == nil {
		defer r.Close()
		_, err = io.ReadAll(r)
	}
	checkErr(t, err, context.Canceled)
	checkCounts(t, srv, map[string]int{"GET blob": 1})
}

func TestReadNeverExceedsSize(t *testing.T) {
	raw, d := content(3000)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a/b", raw)
	chunked := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			w.Write(raw)
			io.WriteString(w, "surplus")
		})
	}
	srv.Fault(registrytest.Match{Method: "GET"}, chunked)
	c, _ := newTestClient(t, srv, Options{})
	r, err := c.Open(context.Background(), repoOf(srv, "a/b"), d, 0)
	checkErr(t, err, nil)
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("got %d bytes and error %v", len(got), err)
	}
}

func TestRedirectGetsNoCredential(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.Basic, registrytest.Bearer} {
		srv := registrytest.New(t, registrytest.Options{
			RedirectBlobs: true, Auth: auth, Username: testUser, Password: testPassword,
		})
		raw, d := content(3000)
		srv.AddBlob("a/b", raw)
		srv.Fault(registrytest.Match{Kind: registrytest.Storage, Times: 1}, registrytest.Cut(1000))
		c, _ := newTestClient(t, srv, Options{})
		got, err := readAll(c, repoOf(srv, "a/b"), d)
		checkErr(t, err, nil)
		if !bytes.Equal(got, raw) {
			t.Errorf("got %d bytes that are not the blob's", len(got))
		}
		checkCounts(t, srv, map[string]int{"GET storage": 2})
		for _, q := range srv.Requests() {
			if q.Kind == registrytest.Storage && q.Authorization != "" {
				t.Errorf("the storage host got %q", q.Authorization)
			}
		}
	}
}

func TestRedirectErrorHasNoQuery(t *testing.T) {
	raw, d := content(3000)
	for name, fault := range map[string]registrytest.Fault{
		"403": registrytest.Status(403, "expired"), "dropped": registrytest.Drop(false), "cut": registrytest.Cut(5),
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{RedirectBlobs: true})
			srv.AddBlob("a/b", raw)
			srv.Fault(registrytest.Match{Kind: registrytest.Storage}, fault)
			c, _ := newTestClient(t, srv, Options{Retries: -1})
			_, err := readAll(c, repoOf(srv, "a/b"), d)
			if err == nil {
				t.Fatal("no error")
			}
			checkErr(t, err, err)
			if strings.Contains(err.Error(), "?") {
				t.Errorf("error %q has a query", err)
			}
		})
	}
}

func TestContentRange(t *testing.T) {
	for text, want := range map[string][3]int64{
		"bytes 0-0/1": {0, 0, 1}, "bytes 5-9/10": {5, 9, 10}, "bytes 5-9/*": {5, 9, -1}, "bytes */10": {-1, -1, 10},
	} {
		first, last, total, err := parseContentRange(text)
		if got := [3]int64{first, last, total}; err != nil || got != want {
			t.Errorf("%q: got %v and error %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "bytes", "bytes ", "bytes 1-2", "1-2/3", "bytes -1/2", "bytes 1-/2", "bytes +1-2/3", "bytes 1-2/x",
		"bytes 1-99999999999999999999/5", "bytes 1/2",
	} {
		if _, _, _, err := parseContentRange(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// A token that runs out while a blob is on its way costs one request, and the bytes stay.
func TestOpenTokenExpiresInMidBlob(t *testing.T) {
	raw, d := content(100_000)
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Bearer, Username: testUser, Password: testPassword,
	})
	srv.AddBlob("a/b", raw)
	srv.Fault(registrytest.Match{Method: "GET", Kind: registrytest.Blob, Times: 2}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the first has no token yet
			if r.Header.Get("Authorization") != "" {
				next = registrytest.Cut(60_000)(next)
				defer srv.ExpireTokens()
			}
			next.ServeHTTP(w, r)
		})
	})
	c, _ := newTestClient(t, srv, Options{})
	got, err := readAll(c, repoOf(srv, "a/b"), d)
	checkErr(t, err, nil)
	if !bytes.Equal(got, raw) {
		t.Errorf("got %d bytes that are not the blob's", len(got))
	}
	checkCounts(t, srv, map[string]int{"GET blob": 4, "GET token": 2}) // twice 401, twice a part
	if s := c.Stats(); s.Resumed != 1 || s.Twice != 0 {
		t.Errorf("got %+v", s)
	}
}

// The address to which a registry sends us may have expired, at first or when the rest is wanted: the registry is asked for
// another one, and the bytes stay.
func TestOpenAddressExpires(t *testing.T) {
	raw, d := content(100_000)
	storage := registrytest.Match{Kind: registrytest.Storage}
	expired := registrytest.Status(403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
	for name, test := range map[string]struct {
		faults  []registrytest.Fault // of the storage's answers, one after the other
		is      error
		gets    int // of the registry
		storage int
		ranges  []string // that the storage was asked for
		twice   int64
	}{
		"at first": {faults: []registrytest.Fault{expired}, gets: 2, storage: 2, ranges: []string{"", ""}},
		"in mid-blob": {
			faults: []registrytest.Fault{registrytest.Cut(60_000), expired}, gets: 3, storage: 3,
			ranges: []string{"", "bytes=60000-", "bytes=60000-"},
		},
		"twice": {
			faults: []registrytest.Fault{registrytest.Cut(60_000), expired, expired}, gets: 4, storage: 4,
			ranges: []string{"", "bytes=60000-", "bytes=60000-", "bytes=60000-"},
		},
		"gone with 410": {faults: []registrytest.Fault{registrytest.Status(410, "")}, gets: 2, storage: 2},
		"refused for good": {
			faults: []registrytest.Fault{expired, expired, expired, expired}, gets: 3, storage: 3, is: oci.ErrDenied,
		},
		"storage that ignores ranges": {
			faults: []registrytest.Fault{registrytest.Cut(60_000), expired, registrytest.Whole()}, gets: 3, storage: 3, twice: 60_000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{RedirectBlobs: true})
			srv.AddBlob("a/b", raw)
			for _, f := range test.faults {
				m := storage
				m.Times = 1
				srv.Fault(m, f)
			}
			c, _ := newTestClient(t, srv, Options{})
			got, err := readAll(c, repoOf(srv, "a/b"), d)
			checkErr(t, err, test.is)
			if test.is == nil && !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, map[string]int{"GET blob": test.gets, "GET storage": test.storage})
			var ranges []string
			for _, q := range srv.Requests() {
				if q.Kind == registrytest.Storage {
					ranges = append(ranges, q.Range)
				}
			}
			if test.ranges != nil && !slices.Equal(ranges, test.ranges) {
				t.Errorf("asked for %q, want %q", ranges, test.ranges)
			}
			if s := c.Stats(); s.Twice != test.twice {
				t.Errorf("%d bytes came twice, want %d", s.Twice, test.twice)
			}
		})
	}
}
