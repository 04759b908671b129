package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// large is the size of a blob for whose body the client waits until the registry wants it.
const large = expectContinueSize + 12_345

func TestPushGetsOverFaults(t *testing.T) {
	put := registrytest.Match{Method: "PUT", Kind: registrytest.Upload}
	post := registrytest.Match{Method: "POST", Kind: registrytest.Upload}
	times := func(m registrytest.Match, n int) registrytest.Match { m.Times = n; return m }
	for name, test := range map[string]struct {
		o      registrytest.Options
		size   int // 3000 when not set
		match  registrytest.Match
		fault  registrytest.Fault
		counts map[string]int
		opened int // how often the content was; 1 when not set
		waited time.Duration
	}{
		"nothing wrong":     {counts: map[string]int{"POST upload": 1, "PUT upload": 1, "": 2}},
		"large":             {size: large, counts: map[string]int{"POST upload": 1, "PUT upload": 1, "": 2}},
		"TLS":               {o: registrytest.Options{TLS: true}, size: large, counts: map[string]int{"": 2}},
		"relative location": {o: registrytest.Options{Location: registrytest.Relative}, counts: map[string]int{"": 2}},
		"http location from a https registry": {
			o: registrytest.Options{TLS: true, Location: registrytest.WrongScheme}, counts: map[string]int{"": 2},
		},
		"location on another host": {
			o: registrytest.Options{Location: registrytest.OtherHost}, size: large,
			counts: map[string]int{"POST upload": 1, "PUT storage": 1, "": 2},
		},
		"cut": {
			size: large, match: times(put, 1), fault: registrytest.CutUpload(1000), opened: 2,
			counts: map[string]int{"POST upload": 1, "PUT upload": 2, "GET upload": 1, "PATCH upload": 1},
		},
		"small, bytes by PATCH alone": {
			o: registrytest.Options{PatchOnly: true}, counts: map[string]int{"POST upload": 2, "PUT upload": 2, "PATCH upload": 1},
		},
		"cut, small": {
			match: times(put, 1), fault: registrytest.CutUpload(1000),
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "GET upload": 0},
		},
		"cut, only one byte or none taken": {
			size: large, match: times(put, 1), fault: registrytest.CutUpload(1), opened: 2,
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "GET upload": 1, "PATCH upload": 0},
		},
		"cut more than it retries": {
			size: large, match: registrytest.Match{Kind: registrytest.Upload, Times: 14}, fault: registrytest.CutUpload(100_000),
			counts: map[string]int{"POST upload": 1, "PATCH upload": 7}, opened: 8,
		},
		"cut, session forgotten": {
			o: registrytest.Options{ForgetUploads: true}, size: large, match: times(put, 2), fault: registrytest.CutUpload(1000),
			counts: map[string]int{"POST upload": 3, "PUT upload": 3}, opened: 3,
		},
		"session unknown": {
			match: times(put, 1), fault: registrytest.Code(404, "BLOB_UPLOAD_UNKNOWN", "gone"),
			counts: map[string]int{"POST upload": 2, "PUT upload": 2}, opened: 1, // the body fits in
		},
		"500 to the POST": {
			match: times(post, 2), fault: registrytest.Status(500, "oops"), counts: map[string]int{"POST upload": 3, "PUT upload": 1},
		},
		"429 to the POST": {
			match: times(post, 2), fault: registrytest.TooManyRequests(9), waited: 18 * time.Second,
			counts: map[string]int{"POST upload": 3, "PUT upload": 1},
		},
		"500 to the PUT, body not wanted": {
			size: large, match: times(put, 2), fault: registrytest.Status(500, "oops"),
			counts: map[string]int{"POST upload": 3, "PUT upload": 3}, opened: 1,
		},
		"429 to the PUT": {
			size: large, match: times(put, 1), fault: registrytest.TooManyRequests(9), waited: 9 * time.Second,
			counts: map[string]int{"POST upload": 2, "PUT upload": 2},
		},
		"changed on the way": {
			size: large, match: times(put, 1), fault: registrytest.CorruptUpload(),
			counts: map[string]int{"POST upload": 2, "PUT upload": 2, "HEAD blob": 1}, opened: 2,
		},
		"only the answer lost": {
			size: large, match: times(put, 1), fault: registrytest.Drop(true),
			counts: map[string]int{"POST upload": 1, "PUT upload": 1, "HEAD blob": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.size == 0 {
				test.size = 3000
			}
			raw, d := content(test.size)
			srv := registrytest.New(t, test.o)
			if test.fault != nil {
				srv.Fault(test.match, test.fault)
			}
			c, clock := newTestClient(t, srv, Options{Retries: 4})
			src := &opener{raw: raw}
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, src.Open), nil)
			if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
				t.Errorf("the registry has %d bytes that are not the blob's", len(got))
			}
			checkCounts(t, srv, test.counts)
			opened, open := src.counts()
			if want := max(1, test.opened); test.size == large && opened != want {
				t.Errorf("content was opened %d times, want %d", opened, want)
			}
			if open != 0 {
				t.Errorf("content was not closed")
			}
			if clock.total() < test.waited {
				t.Errorf("waited %v, want at least %v", clock.total(), test.waited)
			}
		})
	}
}

