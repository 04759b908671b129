package golang

import "github.com/ferry-oci/ferry/compress/deflate"

// lazy is the encoder of levels 4 to 9.
type lazy struct {
	*chains
	// The match that was found at the place before pos, with less than minMatch bytes if there is none, and whether that
	// place has no token yet.
	length, distance int
	pending          bool
}

// Reset begins a stream, or goes on after dict as one of its length.
func (e *lazy) Reset(dict []byte) { e.ResetAt(int64(len(dict)), dict) }

// ResetAt goes on at position after dict: see [Resumer]. A match that was found at the place before makes no difference,
// as a search does not depend on it.
func (e *lazy) ResetAt(position int64, dict []byte) {
	e.resetAt(position, dict)
	e.length, e.pending = minMatch-1, false
}

// Write takes the next plain bytes.
func (e *lazy) Write(p []byte) error {
	for len(p) > 0 {
		p = p[e.fill(p):]
		if err := e.run(false); err != nil {
			return err
		}
	}
	return nil
}

// Flush ends the block and adds an empty stored one.
func (e *lazy) Flush() error { return e.end(false) }

// Close ends the block and adds an empty stored one, which is final.
func (e *lazy) Close() error { return e.end(true) }

func (e *lazy) end(final bool) error {
	if err := e.run(true); err != nil {
		return err
	}
	if e.pending {
		e.add(deflate.Literal(e.window[e.pos-1]))
		e.length, e.pending = minMatch-1, false
	}
	return e.drain(final)
}

// run makes tokens of what is in the window, but not of its end unless all is set.
func (e *lazy) run(all bool) error {
	look := e.look(all)
	if look <= e.pos {
		return nil
	}
	e.remember(e.chains.end)
	for e.pos < look {
		length, distance := 0, 0
		if e.pos < e.known && e.length < e.lazy {
			length, distance = e.longest(e.pos, e.length)
		}
		if e.length >= minMatch && length == 0 {
			e.add(deflate.Match(e.length, e.distance))
			e.pos += e.length - 1
			e.length, e.pending = minMatch-1, false
			if e.queued == blockTokens {
				if err := e.finish(e.pos); err != nil {
					return err
				}
			}
			continue
		}
		if e.pending {
			e.add(deflate.Literal(e.window[e.pos-1]))
			if e.queued == blockTokens {
				if err := e.finish(e.pos); err != nil {
					return err
				}
			}
		}
		e.pos++
		e.length, e.distance, e.pending = max(length, minMatch-1), distance, true
	}
	return nil
}
