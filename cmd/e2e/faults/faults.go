// Package faults stands in front of a registry and makes a share of its requests fail, in the ways in which registries,
// the proxies before them and the lines to them do.
//
// [New] gives a front whose Wrap goes around the registry. What fails follows from the seed and from what is asked, not
// from the order in which requests come, so that a seed means the same trouble each time.
package faults

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is a way to fail.
type Kind int

// The ways to fail.
const (
	None             Kind = iota
	InternalError         // 500
	BadGateway            // 502
	Unavailable           // 503 without a word when to come back
	UnavailableFor        // 503 with Retry-After in seconds
	UnavailableUntil      // 503 with Retry-After as a date
	TooManyFor            // 429 with Retry-After in seconds
	TooManyUntil          // 429 with Retry-After as a date
	Reset                 // the connection is reset before anything was read
	CutRequest            // the connection is reset in the middle of the request's body
	CutAnswer             // the connection ends in the middle of the answer's body
	LostAnswer            // the registry does what it is asked, then the connection is reset
	kinds
)

func (k Kind) String() string {
	return [...]string{
		"none", "500", "502", "503", "503 with seconds", "503 with a date", "429 with seconds", "429 with a date",
		"reset", "cut request", "cut answer", "lost answer",
	}[k]
}

// pause is what Retry-After asks for.
const pause = time.Second

// Options say how much fails.
type Options struct {
	Seed  uint64
	Share float64 // of the requests, 0 to 1
	Only  Kind    // fail in this way alone; None is every way
}

// Front makes requests fail.
type Front struct {
	opts Options

	mu    sync.Mutex
	seen  map[string]int // how often something was asked
	made  map[Kind]int
	asked int
}

// New returns a front.
func New(opts Options) *Front {
	return &Front{opts: opts, seen: map[string]int{}, made: map[Kind]int{}}
}

// Made returns how many requests failed, by kind, and how many there were at all.
func (f *Front) Made() (failed map[Kind]int, asked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.made), f.asked
}

// Wrap puts the front before a registry that speaks HTTP/1.
func (f *Front) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, random := f.choose(r)
		switch kind {
		case None:
			next.ServeHTTP(w, r)
		case Reset:
			reset(w)
		case CutRequest:
			after := int64(float64(r.ContentLength) * random)
			r.Body = &cutBody{ReadCloser: r.Body, left: after}
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			reset(w)
		case CutAnswer:
			next.ServeHTTP(&cutWriter{ResponseWriter: w, share: random}, r)
			panic(http.ErrAbortHandler) // an answer without a body
		case LostAnswer:
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			reset(w)
		default:
			refuse(w, kind)
		}
	})
}

// choose returns how a request is to fail, and a number in [0, 1) for how far it gets.
func (f *Front) choose(r *http.Request) (Kind, float64) {
	key := subject(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.seen[key]++
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d", key, f.seen[key])
	random := rand.New(rand.NewPCG(f.opts.Seed, hash.Sum64()))
	if random.Float64() >= f.opts.Share {
		return None, 0
	}
	kind := f.opts.Only
	if kind == None {
		kind = None + 1 + Kind(random.IntN(int(kinds-1)))
	}
	if kind == CutRequest && r.ContentLength <= 0 {
		kind = Reset // there is no middle
	}
	f.made[kind]++
	return kind, random.Float64()
}

// subject is what a request asks for, without what a registry makes up: the ids of uploads.
func subject(r *http.Request) string {
	path, upload, found := strings.Cut(r.URL.Path, "/blobs/uploads/")
	if found && upload != "" {
		path += "/blobs/uploads/ID"
	}
	query := r.URL.Query()
	return strings.Join([]string{r.Method, path, query.Get("digest"), query.Get("mount"), r.Header.Get("Range")}, " ")
}

// refuse answers in place of the registry.
func refuse(w http.ResponseWriter, kind Kind) {
	status := http.StatusServiceUnavailable
	switch kind {
	case InternalError:
		status = http.StatusInternalServerError
	case BadGateway:
		status = http.StatusBadGateway
	case UnavailableFor:
		w.Header().Set("Retry-After", strconv.Itoa(int(pause.Seconds())))
	case UnavailableUntil:
		w.Header().Set("Retry-After", time.Now().Add(pause).UTC().Format(http.TimeFormat))
	case TooManyFor:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(pause.Seconds())))
	case TooManyUntil:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", time.Now().Add(pause).UTC().Format(http.TimeFormat))
	}
	http.Error(w, "out of order", status)
}

// reset ends the connection in a way that the client sees as a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// errCut is what the registry sees of a request that is cut.
var errCut = errors.New("the connection was cut")

type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// cutWriter sends a share of the answer, then aborts it.
type cutWriter struct {
	http.ResponseWriter
	share float64
	left  int64
	told  bool
}

func (w *cutWriter) WriteHeader(status int) {
	w.told = true
	length, _ := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	w.left = int64(float64(length) * w.share)
	w.ResponseWriter.WriteHeader(status)
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if !w.told {
		w.WriteHeader(http.StatusOK)
	}
	if int64(len(p)) <= w.left {
		n, err := w.ResponseWriter.Write(p)
		w.left -= int64(n)
		return n, err
	}
	if _, err := w.ResponseWriter.Write(p[:w.left]); err != nil {
		return 0, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // what has passed shall arrive
	panic(http.ErrAbortHandler)
}

// nowhere takes an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}
