package registry

import (
	"context"
	"encoding"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/ferry-oci/ferry/oci"
)

// markEvery is how many bytes lie between two places of a blob at which its reading can begin, the hash of what stands
// before them being known.
const markEvery = 4 << 20

// unmarked is the end of a blob that has no mark, in bytes: there the hash runs ahead of what the proving reader gives.
const unmarked = 1 << 20

// hashMark is the state of the hash after the first At bytes of a blob.
type hashMark struct {
	At    int64  `json:"at"`
	State []byte `json:"state"`
}

// marks are those of one blob, ascending. The older ones lie further apart, so that their number stays small.
type marks []hashMark

const (
	maxMarks    = 64
	recentMarks = 16 // that stay as they are: where a transfer breaks, the registry has nearly all that was sent
)

// add takes the state of h after at bytes, unless the last mark is near.
func (m *marks) add(at int64, h hash.Hash) bool {
	if n := len(*m); n > 0 && at < (*m)[n-1].At+markEvery || at < markEvery {
		return false
	}
	state, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return false
	}
	raw, err := state.MarshalBinary()
	if err != nil {
		return false
	}
	*m = append(*m, hashMark{At: at, State: raw})
	if len(*m) > maxMarks {
		thin := (*m)[:0]
		for i, k := range *m {
			if i%2 == 0 || i >= len(*m)-recentMarks {
				thin = append(thin, k)
			}
		}
		*m = thin
	}
	return true
}

// before returns the hash of the longest beginning of d that is no longer than at, and its length.
func (m marks) before(d oci.Descriptor, at int64) (hash.Hash, int64, error) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].At > at {
			continue
		}
		h, err := oci.NewHash(d)
		if err != nil {
			return nil, 0, err
		}
		if state, ok := h.(encoding.BinaryUnmarshaler); ok && state.UnmarshalBinary(m[i].State) == nil {
			return h, m[i].At, nil
		}
	}
	h, err := oci.NewHash(d)
	return h, 0, err
}

// feed gives the content of a blob to the requests of its upload, in order, and proves it on the way: wherever the
// reading began, the last bytes come only after size and digest of the whole have been found right.
//
// The content stays open from one request to the next one that goes on where that ended. It is opened by the first read,
// so what is refused before costs nothing at the source.
type feed struct {
	ctx     context.Context
	d       oci.Descriptor
	content oci.Content
	marked  func(marks) // called when there is a new mark; nil is fine

	haltMu sync.Mutex
	halted bool               // nothing may be opened
	cancel context.CancelFunc // of the content that is open

	mu      sync.Mutex // held while the content is read
	marks   marks
	src     io.ReadCloser // nil when nothing is open
	proven  io.Reader     // src, verified
	hash    hash.Hash     // of what was read
	pos     int64         // where src is
	touched bool          // the content has been read at all
	resumed bool          // what is open began at a mark
	top     int64         // how far a body got since the session began
	proved  bool          // the content is what it should be
	err     error         // of the content, the first one
}

func newFeed(ctx context.Context, d oci.Descriptor, content oci.Content) *feed {
	return &feed{ctx: ctx, d: d, content: content}
}

// body returns n bytes of the content from byte from on, as the body of a request.
func (f *feed) body(from, n int64) *feedBody { return &feedBody{f: f, pos: from, end: from + n} }

// seek makes src stand at from. The caller holds f.mu.
func (f *feed) seek(from int64) error {
	if f.src != nil && f.pos == from {
		return nil
	}
	f.shut()
	h, at, err := f.marks.before(f.d, from)
	if err != nil {
		return err
	}
	err = f.open(h, at)
	if errors.Is(err, oci.ErrGone) && at > 0 && !f.touched { // a source that begins at its beginning
		if h, err = oci.NewHash(f.d); err == nil {
			err = f.open(h, 0)
		}
	}
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for f.pos < from {
		if _, err := f.read(buf[:min(int64(len(buf)), from-f.pos)]); err != nil {
			return err
		}
	}
	return nil
}

