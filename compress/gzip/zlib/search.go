package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

// add adds a token, and reports whether the block ends there. Plain is how far from its begin pos is.
func (e *encoder) add(t deflate.Token, pos int) bool {
	e.tokens[e.n&(maxTokens-1)] = t
	e.n++
	if e.n%earlyStep == 0 && e.early && e.endsEarly(pos-e.start) {
		return true
	}
	return e.n == e.full
}

// lazy takes a match only when the next place has no longer one.
func (e *encoder) lazy(stop int) error {
	for e.pos < stop {
		pos := e.pos
		before, match := e.length, e.match
		e.length = deflate.MinMatch - 1
		if pos+deflate.MinMatch <= e.end {
			e.search(pos, before)
		}
		switch {
		case before >= deflate.MinMatch && e.length <= before:
			full := e.add(deflate.Match(before, pos-1-match), pos)
			e.insertAll(pos+1, min(pos-1+before, e.end-deflate.MinMatch+1))
			e.pos = pos - 1 + before
			e.length, e.pending = deflate.MinMatch-1, false
			if full {
				if err := e.cut(e.pos, false); err != nil {
					return err
				}
			}
		case e.pending:
			full := e.add(deflate.Literal(e.buf[pos-1]), pos)
			e.pos++
			if full {
				if err := e.cut(pos, false); err != nil {
					return err
				}
			}
		default:
			e.pending = true
			e.pos++
		}
	}
	return nil
}

// search puts pos into the chains and looks for a match of more than before bytes there.
func (e *encoder) search(pos, before int) {
	place := e.insert(pos)
	if place == 0 || before >= e.maxLazy || pos-place > maxDistance || e.program == GNU && pos > slidePoint {
		return
	}
	var n, match int
	if e.ranked {
		n, match = e.longestOfMany(pos, place, before)
	} else {
		n, match = e.longest(pos, place, before)
	}
	n = min(n, e.end-pos)
	if n == deflate.MinMatch && pos-match > tooFar {
		n--
	}
	e.length, e.match = n, match
}

// fast takes the first match. Long ones do not go into the chains but for their begin.
func (e *encoder) fast(stop int) error {
	for e.pos < stop {
		pos, n, match := e.pos, 0, 0
		if pos+deflate.MinMatch <= e.end {
			place := e.insert(pos)
			if place != 0 && pos-place <= maxDistance && (e.program != GNU || pos <= slidePoint) {
				n, match = e.longest(pos, place, deflate.MinMatch-1)
				n = min(n, e.end-pos)
			}
		}
		var full bool
		if n >= deflate.MinMatch {
			full = e.add(deflate.Match(n, pos-match), pos)
			if n <= e.maxLazy && e.end-(pos+n) >= deflate.MinMatch {
				e.insertAll(pos+1, pos+n)
			}
			e.pos += n
		} else {
			full = e.add(deflate.Literal(e.buf[pos]), pos)
			e.pos++
		}
		if full {
			if err := e.cut(e.pos, false); err != nil {
				return err
			}
		}
	}
	return nil
}
