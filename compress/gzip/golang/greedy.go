package golang

import "github.com/ferry-oci/ferry/compress/deflate"

// greedy is the encoder of levels 2 and 3.
type greedy struct{ *chains }

// Reset begins a stream, with dict before it.
func (e *greedy) Reset(dict []byte) { e.resetAt(int64(len(dict)), dict) }

// Write takes the next plain bytes.
func (e *greedy) Write(p []byte) error {
	for len(p) > 0 {
		p = p[e.fill(p):]
		if err := e.run(false); err != nil {
			return err
		}
	}
	return nil
}

// Flush ends the block and adds an empty stored one.
func (e *greedy) Flush() error { return e.end(false) }

// Close ends the block and adds an empty stored one, which is final.
func (e *greedy) Close() error { return e.end(true) }

func (e *greedy) end(final bool) error {
	if err := e.run(true); err != nil {
		return err
	}
	return e.drain(final)
}

// run makes tokens of what is in the window, but not of its end unless all is set.
func (e *greedy) run(all bool) error {
	c := e.chains
	look := c.look(all)
	for c.pos < look {
		c.remember(c.pos)
		length, distance := 0, 0
		if c.pos+minMatch <= c.end {
			c.link(c.pos)
			c.known = c.pos + 1
			length, distance = c.longest(c.pos, minMatch-1)
		}
		if length == 0 {
			c.add(deflate.Literal(c.window[c.pos&(windowSize-1)]))
			c.pos++
		} else {
			c.add(deflate.Match(length, distance))
			c.pos += length
			if length > c.skip {
				c.known = c.pos
			}
		}
		if c.queued == blockTokens {
			if err := c.finish(c.pos); err != nil {
				return err
			}
		}
	}
	return nil
}