// open opens the content at the place of which h is the hash.
func (f *feed) open(h hash.Hash, at int64) error {
	ctx, cancel := context.WithCancel(f.ctx)
	f.haltMu.Lock()
	halted := f.halted
	f.cancel = cancel
	f.haltMu.Unlock()
	if halted {
		cancel()
		return http.ErrBodyReadAfterClose
	}
	src, err := f.content(ctx, at)
	if err != nil {
		return err
	}
	f.src, f.hash, f.pos, f.resumed = src, h, at, at > 0
	f.proven = oci.VerifyFrom(src, f.d, h, at)
	return nil
}

// read reads from the content that is open, and marks the place now and then. The end of the content is no error as long
// as there are bytes. The caller holds f.mu.
func (f *feed) read(p []byte) (int, error) {
	n, err := f.proven.Read(p)
	f.pos += int64(n)
	f.touched = f.touched || n > 0
	f.proved = f.proved || f.pos == f.d.Size && (n > 0 || err == io.EOF)
	if n > 0 && f.pos <= f.d.Size-unmarked && f.marks.add(f.pos, f.hash) && f.marked != nil {
		f.marked(f.marks)
	}
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// shut closes what is open. The caller holds f.mu.
func (f *feed) shut() {
	if f.src != nil {
		f.src.Close()
		f.src = nil
	}
	f.haltMu.Lock()
	defer f.haltMu.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
}

// halt ends a read of the content that is under way, and lets nobody open it until it is called with false.
func (f *feed) halt(yes bool) {
	f.haltMu.Lock()
	defer f.haltMu.Unlock()
	f.halted = yes
	if yes && f.cancel != nil {
		f.cancel()
	}
}

// stop ends the bodies of a request: when it returns, nothing reads the content. The transport may still be at it when
// the request has ended. The content stays open where the request got all of its bytes.
func (f *feed) stop(bodies []*feedBody, done bool) {
	for _, b := range bodies {
		b.dead.Store(true)
	}
	if !done {
		f.halt(true)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !done {
		f.shut()
		f.halt(false)
	}
}

// prove reads the content to its end, if that has not been done, and gives it to nobody.
func (f *feed) prove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proved {
		return nil
	}
	err := f.seek(f.d.Size)
	if err == nil && !f.proved { // an empty blob, or marks up to the end
		_, err = f.read(make([]byte, 1))
	}
	if err == nil || err == io.EOF {
		return nil
	}
	f.err = err
	return err
}

// failure returns the error of the content, if any. It is not one of the registry's.
func (f *feed) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// reached returns how far the bodies of this session got.
func (f *feed) reached() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.top
}

// begin says that a session begins or goes on with at bytes of the blob, and returns how many bytes have to be sent
// once more.
func (f *feed) begin(at int64) (again int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again = max(0, f.top-at)
	f.top = at
	return again
}

// rewind makes the feed begin anew when its content was found wrong after it had been opened at a mark, which may be what
// was wrong, and reports whether it did.
func (f *feed) rewind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.resumed || !errors.Is(f.err, oci.ErrCorrupt) {
		return false
	}
	f.shut()
	f.err, f.marks, f.resumed = nil, nil, false
	return true
}

// close ends all reading.
func (f *feed) close() { f.stop(nil, false) }

// feedBody is a part of the content as the body of one request.
type feedBody struct {
	f        *feed
	pos, end int64
	dead     atomic.Bool // its request has ended
}

func (b *feedBody) Read(p []byte) (int, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if b.dead.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.pos == b.end {
		return 0, io.EOF
	}
	n, err := b.read(p[:min(int64(len(p)), b.end-b.pos)])
	if err != nil && b.f.err == nil && !b.dead.Load() { // else it is only the echo of the request's end
		b.f.err = err
	}
	return n, err
}

// read is Read with the lock held, and without the end.
func (b *feedBody) read(p []byte) (int, error) {
	if err := b.f.seek(b.pos); err != nil {
		return 0, err
	}
	n, err := b.f.read(p)
	b.pos += int64(n)
	b.f.top = max(b.f.top, b.pos)
	return n, err
}

// Close may come while a Read is under way, which ends by itself or by stop.
func (b *feedBody) Close() error {
	b.dead.Store(true)
	return nil
}