func TestPushGivesUp(t *testing.T) {
	raw, d := content(large)
	errSource := errors.New("disk on fire")
	put := registrytest.Match{Method: "PUT"}
	for name, test := range map[string]struct {
		o     registrytest.Options
		src   *opener
		match registrytest.Match
		fault registrytest.Fault
		is    error
		says  []string
		puts  int
		posts int // 0: any number
	}{
		"content changed": {src: &opener{raw: append([]byte{raw[0] ^ 1}, raw[1:]...)}, is: oci.ErrCorrupt, puts: 1},
		"content short":   {src: &opener{raw: raw[:large-1]}, is: oci.ErrCorrupt, puts: 1},
		"content long":    {src: &opener{raw: append(raw[:large:large], 0)}, is: oci.ErrCorrupt, puts: 1},
		"content fails":   {src: &opener{raw: raw[:5000], err: errSource}, is: errSource, puts: 1},
		"cut always": {
			src: &opener{raw: raw}, match: put, fault: registrytest.CutUpload(0), puts: 3,
			says: []string{d.Digest.String()},
		},
		"too large": {
			src: &opener{raw: raw}, match: put, fault: registrytest.Code(413, "SIZE_INVALID", "too large"), puts: 2,
			says: []string{"413", "SIZE_INVALID"},
		},
		"no right to push": {
			src: &opener{raw: raw}, match: registrytest.Match{Method: "POST"}, is: oci.ErrDenied,
			fault: registrytest.Code(403, "DENIED", "requested access to the resource is denied"),
			says:  []string{"requested access", d.Digest.String()},
		},
		"no such repository": { // ECR makes none
			src: &opener{raw: raw}, match: registrytest.Match{Method: "POST"}, is: oci.ErrNotFound, posts: 1,
			fault: registrytest.Code(404, "NAME_UNKNOWN", "The repository with name 'a/b' does not exist in the registry with id '1'"),
			says:  []string{"has no repository a/b (404 NAME_UNKNOWN)"},
		},
		"no quota left": {
			src: &opener{raw: raw}, match: put, fault: registrytest.Code(403, "DENIED", "quota exceeded"), is: oci.ErrDenied,
			puts: 1, says: []string{"quota exceeded"},
		},
		"no location": {
			src: &opener{raw: raw}, match: registrytest.Match{Method: "POST"}, fault: registrytest.Header("Location", ""),
			says: []string{"no location"},
		},
		"location in http on another host": {
			o: registrytest.Options{TLS: true}, src: &opener{raw: raw}, match: registrytest.Match{Method: "POST"},
			fault: registrytest.Header("Location", "http://storage.example/up?_state=secret"), is: errDowngrade,
			says: []string{"http://storage.example/up"},
		},
		"stored as something else": {
			src: &opener{raw: raw}, match: put, is: oci.ErrCorrupt, puts: 1,
			fault: registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			if test.fault != nil {
				srv.Fault(test.match, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{Retries: 2})
			err := c.Push(context.Background(), repoOf(srv, "a/b"), d, test.src.Open)
			if err == nil {
				t.Fatal("no error")
			}
			if test.is == nil {
				test.is = err
			}
			checkErr(t, err, test.is, test.says...)
			checkCounts(t, srv, map[string]int{"PUT upload": test.puts})
			if test.posts > 0 {
				checkCounts(t, srv, map[string]int{"POST upload": test.posts})
			}
			if _, ok := srv.Blob("a/b", d.Digest); ok && name != "stored as something else" {
				t.Error("the registry keeps the blob")
			}
			if _, open := test.src.counts(); open != 0 {
				t.Error("content was not closed")
			}
		})
	}
}

// A body that is complete would let a trusting registry keep it, whatever it is.
func TestPushNeverCompletesWrongContent(t *testing.T) {
	raw, d := content(100_000)
	raw[99_999] ^= 1
	srv := registrytest.New(t, registrytest.Options{})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), oci.ErrCorrupt)
	for _, q := range srv.Requests() {
		if q.Method == "PUT" && q.Status != 0 {
			t.Errorf("the registry answered %d to the whole body", q.Status)
		}
	}
}

