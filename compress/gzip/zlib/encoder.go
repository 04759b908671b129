package zlib

import (
	"errors"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// tooFar is the distance from which on a match of three bytes is not worth it, where the next byte could begin a longer
// one.
const tooFar = 4096

var errNoFlush = errors.New("GNU gzip and busybox have no flush")

// encoder makes the blocks of all variants but Pigz, which takes one for each chunk.
type encoder struct {
	window
	blocks
	effort
	program Program
	isLazy  bool
	// seesBehind is set when matches are looked for behind the end of the input.
	seesBehind bool

	// Of the lazy search: the longest match at the place before pos, and whether that place has no token yet.
	length, match int
	pending       bool
}

func newEncoder(p Program, level, hashBits, tokens int, emit deflate.Emit) *encoder {
	e := &encoder{program: p, effort: efforts[level], isLazy: level >= firstLazy}
	e.ranked = e.chain >= longChain
	e.seesBehind = p == GNU || p == BusyBox
	e.hashMask = 1<<hashBits - 1
	e.hashShift = uint(hashBits+deflate.MinMatch-1) / deflate.MinMatch
	e.emit, e.full = emit, tokens-1
	e.early = p == BusyBox || p == GNU && level > 2
	e.begin(nil, 0)
	return e
}

// begin begins a stream behind dict, whose end lies at pos of the buffer.
func (e *encoder) begin(dict []byte, pos int) {
	e.reset(dict, pos)
	e.n, e.matches, e.distanceBits, e.bits = 0, 0, 0, 0
	e.length, e.pending = deflate.MinMatch-1, false
}

// Reset begins a stream.
func (e *encoder) Reset(dict []byte) {
	dict = dict[max(len(dict)-windowSize, 0):]
	e.begin(dict, len(dict))
}

// A resumer is an encoder whose chains have all places.
type resumer struct{ *encoder }

// ResetAt begins in the midst of a stream.
func (r *resumer) ResetAt(position int64, dict []byte) {
	if position == 0 {
		dict = nil
	}
	if position > bufferSize {
		// The buffer has moved by windowSize several times, and is not to move before it is full.
		position = (position-1)%windowSize + 1 + windowSize
	}
	dict = dict[max(len(dict)-min(windowSize, int(position)), 0):]
	r.begin(dict, int(position))
}

// Write takes the next plain bytes.
func (e *encoder) Write(p []byte) error {
	for len(p) > 0 {
		p = p[e.fill(p):]
		if e.end < bufferSize {
			break
		}
		if err := e.run(e.end - lookahead + 1); err != nil {
			return err
		}
		e.slide()
	}
	return nil
}

// Flush does what Z_SYNC_FLUSH of zlib does. It is an error of programs that have no flush.
func (e *encoder) Flush() error {
	if e.program != Zlib {
		return errNoFlush
	}
	if err := e.endBlock(); err != nil {
		return err
	}
	return e.stored(nil, false)
}

// endBlock makes a block of what is left, if anything is.
func (e *encoder) endBlock() error {
	if err := e.drain(); err != nil {
		return err
	}
	e.unhashed = min(e.pos, deflate.MinMatch-1)
	if e.n == 0 {
		return nil
	}
	return e.cut(e.pos, false)
}

// Close ends the stream with a final block.
func (e *encoder) Close() error {
	if err := e.drain(); err != nil {
		return err
	}
	return e.cut(e.pos, true)
}

// slide makes room in the buffer.
func (e *encoder) slide() {
	e.window.slide()
	e.match -= windowSize
}

// drain makes tokens of all that is in the buffer.
func (e *encoder) drain() error {
	if err := e.run(e.end - lookahead + 1); err != nil {
		return err
	}
	if e.seesBehind {
		// These programs look for more input once the end is in sight, and never move the buffer again.
		if e.pos >= slidePoint {
			e.slide()
		}
		if e.program == GNU {
			clear(e.buf[e.end : e.end+deflate.MinMatch-1])
		}
		if err := e.run(e.end); err != nil {
			return err
		}
	} else if err := e.drainSliding(); err != nil {
		return err
	}
	if e.pending {
		e.tokens[e.n] = deflate.Literal(e.buf[e.pos-1]) // a block that this fills does not end
		e.n++
		e.pending = false
	}
	return nil
}

// drainSliding makes tokens of all, and moves the buffer as soon as it can.
func (e *encoder) drainSliding() error {
	for {
		if err := e.run(min(e.end, slidePoint)); err != nil {
			return err
		}
		if e.pos >= slidePoint {
			e.slide()
		}
		if e.pos >= e.end {
			return nil
		}
	}
}

// run makes tokens of the places before stop.
func (e *encoder) run(stop int) error {
	if e.isLazy {
		return e.lazy(stop)
	}
	return e.fast(stop)
}

// cut ends the block before place.
func (e *encoder) cut(place int, final bool) error {
	var raw []byte
	if e.start >= 0 {
		raw = e.buf[e.start:place]
	}
	e.start = place
	return e.endTokens(raw, final)
}
