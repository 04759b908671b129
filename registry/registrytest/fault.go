package registrytest

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// Match says which requests a fault befalls. Empty fields stand for any.
type Match struct {
	Method string
	Kind   Kind
	Repo   string
	Ref    string // tag, digest, or the id of an upload session
	Times  int    // how many requests, then it is over; 0 is all
}

// Fault changes how a request is answered. Next is what answers otherwise.
type Fault func(next http.Handler) http.Handler

type rule struct {
	Match
	fault Fault
	used  int
}

// Fault makes the registry misbehave. When several rules match a request, the first that is not over is taken.
func (s *Server) Fault(m Match, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &rule{Match: m, fault: f})
}

// ClearFaults makes the registry behave.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// misbehave returns next with the fault of the first rule for q.
func (s *Server) misbehave(q *Request, next http.Handler) http.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if r.matches(q) {
			r.used++
			return r.fault(next)
		}
	}
	return next
}

func (r *rule) matches(q *Request) bool {
	return (r.Method == "" || r.Method == q.Method) && (r.Kind == "" || r.Kind == q.Kind) &&
		(r.Repo == "" || r.Repo == q.Repo) && (r.Ref == "" || r.Ref == q.Ref) && (r.Times == 0 || r.used < r.Times)
}

// Status answers with status and text; headers are names and values in turn.
func Status(status int, text string, headers ...string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, text)
		})
	}
}

// Code answers with an error of the distribution specification.
func Code(status int, code, message string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apiError(w, status, code, message) })
	}
}

// TooManyRequests answers 429 and asks for a pause of so many seconds.
func TooManyRequests(seconds int) Fault {
	return Status(http.StatusTooManyRequests, "slow down", "Retry-After", strconv.Itoa(seconds))
}

// TooManyRequestsUntil answers 429 and asks for a pause until t, by a clock that shows now.
func TooManyRequestsUntil(now, t time.Time) Fault {
	return Status(http.StatusTooManyRequests, "slow down",
		"Retry-After", t.UTC().Format(http.TimeFormat), "Date", now.UTC().Format(http.TimeFormat))
}

// Drop cuts the connection without an answer; the request has been served or not, see served.
func Drop(served bool) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if served {
				next.ServeHTTP(&discard{header: http.Header{}}, r)
			}
			panic(http.ErrAbortHandler)
		})
	}
}

// discard is a ResponseWriter for answers that nobody gets.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// Cut sends n bytes of the answer's body and cuts the connection.
func Cut(n int64) Fault {
	return writing(func(w http.ResponseWriter, r *http.Request) *bodyWriter {
		return &bodyWriter{ResponseWriter: w, limit: n, end: func() { panic(http.ErrAbortHandler) }}
	})
}

// Stall sends n bytes of the answer's body, calls stalled, and sends nothing more until the channel is closed or the
// client goes away. Stalled is called by the goroutine that serves the request.
func Stall(n int64, stalled func(), until <-chan struct{}) Fault {
	return writing(func(w http.ResponseWriter, r *http.Request) *bodyWriter {
		b := &bodyWriter{ResponseWriter: w, limit: n}
		b.end = func() {
			stalled()
			select {
			case <-until:
				b.limit = -1
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		return b
	})
}

// Corrupt changes the first byte of the answer's body.
func Corrupt() Fault {
	return writing(func(w http.ResponseWriter, r *http.Request) *bodyWriter {
		return &bodyWriter{ResponseWriter: w, limit: -1, corrupt: true}
	})
}

// Header sets a header of the answer; an empty value takes it away.
func Header(name, value string) Fault {
	return writing(func(w http.ResponseWriter, r *http.Request) *bodyWriter {
		return &bodyWriter{ResponseWriter: w, limit: -1, edit: func(h http.Header) {
			if value == "" {
				h.Del(name)
			} else {
				h.Set(name, value)
			}
		}}
	})
}

// Resize makes the answer's body longer by so many zero bytes, or shorter, and says so in Content-Length.
func Resize(by int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b := &bodyWriter{ResponseWriter: w, limit: -1}
			b.edit = func(h http.Header) {
				size, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
				if by < 0 {
					b.limit = max(0, size+by)
				}
				h.Set("Content-Length", strconv.FormatInt(max(0, size+by), 10))
			}
			next.ServeHTTP(b, r)
			if by > 0 && r.Method != http.MethodHead {
				w.Write(make([]byte, by))
			}
		})
	}
}