func TestPushEmptyBlob(t *testing.T) {
	_, d := content(0)
	srv := registrytest.New(t, registrytest.Options{})
	c, _ := newTestClient(t, srv, Options{})
	ctx, to := context.Background(), repoOf(srv, "a/b")
	checkErr(t, c.Push(ctx, to, d, (&opener{raw: []byte("x")}).Open), oci.ErrCorrupt)
	checkErr(t, c.Push(ctx, to, d, (&opener{}).Open), nil)
	if _, ok := srv.Blob("a/b", d.Digest); !ok {
		t.Error("the registry has no empty blob")
	}
}

func TestPushContentGone(t *testing.T) {
	raw, d := content(large)
	srv := registrytest.New(t, registrytest.Options{})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.CutUpload(1000))
	c, _ := newTestClient(t, srv, Options{})
	src, opened := &opener{raw: raw}, 0
	once := func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if opened++; opened > 1 {
			return nil, oci.ErrGone
		}
		return src.Open(ctx, offset)
	}
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, once), oci.ErrGone)
}

// A token that runs out between POST and PUT costs a request, but no second reading of a large content.
func TestPushTokenExpires(t *testing.T) {
	raw, d := content(large)
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Bearer, Username: testUser, Password: testPassword, TokenUses: 1,
	})
	c, _ := newTestClient(t, srv, Options{})
	src := &opener{raw: raw}
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, src.Open), nil)
	checkCounts(t, srv, map[string]int{"POST upload": 2, "PUT upload": 2, "GET token": 2})
	if opened, _ := src.counts(); opened != 1 {
		t.Errorf("content was opened %d times, want once", opened)
	}
}

// The rights that are asked for are those that the push needs, whatever the registry asks to ask for.
func TestPushChallengedForPull(t *testing.T) {
	raw, d := content(3000)
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Bearer, Username: testUser, Password: testPassword, ChallengePull: true,
	})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	checkCounts(t, srv, map[string]int{"GET token": 1})
}

func TestPushToOtherHostGetsNoCredential(t *testing.T) {
	raw, d := content(3000)
	srv := registrytest.New(t, registrytest.Options{
		Auth: registrytest.Basic, Username: testUser, Password: testPassword, Location: registrytest.OtherHost,
	})
	c, _ := newTestClient(t, srv, Options{})
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	for _, q := range srv.Requests() {
		if q.Kind == registrytest.Storage && q.Authorization != "" {
			t.Errorf("the storage host got %q", q.Authorization)
		}
	}
	checkCounts(t, srv, map[string]int{"PUT storage": 1})
}

func TestPushStall(t *testing.T) {
	raw, d := content(16 << 20) // more than fits into the buffers of a connection
	srv := registrytest.New(t, registrytest.Options{})
	letGo := make(chan struct{})
	t.Cleanup(func() { close(letGo) })
	var why []error
	c, clock := newTestClient(t, srv, Options{Events: func(e Event) { why = append(why, e.Why) }})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.StallUpload(1000, clock.expire, letGo))
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)
	checkCounts(t, srv, map[string]int{"POST upload": 2, "PUT upload": 2})
	if len(why) != 1 || !errors.Is(why[0], errStalled) {
		t.Errorf("got events %v", why)
	}
}

func TestPushCanceled(t *testing.T) {
	raw, d := content(16 << 20)
	srv := registrytest.New(t, registrytest.Options{})
	letGo := make(chan struct{})
	t.Cleanup(func() { close(letGo) })
	ctx, cancel := context.WithCancel(context.Background())
	srv.Fault(registrytest.Match{Method: "PUT"}, registrytest.StallUpload(1000, cancel, letGo))
	c, _ := newTestClient(t, srv, Options{})
	src := &opener{raw: raw}
	checkErr(t, c.Push(ctx, repoOf(srv, "a/b"), d, src.Open), context.Canceled)
	checkCounts(t, srv, map[string]int{"POST upload": 1, "PUT upload": 1})
	if _, open := src.counts(); open != 0 {
		t.Error("content was not closed")
	}
}

func TestHas(t *testing.T) {
	raw, d := content(3000)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a/b", raw)
	c, _ := newTestClient(t, srv, Options{})
	longer := d
	longer.Size++
	for name, test := range map[string]struct {
		repo string
		d    oci.Descriptor
		want bool
	}{
		"there": {"a/b", d, true}, "elsewhere": {"a/c", d, false}, "of another size": {"a/b", longer, false},
	} {
		if got, err := c.Has(context.Background(), repoOf(srv, test.repo), test.d); err != nil || got != test.want {
			t.Errorf("%s: got %v and error %v", name, got, err)
		}
	}
	checkCounts(t, srv, map[string]int{"HEAD blob": 3, "": 3})

	srv.Fault(registrytest.Match{}, registrytest.Code(403, "DENIED", ""))
	_, err := c.Has(context.Background(), repoOf(srv, "a/b"), d)
	checkErr(t, err, oci.ErrDenied)
}

