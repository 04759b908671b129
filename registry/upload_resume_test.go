package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// huge is the size of a blob of more than two chunks.
const huge = 2*chunkSize + 1_234_567

// hugeContent returns content of that size, which must not be changed.
var hugeContent = sync.OnceValues(func() ([]byte, oci.Descriptor) { return content(huge) })

// Each case is a habit of real registries.
func TestPushObeysRegistries(t *testing.T) {
	put := registrytest.Match{Method: "PUT", Times: 1}
	cut := registrytest.CutUpload(5 << 20)
	for name, test := range map[string]struct {
		o      registrytest.Options
		match  registrytest.Match
		fault  registrytest.Fault
		counts map[string]int
		pieces []string // the Content-Range of each PATCH
		twice  int64    // bytes that may come in more than once
	}{
		"distribution, cut PUT": {
			match: put, fault: cut, counts: map[string]int{"POST upload": 1, "PUT upload": 2, "GET upload": 1},
			pieces: []string{"5242880-9623174"},
		},
		"Harbor, cut PUT and relative location": {
			o: registrytest.Options{Location: registrytest.Relative}, match: put, fault: cut,
			counts: map[string]int{"POST upload": 1}, pieces: []string{"5242880-9623174"},
		},
		"cut PUT, cut PATCH": {
			match: registrytest.Match{Kind: registrytest.Upload, Times: 4}, // POST, PUT, GET, PATCH
			fault: registrytest.CutUpload(3 << 20), counts: map[string]int{"POST upload": 1, "GET upload": 2},
			pieces: []string{"3145728-9623174", "6291456-9623174"},
		},
		"zot, any cut ends the session": {
			o: registrytest.Options{ForgetUploads: true}, match: put, fault: cut, twice: 5 << 20,
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "GET upload": 1, "PATCH upload": 0},
		},
		"GHCR, no PATCH above 4 MiB": {
			o:     registrytest.Options{MaxPatch: chunkSize, Location: registrytest.Relative},
			match: put, fault: cut, counts: map[string]int{"POST upload": 1, "PUT upload": 2},
			pieces: []string{"5242880-9623174", "5242880-9437183", "9437184-9623174"},
		},
		"GHCR, one PUT": {
			o:      registrytest.Options{MaxPatch: chunkSize},
			counts: map[string]int{"POST upload": 1, "PUT upload": 1, "PATCH upload": 0},
		},
		"ECR, 201 to PATCH and a range that stays, 5 MiB at least": {
			o:      registrytest.Options{StickyRange: true, ChunkMinLength: 5 << 20},
			counts: map[string]int{"POST upload": 1, "PUT upload": 1},
			pieces: []string{"0-5242879", "5242880-9623174"},
		},
		"ECR, cut PUT": {
			o: registrytest.Options{StickyRange: true}, match: put, fault: cut,
			counts: map[string]int{"POST upload": 1, "PUT upload": 2},
			pieces: []string{"5242880-9623174"},
		},
		"Google, no chunks and no word of a session": {
			o: registrytest.Options{WholeOnly: true}, match: put, fault: cut, twice: 5 << 20,
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "PATCH upload": 0},
		},
		"a session that tells, and no PATCH": {
			match: registrytest.Match{Kind: registrytest.Upload}, twice: 5 << 20,
			fault: func(next http.Handler) http.Handler {
				var cutOnce sync.Once
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h := next
					if r.Method == http.MethodPut {
						cutOnce.Do(func() { h = cut(next) })
					}
					if r.Method == http.MethodPatch {
						h = registrytest.Code(400, "UNSUPPORTED", "must use monolithic upload")(next)
					}
					h.ServeHTTP(w, r)
				})
			},
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "PATCH upload": 1},
		},
		"ACR, 413 to a large PUT": {
			o: registrytest.Options{MaxBody: 8 << 20}, counts: map[string]int{"PUT upload": 2},
			pieces: []string{"0-4194303", "4194304-8388607", "8388608-9623174"},
		},
		"nginx, 413 above 1 MiB": {
			o: registrytest.Options{MaxBody: 1 << 20}, counts: map[string]int{"PUT upload": 2, "PATCH upload": 1 + 10},
		},
		"chunks of at least so many bytes": {
			o: registrytest.Options{ChunkMinLength: 6 << 20}, counts: map[string]int{"POST upload": 1, "PUT upload": 1},
			pieces: []string{"0-6291455", "6291456-9623174"},
		},
		"chunks of at least so few bytes": {
			o: registrytest.Options{ChunkMinLength: 1000}, counts: map[string]int{"PUT upload": 1},
			pieces: []string{"0-4194303", "4194304-8388607", "8388608-9623174"},
		},
		"chunks of at least more than the blob has": {
			o:      registrytest.Options{ChunkMinLength: 64 << 20},
			counts: map[string]int{"POST upload": 1, "PUT upload": 1, "PATCH upload": 0},
		},
		"Artifactory, bytes by PATCH alone": {
			o: registrytest.Options{PatchOnly: true}, twice: 0,
			counts: map[string]int{"POST upload": 2, "PUT upload": 2}, pieces: []string{"0-9623174"},
		},
		"location with the wrong scheme": {
			o: registrytest.Options{TLS: true, Location: registrytest.WrongScheme}, match: put, fault: cut,
			counts: map[string]int{"POST upload": 1}, twice: huge, pieces: nil, // HTTP/2 loses what is on its way
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, d := hugeContent()
			srv := registrytest.New(t, test.o)
			if test.fault != nil {
				srv.Fault(test.match, once(test.fault, test.match))
			}
			c, _ := newTestClient(t, srv, Options{Retries: 4, StateDir: t.TempDir()})
			src := &opener{raw: raw}
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, src.Open), nil)
			if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
				t.Errorf("the registry has %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, test.counts)
			if test.pieces != nil {
				if got := pieces(srv); !slices.Equal(got, test.pieces) {
					t.Errorf("pieces %q, want %q", got, test.pieces)
				}
			}
			if again := srv.BytesReceived() - d.Size; again < 0 || again > test.twice {
				t.Errorf("%d bytes came in twice, want at most %d", again, test.twice)
			}
			if _, open := src.counts(); open != 0 {
				t.Error("content was not closed")
			}
		})
	}
}