// Whole answers as if no range had been asked for.
func Whole() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			whole := *r
			whole.Header = r.Header.Clone()
			whole.Header.Del("Range")
			next.ServeHTTP(w, &whole)
		})
	}
}

// CutUpload takes n bytes of the request's body and cuts the connection.
func CutUpload(n int64) Fault {
	return reading(func(r *http.Request) io.Reader {
		return io.MultiReader(io.LimitReader(r.Body, n), errReader{})
	})
}

// CorruptUpload changes the first byte of the request's body on its way in.
func CorruptUpload() Fault {
	return reading(func(r *http.Request) io.Reader { return &corruptReader{r: r.Body} })
}

// StallUpload takes n bytes of the request's body, calls stalled, and takes nothing more until the channel is closed.
// A client that is to notice must have more to send than fits into the buffers between the two, some megabytes. That
// the client is gone cannot be seen meanwhile.
func StallUpload(n int64, stalled func(), until <-chan struct{}) Fault {
	return reading(func(r *http.Request) io.Reader {
		return io.MultiReader(io.LimitReader(r.Body, n), waitReader{stalled: stalled, until: until}, r.Body)
	})
}

// writing makes a fault of a changed ResponseWriter.
func writing(wrap func(http.ResponseWriter, *http.Request) *bodyWriter) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b := wrap(w, r)
			next.ServeHTTP(b, r)
			b.finish()
		})
	}
}

// reading makes a fault of a changed request body.
func reading(wrap func(*http.Request) io.Reader) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r2 := *r
			r2.Body = struct {
				io.Reader
				io.Closer
			}{wrap(r), r.Body}
			next.ServeHTTP(w, &r2)
		})
	}
}

// bodyWriter changes an answer on its way out.
type bodyWriter struct {
	http.ResponseWriter
	limit   int64 // bytes of the body to let pass; -1 is all
	corrupt bool
	edit    func(http.Header)
	end     func() // called when the limit is reached

	wrote bool
	n     int64
}

func (b *bodyWriter) WriteHeader(status int) {
	if !b.wrote && b.edit != nil {
		b.edit(b.Header())
	}
	b.wrote = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	if !b.wrote {
		b.WriteHeader(http.StatusOK)
	}
	if b.corrupt && b.n == 0 && len(p) > 0 {
		p = append([]byte{p[0] ^ 0xff}, p[1:]...)
	}
	if b.limit < 0 || b.n+int64(len(p)) <= b.limit {
		n, err := b.ResponseWriter.Write(p)
		b.n += int64(n)
		return n, err
	}
	head := p[:b.limit-b.n]
	n, err := b.ResponseWriter.Write(head)
	b.n += int64(n)
	if err != nil || b.end == nil {
		return len(p), err // what is beyond the limit is dropped
	}
	b.flushAndEnd()
	m, err := b.Write(p[n:]) // after the end the limit is gone
	return n + m, err
}

// finish reaches the end of an answer that is shorter than the limit.
func (b *bodyWriter) finish() {
	if b.end != nil && b.limit >= 0 {
		b.flushAndEnd()
	}
}

func (b *bodyWriter) flushAndEnd() {
	http.NewResponseController(b.ResponseWriter).Flush() // an error means that nobody is there any more
	b.end()
}

func (b *bodyWriter) Unwrap() http.ResponseWriter { return b.ResponseWriter }

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// corruptReader changes the first byte that r gives.
type corruptReader struct {
	r    io.Reader
	done bool
}

func (c *corruptReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 && !c.done {
		p[0] ^= 0xff
		c.done = true
	}
	return n, err
}

// waitReader ends when until is closed.
type waitReader struct {
	stalled func()
	until   <-chan struct{}
}

func (w waitReader) Read([]byte) (int, error) {
	w.stalled()
	<-w.until
	return 0, io.EOF
}