func TestMount(t *testing.T) {
	raw, d := content(3000)
	pullOnly := func(repo, action string) bool { return repo == "to" }
	bearer := registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword}
	denied := bearer
	denied.Grant = pullOnly
	for name, test := range map[string]struct {
		o     registrytest.Options
		fault registrytest.Fault
		want  bool
		posts int // with the push that follows
	}{
		"mounted":                     {want: true, posts: 1},
		"mounted with a token":        {o: bearer, want: true, posts: 2}, // and one without
		"not supported":               {o: registrytest.Options{NoMount: true}, posts: 1},
		"no right to read the source": {o: denied, posts: 4},
		"401": {
			fault: registrytest.Code(401, "UNAUTHORIZED", "project nope not found"), posts: 2,
		},
		"200":                          {fault: registrytest.Status(200, "<html>login"), posts: 2},
		"201 and nothing is there":     {fault: registrytest.Status(201, ""), posts: 2},
		"202 and no location":          {fault: registrytest.Status(202, ""), posts: 2},
		"202 and a location elsewhere": {fault: registrytest.Status(202, "", "Location", "/v2/other/blobs/uploads/1"), posts: 2},
		"202 and a location that is no URL": {
			fault: registrytest.Status(202, "", "Location", "http://[::1/x"), posts: 2,
		},
		"204":          {fault: registrytest.Status(204, ""), posts: 2},
		"302":          {fault: registrytest.Status(302, ""), posts: 2},
		"400":          {fault: registrytest.Code(400, "NAME_INVALID", "from"), posts: 2},
		"403":          {fault: registrytest.Code(403, "DENIED", "no right to read the source"), posts: 2},
		"404":          {fault: registrytest.Code(404, "NAME_UNKNOWN", "repository name not known"), posts: 2},
		"404, of HTML": {fault: registrytest.Status(404, "<html>"), posts: 2},
		"405":          {fault: registrytest.Status(405, ""), posts: 2},
		"409":          {fault: registrytest.Status(409, ""), posts: 2},
		"412":          {fault: registrytest.Status(412, ""), posts: 2},
		"413":          {fault: registrytest.Status(413, ""), posts: 2},
		"416":          {fault: registrytest.Status(416, ""), posts: 2},
		"429":          {fault: registrytest.TooManyRequests(700), posts: 2},
		"500":          {fault: registrytest.Status(500, ""), posts: 3},
		"501":          {fault: registrytest.Status(501, ""), posts: 2},
		"503":          {fault: registrytest.Status(503, ""), posts: 3},
		"mounted as something else": {
			fault: registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), posts: 2,
		},
		"not supported and no location": {
			o: registrytest.Options{NoMount: true}, fault: registrytest.Header("Location", ""), posts: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			srv.AddBlob("from", raw)
			if test.fault != nil {
				srv.Fault(registrytest.Match{Kind: registrytest.Mount}, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{Retries: 1})
			ctx, to := context.Background(), repoOf(srv, "to")
			got, err := c.Mount(ctx, repoOf(srv, "from"), to, d)
			checkErr(t, err, nil)
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if !got {
				checkErr(t, c.Push(ctx, to, d, (&opener{raw: raw}).Open), nil)
			}
			if _, ok := srv.Blob("to", d.Digest); !ok {
				t.Error("the blob is not there")
			}
			if n := srv.Count("POST", registrytest.Mount) + srv.Count("POST", registrytest.Upload); n != test.posts {
				t.Errorf("%d POSTs, want %d", n, test.posts)
			}
		})
	}
}

func TestMountIsNotTried(t *testing.T) {
	_, d := content(3)
	manifest := d
	manifest.MediaType = oci.MediaTypeDockerList
	c := NewClient(Options{})
	here := oci.Repository{Host: "127.0.0.1:1", Path: "a"}
	for name, test := range map[string]struct {
		from oci.Repository
		d    oci.Descriptor
	}{
		"other host":      {oci.Repository{Host: "127.0.0.1:2", Path: "b"}, d},
		"same repository": {here, d},
		"manifest":        {oci.Repository{Host: here.Host, Path: "b"}, manifest},
	} {
		if got, err := c.Mount(context.Background(), test.from, here, test.d); got || err != nil {
			t.Errorf("%s: got %v and error %v", name, got, err)
		}
	}
}

func TestMountUnreachable(t *testing.T) {
	_, d := content(3)
	srv := registrytest.New(t, registrytest.Options{})
	c, _ := newTestClient(t, srv, Options{})
	srv.Close()
	_, err := c.Mount(context.Background(), repoOf(srv, "from"), repoOf(srv, "to"), d)
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || unreachable.Host != srv.Host() {
		t.Errorf("got error %v", err)
	}
}
