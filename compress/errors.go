package compress

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrCorrupt comes back when a file does not hold what its format promises: it is cut short, altered, or was
	// never whole. A *FrameError says where.
	ErrCorrupt = errors.New("damaged")
	// ErrClosed comes back from a Writer, Reader or Scanner that was closed or given up.
	ErrClosed = errors.New("closed")
)

// FrameError is a frame, stamp or table that could not be read, and its place.
type FrameError struct {
	Number      int   // of the frame; -1 for the table and what else is no frame
	Offset      int64 // in the file
	Size        int64 // bytes of the file that are concerned, 0 when that is not known
	PlainOffset int64 // in the plain stream
	Reason      string
	// Err is nil when the bytes are wrong, io.ErrUnexpectedEOF when they end too early, and else what the reader
	// below said, in which case the error is not ErrCorrupt.
	Err error
}

// Error names the frame, its place and what is wrong with it.
func (e *FrameError) Error() string {
	what := "table of frames"
	if e.Number >= 0 {
		what = fmt.Sprintf("frame %d", e.Number)
	}
	s := fmt.Sprintf("%s at byte %d: %s", what, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *FrameError) Unwrap() error { return e.Err }

// Is makes errors.Is(e, ErrCorrupt) hold when the file is to blame and not the device that it lies on.
func (e *FrameError) Is(target error) bool {
	return target == ErrCorrupt && (e.Err == nil || errors.Is(e.Err, io.ErrUnexpectedEOF))
}

// tableError returns the error of a table at offset whose bytes are wrong.
func tableError(offset int64, format string, args ...any) error {
	return &FrameError{Number: -1, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// readError returns the error of reading the part of the table at offset.
func readError(offset int64, what string, err error) error {
	return &FrameError{Number: -1, Offset: offset, Reason: what, Err: unexpected(err)}
}

// corrupt returns the error of frame f whose bytes are wrong.
func (f Frame) corrupt(format string, args ...any) *FrameError {
	return f.fail(fmt.Sprintf(format, args...), nil)
}

// fail returns the error of frame f that err explains.
func (f Frame) fail(reason string, err error) *FrameError {
	return &FrameError{
		Number: f.Number, Offset: f.Offset, Size: f.Size, PlainOffset: f.PlainOffset,
		Reason: reason, Err: unexpected(err),
	}
}

// unexpected turns an end of file where more should come into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