// once makes a fault of many requests that are answered by one handler, so that it can count.
func once(f registrytest.Fault, m registrytest.Match) registrytest.Fault {
	if m.Times != 0 {
		return f
	}
	var next http.Handler
	h := f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) }))
	return func(n http.Handler) http.Handler {
		next = n
		return h
	}
}

// pieces returns the Content-Range of each PATCH.
func pieces(srv *registrytest.Server) []string {
	var list []string
	for _, q := range srv.Requests() {
		if q.Method == "PATCH" {
			list = append(list, q.ContentRange)
		}
	}
	return list
}

// What a session says of itself is believed only as far as it can be true.
func TestPushAsksTheSession(t *testing.T) {
	get := registrytest.Match{Method: "GET", Kind: registrytest.Upload, Times: 1}
	for name, test := range map[string]struct {
		match  registrytest.Match
		fault  registrytest.Fault
		posts  int
		pieces []string
	}{
		"more than was sent": {get, registrytest.Header("Range", "0-99999999"), 2, nil},
		"none or one byte":   {get, registrytest.Header("Range", "0-0"), 2, nil},
		"no range":           {get, registrytest.Header("Range", ""), 2, nil},
		"not from the start": {get, registrytest.Header("Range", "5-3145727"), 2, nil},
		"nonsense":           {get, registrytest.Header("Range", "all"), 2, nil},
		"another spelling":   {get, registrytest.Header("Range", "bytes=0-3145727"), 1, []string{"3145728-9623174"}},
		"no new location": {
			get, registrytest.Header("Location", ""), 1, []string{"3145728-9623174", "3145728-7340031", "7340032-9623174"},
		},
		"416 to the PATCH": {
			match("PATCH"), registrytest.Status(416, ""), 1, []string{"3145728-9623174", "3145728-7340031", "7340032-9623174"},
		},
		"less than it has":    {get, registrytest.Header("Range", "0-999"), 1, []string{"1000-9623174", "3145728-9623174"}},
		"gone":                {get, registrytest.Code(404, "BLOB_UPLOAD_UNKNOWN", "gone"), 2, nil},
		"405":                 {get, registrytest.Status(405, ""), 2, nil},
		"a login page":        {get, registrytest.Status(200, "<html>"), 2, nil},
		"404 to the PATCH":    {match("PATCH"), registrytest.Status(404, ""), 2, []string{"3145728-9623174"}},
		"502 to the PATCH":    {match("PATCH"), registrytest.Status(502, ""), 1, []string{"3145728-9623174", "3145728-9623174"}},
		"429 to the PATCH":    {match("PATCH"), registrytest.TooManyRequests(5), 1, []string{"3145728-9623174", "3145728-9623174"}},
		"PATCH, answer lost":  {match("PATCH"), registrytest.Drop(true), 1, []string{"3145728-9623174"}},
		"501 to the PATCH":    {match("PATCH"), registrytest.Status(501, ""), 1, []string{"3145728-9623174", "3145728-9623174"}},
		"changed in the rest": {match("PATCH"), registrytest.CorruptUpload(), 2, []string{"3145728-9623174"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, d := hugeContent()
			srv := registrytest.New(t, registrytest.Options{})
			srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.CutUpload(3<<20))
			srv.Fault(test.match, test.fault)
			c, _ := newTestClient(t, srv, Options{Retries: 4})
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
			if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
				t.Errorf("the registry has %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, map[string]int{"POST upload": test.posts})
			if got := pieces(srv); !slices.Equal(got, test.pieces) {
				t.Errorf("pieces %q, want %q", got, test.pieces)
			}
		})
	}
}

