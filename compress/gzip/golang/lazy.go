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
	c := e.chains
	look := c.look(all)
	if look <= c.pos {
		return nil
	}
	c.remember(c.end)
	pos, last, lastDistance, pending := c.pos, e.length, e.distance, e.pending
	for pos < look {
		length, distance := 0, 0
		if pos < c.known && last < c.lazy {
			length, distance = c.longest(pos, last)
		}
		end := pos // of the token
		if last >= minMatch && length == 0 {
			c.add(deflate.Match(last, lastDistance))
			pos += last - 1
			end, last, pending = pos, minMatch-1, false
		} else {
			if pending {
				c.add(deflate.Literal(c.window[(pos-1)&(windowSize-1)]))
			}
			pos++
			last, lastDistance, pending = max(length, minMatch-1), distance, true
		}
		if c.queued == blockTokens {
			if err := c.finish(end); err != nil {
				return err
			}
		}
	}
	c.pos, e.length, e.distance, e.pending = pos, last, lastDistance, pending
	return nil
}
