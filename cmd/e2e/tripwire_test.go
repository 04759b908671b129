package e2e

import (
	"io"
	"net/http"
	"sync"
)

// tripwire stops a registry in the middle of the work: it lets a number of bytes of bodies pass, in both directions,
// then holds everything until release, which aborts what was held, or until resume. (A registry whose client is killed
// may else be done with everything by then.)
type tripwire struct {
	mu       sync.Mutex
	left     int64         // negative: all may pass
	tripped  chan struct{} // closed when the last byte has passed
	released chan struct{}
	aborts   bool // what was held, set before released is closed
}

func newTripwire() *tripwire { return &tripwire{left: -1} }

// arm lets n more bytes pass. The channel is closed when they have.
func (t *tripwire) arm(n int64) (tripped <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.tripped, t.released, t.aborts = n, make(chan struct{}), make(chan struct{}), false
	return t.tripped
}

// release aborts the requests that are held and lets all others pass.
func (t *tripwire) release() { t.open(true) }

// resume lets everything pass, what was held as well.
func (t *tripwire) resume() { t.open(false) }

func (t *tripwire) open(abort bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.aborts = -1, abort
	close(t.released)
}

// pass returns how many of n bytes may pass now. When that is none it waits, and aborts the request if so told.
func (t *tripwire) pass(n int) int {
	t.mu.Lock()
	if t.left < 0 {
		t.mu.Unlock()
		return n
	}
	passed := int(min(t.left, int64(n)))
	t.left -= int64(passed)
	if t.left == 0 && passed > 0 {
		close(t.tripped)
	}
	released := t.released
	t.mu.Unlock()
	if passed > 0 {
		return passed
	}
	<-released
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aborts {
		panic(http.ErrAbortHandler)
	}
	return n
}

// wrap guards the bodies that a registry reads and writes.
func (t *tripwire) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &guardedBody{ReadCloser: r.Body, wire: t}
		next.ServeHTTP(&guardedWriter{ResponseWriter: w, wire: t}, r)
	})
}

type guardedBody struct {
	io.ReadCloser
	wire *tripwire
}

func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for passed := 0; passed < n; {
		passed += b.wire.pass(n - passed)
	}
	return n, err
}

type guardedWriter struct {
	http.ResponseWriter
	wire *tripwire
}

func (w *guardedWriter) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n := w.wire.pass(len(p) - written)
		m, err := w.ResponseWriter.Write(p[written : written+n])
		written += m
		if err != nil {
			return written, err
		}
		if written < len(p) { // cut off: what has passed must arrive
			if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}