func match(method string) registrytest.Match { return registrytest.Match{Method: method, Times: 1} }

// A registry that stores what it gets without a look at ranges or digests must not get the end of something else.
func TestPushResumedContentIsProven(t *testing.T) {
	raw, d := hugeContent()
	for name, change := range map[string]func(reading int, raw []byte) []byte{
		"the rest changed":           func(int, []byte) []byte { return flip(raw, huge-1) },
		"before the break, too":      func(int, []byte) []byte { return flip(raw, 1000) },
		"changed after the break":    func(reading int, _ []byte) []byte { return flip(raw, huge-1-reading%2*(huge-6<<20)) },
		"shorter after the break":    func(reading int, _ []byte) []byte { return raw[:huge-min(reading, 1)] },
		"right before, wrong behind": func(reading int, _ []byte) []byte { return flip(raw, huge-1000*(1-min(reading, 1))-1) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{})
			srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.CutUpload(5<<20))
			c, _ := newTestClient(t, srv, Options{Retries: 4})
			reading := -1
			changing := func(ctx context.Context, offset int64) (io.ReadCloser, error) {
				reading++
				return io.NopCloser(bytes.NewReader(change(reading, raw)[offset:])), nil
			}
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, changing), oci.ErrCorrupt)
			for _, q := range srv.Requests() {
				if (q.Method == "PUT" || q.Method == "PATCH") && q.Status != 0 {
					t.Errorf("the registry answered %d to the whole of %s %s", q.Status, q.Method, q.ContentRange)
				}
			}
		})
	}
}

func flip(raw []byte, at int) []byte {
	changed := slices.Clone(raw)
	changed[at] ^= 1
	return changed
}

// A token that runs out while a blob is on its way costs one request.
func TestPushTokenExpiresInMidBlob(t *testing.T) {
	raw, d := hugeContent()
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Bearer, Username: testUser, Password: testPassword,
	})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the first PUT has no token yet, or has
			defer srv.ExpireTokens()
			registrytest.CutUpload(5<<20)(next).ServeHTTP(w, r)
		})
	})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
		t.Errorf("the registry has %d bytes that are not the blob's", len(got))
	}
	// Which request is the first to be refused depends on how much of the body was on its way when the line was cut.
	checkCounts(t, srv, map[string]int{"PATCH upload": 1, "GET token": 2})
	if again := srv.BytesReceived() - d.Size; again != 0 {
		t.Errorf("%d bytes came in twice", again)
	}
}

// Neither an upload that goes on elsewhere nor one that is redirected takes the credential along.
func TestPushElsewhereGetsNoCredential(t *testing.T) {
	redirect := func(srv *registrytest.Server) registrytest.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://"+srv.StorageHost()+r.URL.RequestURI())
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
		}
	}
	for _, auth := range []registrytest.Auth{registrytest.Basic, registrytest.Bearer} {
		for _, style := range []registrytest.LocationStyle{registrytest.OtherHost, registrytest.Absolute} {
			raw, d := hugeContent()
			srv := registrytest.New(t, registrytest.Options{
				Auth: auth, Username: testUser, Password: testPassword, Location: style,
			})
			srv.Fault(registrytest.Match{Method: "PUT", Kind: registrytest.Storage, Times: 1}, registrytest.CutUpload(5<<20))
			if style == registrytest.Absolute {
				srv.Fault(registrytest.Match{Method: "PUT", Kind: registrytest.Upload}, redirect(srv))
			}
			c, _ := newTestClient(t, srv, Options{})
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
			if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
				t.Errorf("the registry has %d bytes that are not the blob's", len(got))
			}
			for _, q := range srv.Requests() {
				if q.Kind == registrytest.Storage && q.Authorization != "" {
					t.Errorf("the storage host got %q with %s", q.Authorization, q.Method)
				}
			}
			checkCounts(t, srv, map[string]int{"PUT storage": 2})
		}
	}
}

