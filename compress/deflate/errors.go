package deflate

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrCorrupt comes back for bits that are no valid stream, or that end before the stream does. A *StreamError says
	// where.
	ErrCorrupt = errors.New("no valid deflate stream")
	// ErrBlockTooLarge comes back from a Reader for a block of more than [MaxTokens] tokens or [MaxBlockSize] plain
	// bytes. The stream may be valid.
	ErrBlockTooLarge = errors.New("block too large")
)

// StreamError is what a [Reader] could not read, and its place.
type StreamError struct {
	Bit    int64 // in the stream, near the end of what was read last
	Reason string
	// Err is nil when the bits are wrong, io.ErrUnexpectedEOF when they end too early, ErrBlockTooLarge, and else what the
	// reader below said, in which cases but the first two the error is not ErrCorrupt.
	Err error
}

// Error names the place and what is wrong there.
func (e *StreamError) Error() string {
	s := fmt.Sprintf("deflate stream at bit %d: %s", e.Bit, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *StreamError) Unwrap() error { return e.Err }

// Is makes errors.Is(e, ErrCorrupt) hold when the stream is to blame.
func (e *StreamError) Is(target error) bool {
	return target == ErrCorrupt && (e.Err == nil || errors.Is(e.Err, io.ErrUnexpectedEOF))
}
