package compress

import "io"

// How far a readAhead is ahead: this many parts of so many bytes, of which one is that of the caller.
const (
	aheadParts = 8
	aheadSize  = 128 << 10
)

// A readAhead gives what it reads from another reader in a goroutine of its own, ahead of its caller. It is for one
// goroutine.
type readAhead struct {
	r    io.Reader
	free chan []byte
	full chan aheadPart // in order, with room for all

	quit  chan struct{} // ends the goroutine; nil when there is none
	done  chan struct{} // it has ended
	ended bool          // r has said its last

	part aheadPart // that of the caller
	left []byte    // what was not read of it
}

type aheadPart struct {
	b   []byte
	err error // after b
}

// newReadAhead returns a readAhead of r, which begins with the first Read.
func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{r: r, free: make(chan []byte, aheadParts), full: make(chan aheadPart, aheadParts)}
	for range aheadParts {
		a.free <- nil
	}
	return a
}

// Read gives the next bytes, then what r said last.
func (a *readAhead) Read(p []byte) (int, error) {
	if err := a.more(); err != nil {
		return 0, err
	}
	n := copy(p, a.left)
	a.left = a.left[n:]
	return n, nil
}

// discard passes over at most n of the next bytes, at least one, and returns how many those were.
func (a *readAhead) discard(n int64) (int64, error) {
	if err := a.more(); err != nil {
		return 0, err
	}
	n = min(n, int64(len(a.left)))
	a.left = a.left[n:]
	return n, nil
}

// more waits until there are bytes to be read.
func (a *readAhead) more() error {
	for len(a.left) == 0 {
		if a.part.err != nil {
			return a.part.err
		}
		if a.part.b != nil {
			a.free <- a.part.b
		}
		a.run()
		a.part = <-a.full
		a.left = a.part.b
	}
	return nil
}

// run starts the goroutine, if there is none.
func (a *readAhead) run() {
	if a.quit != nil || a.ended {
		return
	}
	quit, done := make(chan struct{}), make(chan struct{})
	a.quit, a.done = quit, done
	go func() {
		defer close(done)
		for !a.ended {
			select {
			case <-quit:
				return
			case b := <-a.free:
				a.full <- a.fill(b)
			}
		}
	}()
}

// fill reads the next part into b.
func (a *readAhead) fill(b []byte) aheadPart {
	if b == nil {
		b = make([]byte, aheadSize)
	}
	n, err := a.r.Read(b[:cap(b)])
	a.ended = err != nil
	return aheadPart{b[:n], err}
}

// rest ends the goroutine and waits for it. What it has read is there for the next Read, which goes on behind it.
func (a *readAhead) rest() {
	if a.quit != nil {
		close(a.quit)
		<-a.done
		a.quit = nil
	}
}

// restart forgets what was read and begins with r.
func (a *readAhead) restart(r io.Reader) {
	a.rest()
	for len(a.full) > 0 {
		a.free <- (<-a.full).b
	}
	if a.part.b != nil {
		a.free <- a.part.b
	}
	a.r, a.ended, a.part, a.left = r, false, aheadPart{}, nil
}