// A registry that restarts loses the sessions, and the blob is sent from the start, once.
func TestPushSessionsLost(t *testing.T) {
	raw, d := hugeContent()
	srv := registrytest.New(t, registrytest.Options{})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer srv.ForgetAllUploads()
			registrytest.CutUpload(5<<20)(next).ServeHTTP(w, r)
		})
	})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	checkCounts(t, srv, map[string]int{"POST upload": 2, "GET upload": 1, "PUT upload": 2, "PATCH upload": 0})
	if s := c.Stats(); s.Retries != 1 || s.Resumed != 0 || s.Twice < 5<<20 {
		t.Errorf("got %+v", s)
	}
}

// The last request of a session failed when all bytes were there: none is sent again.
func TestPushOnlyTheEndIsMissing(t *testing.T) {
	raw, d := hugeContent()
	srv := registrytest.New(t, registrytest.Options{})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r2 := *r
			r2.Method = http.MethodPatch // what came is kept
			next.ServeHTTP(&unseen{http.Header{}}, &r2)
			w.WriteHeader(http.StatusInternalServerError)
		})
	})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
		t.Errorf("the registry has %d bytes that are not the blob's", len(got))
	}
	if again := srv.BytesReceived() - d.Size; again != 0 {
		t.Errorf("%d bytes came in twice", again)
	}
}

// unseen is a ResponseWriter for an answer that nobody gets.
type unseen struct{ header http.Header }

func (u *unseen) Header() http.Header         { return u.header }
func (u *unseen) Write(p []byte) (int, error) { return len(p), nil }
func (u *unseen) WriteHeader(int)             {}

func TestUploadedBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0-1": 2, "0-1023": 1024, "bytes=0-1023": 1024, "bytes 0-9": 10,
		"0-0": 0, "": 0, "0": 0, "1-5": 0, "0--5": 0, "0-x": 0, "0-99999999999999999999": 0, "-5": 0,
	} {
		if got := uploadedBytes(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// What one blob has found out of a registry, the next ones need not.
func TestPushLearnsHabits(t *testing.T) {
	for name, test := range map[string]struct {
		o      registrytest.Options
		counts map[string]int // of the second blob
	}{
		"413 above 8 MiB": {registrytest.Options{MaxBody: 8 << 20}, map[string]int{"POST upload": 1, "PUT upload": 1, "PATCH upload": 3}},
		"413 above 1 MiB": {registrytest.Options{MaxBody: 1 << 20}, map[string]int{"POST upload": 1, "PUT upload": 1, "PATCH upload": 10}},
		"PATCH alone":     {registrytest.Options{PatchOnly: true}, map[string]int{"POST upload": 1, "PUT upload": 1, "PATCH upload": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			c, _ := newTestClient(t, srv, Options{})
			raw, d := hugeContent()
			for _, repo := range []string{"a", "b"} {
				srv.ResetCounts()
				checkErr(t, c.Push(context.Background(), repoOf(srv, repo), d, (&opener{raw: raw}).Open), nil)
			}
			checkCounts(t, srv, test.counts)
			small, e := content(3000)
			srv.ResetCounts()
			checkErr(t, c.Push(context.Background(), repoOf(srv, "c"), e, (&opener{raw: small}).Open), nil)
			if n := srv.Count("PUT", registrytest.Upload); n != 1 {
				t.Errorf("a small blob took %d PUTs", n)
			}
		})
	}
}

func TestPushTooLargePiece(t *testing.T) {
	raw, d := hugeContent()
	srv := registrytest.New(t, registrytest.Options{MaxBody: 1000})
	c, _ := newTestClient(t, srv, Options{})
	err := c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open)
	if err == nil || !strings.Contains(err.Error(), "413 Request Entity Too Large") {
		t.Errorf("got error %v", err)
	}
	checkCounts(t, srv, map[string]int{"PUT upload": 1, "PATCH upload": 2})
}
