package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

// twins makes the streams of GNU gzip and of LargeBusyBox, which are the same until the end of the input.
type twins struct {
	resumer // of GNU gzip, with its end
	other   *encoder
	emit    [2]deflate.Emit
}

// NewTwins returns an encoder that makes the streams of GNUGzip and of LargeBusyBox at once, with the work of one. Level is
// 4 to 9. The blocks of the one go to emit[0], and those of the other to emit[1].
func NewTwins(level int, emit [2]deflate.Emit) (Resumer, error) {
	e, err := New(GNUGzip, max(level, firstLazy), nil)
	if err != nil {
		return nil, err
	}
	t := &twins{resumer: *e.(*resumer), other: new(encoder), emit: emit}
	t.blocks.emit = t.both
	return t, nil
}

func (t *twins) both(b *deflate.Block) error {
	if err := t.emit[0](b); err != nil {
		return err
	}
	return t.emit[1](b)
}

// Close ends both streams.
func (t *twins) Close() error {
	*t.other = *t.encoder
	t.other.program = BusyBox
	t.other.blocks.emit = t.emit[1]
	t.other.block.Header.Lengths = nil // which the other has
	t.blocks.emit = t.emit[0]
	err := t.encoder.Close()
	t.blocks.emit = t.both
	if err != nil {
		return err
	}
	return t.other.Close()
}
