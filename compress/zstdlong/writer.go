package zstdlong

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Limits of a frame.
const (
	MinWindow = 1 << 10   // bytes
	MaxWindow = 128 << 20 // that `zstd -d` takes without being told
	MaxSize   = 2 << 30   // of the content
)

const (
	maxBlock = 128 << 10 // bytes of a block, RFC 8878 section 3.1.1.2.4; and no more than the window
	// slack is how much the buffer holds beside the window, so that the window is moved in memory but seldom.
	slack = 16 << 20
)

// Types of blocks, RFC 8878 section 3.1.1.2.2.
const (
	blockRaw = iota
	blockRLE
	blockCompressed
)

// Memory returns about how many bytes a Writer takes for frames with this window.
func Memory(window int) int64 {
	const tables = (1<<longBits+1<<shortBits)*8 + 1<<farBits*farEntries*8
	return int64(window) + slack + tables + 4<<20
}

// A Writer writes frames, one after the other, each with the memory of the one before.
type Writer struct {
	w       io.Writer
	history *history
	parser  parser
	seqs    sequenceCoder
	lits    literalCoder
	sum     *xxhash.Digest

	size   int64 // of the content
	taken  int64 // of it
	done   int   // in the buffer of the history: what comes before it is encoded
	limit  int   // of the buffer
	most   int   // bytes of a block
	out    []byte
	failed error
}

// NewWriter returns a Writer. Reset must come before the first frame.
func NewWriter() *Writer {
	w := &Writer{history: newHistory(), sum: xxhash.New(), failed: errors.New("zstdlong: no frame was begun")}
	w.seqs.init()
	return w
}

// Reset begins a frame of exactly size bytes, at most MaxSize, with a window of at least what is asked for, rounded up to a
// power of two, but no more than the content needs. It goes to dst in pieces.
func (w *Writer) Reset(dst io.Writer, size int64, window int) error {
	if size < 0 || size > MaxSize {
		return fmt.Errorf("zstdlong: content of %d bytes: must be 0 to %d", size, int64(MaxSize))
	}
	if window < MinWindow || window > MaxWindow {
		return fmt.Errorf("zstdlong: window of %d bytes: must be %d to %d", window, MinWindow, MaxWindow)
	}
	window = 1 << bits.Len(uint(max(MinWindow, min(int64(window), size))-1))
	w.w, w.size, w.taken, w.done, w.failed = dst, size, 0, 0, nil
	w.most = min(window, maxBlock)
	w.limit = int(min(int64(window)+slack, max(size, 1)))
	if cap(w.history.buf) < w.limit {
		w.history.buf = make([]byte, 0, w.limit)
	}
	w.history.begin(window, size)
	w.parser.begin()
	w.seqs.begin()
	w.lits.begin()
	w.sum.Reset()
	w.out = appendHeader(w.out[:0], size, window)
	return nil
}

// appendHeader appends the header of a frame, which has content size and checksum.
func appendHeader(dst []byte, size int64, window int) []byte {
	const (
		magic         = 0xfd2fb528
		size4         = 2 << 6
		singleSegment = 1 << 5
		checksum      = 1 << 2
	)
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	if size <= int64(min(window, maxBlock)) {
		dst = append(dst, size4|singleSegment|checksum)
	} else {
		dst = append(dst, size4|checksum, byte((bits.Len(uint(window))-1-10)<<3))
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(size))
}

// Write takes the next bytes of the content.
func (w *Writer) Write(p []byte) (n int, err error) {
	if w.failed == nil && int64(len(p)) > w.size-w.taken {
		w.failed = fmt.Errorf("zstdlong: content of more than %d bytes", w.size)
	}
	for n < len(p) && w.failed == nil {
		h := w.history
		if len(h.buf) == w.limit {
			h.drop(w.done - int(h.window))
			w.done = int(h.window)
		}
		k := min(len(p)-n, w.limit-len(h.buf), w.most-(len(h.buf)-w.done))
		h.buf = append(h.buf, p[n:n+k]...)
		n += k
		w.taken += int64(k)
		if len(h.buf)-w.done == w.most || w.taken == w.size {
			w.failed = w.block()
		}
	}
	return n, w.failed
}

// Close ends the frame.
func (w *Writer) Close() error {
	if w.failed == nil && w.taken < w.size {
		w.failed = fmt.Errorf("zstdlong: content of %d bytes, want %d", w.taken, w.size)
	}
	if w.failed == nil && w.size == 0 {
		w.failed = w.block()
	}
	if w.failed != nil {
		return w.failed
	}
	w.failed = errors.New("zstdlong: the frame has ended")
	_, err := w.w.Write(binary.LittleEndian.AppendUint32(nil, uint32(w.sum.Sum64())))
	return err
}

// block encodes what of the buffer is not encoded yet.
func (w *Writer) block() error {
	h := w.history
	plain := h.buf[w.done:]
	if _, err := w.sum.Write(plain); err != nil {
		return err
	}
	last := 0
	if w.taken == w.size {
		last = 1
	}
	const header = 3
	start := len(w.out)
	w.out = append(w.out, 0, 0, 0)
	repeats := w.parser.repeats
	ok, err := w.encode()
	if err != nil {
		return err
	}
	kind, size := blockCompressed, len(w.out)-start-header
	if !ok || size >= len(plain) { // what a decoder knows is what it knew before
		w.parser.repeats = repeats
		w.seqs.begin()
		w.lits.begin()
		kind, size = blockRaw, len(plain)
		w.out = append(w.out[:start+header], plain...)
		if isRun(plain) {
			kind = blockRLE
			w.out = w.out[:start+header+1]
		}
	}
	v := size<<3 | kind<<1 | last
	w.out[start], w.out[start+1], w.out[start+2] = byte(v), byte(v>>8), byte(v>>16)
	w.done = len(h.buf)
	_, err = w.w.Write(w.out)
	w.out = w.out[:0]
	return err
}

// encode appends the compressed block of what is not encoded yet. It is not ok when that is too small.
func (w *Writer) encode() (ok bool, err error) {
	h := w.history
	if len(h.buf)-w.done < 2*longLength || isRun(h.buf[w.done:]) {
		return false, nil
	}
	w.parser.block(h, w.done, len(h.buf))
	if w.out, err = w.lits.appendTo(w.out, w.parser.literals); err != nil {
		return false, err
	}
	w.out, err = w.seqs.appendTo(w.out, w.parser.seqs)
	return err == nil, err
}

// isRun reports whether all bytes of b, at least two, are equal.
func isRun(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	for _, c := range b[1:] {
		if c != b[0] {
			return false
		}
	}
	return true
}
