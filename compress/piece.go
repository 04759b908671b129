package compress

import "context"

// A piece is a frame on its way through a Writer. Its buffers are used again for other frames.
type piece struct {
	layout    layout // nil for plain files
	frameSize int
	done      chan struct{} // gets a value when frame and err are set

	number      int
	plainOffset int64
	plain       int64 // plain bytes that are in
	stored      bool
	id          [32]byte

	buf   []byte // after leadRoom: the stored frame around its plain bytes, or the plain bytes alone
	out   []byte // after leadRoom: the compressed frame
	frame []byte // the encoded frame, in buf or out
	err   error
}

// leadRoom is left free before a frame, so that it can be written together with its stamp.
const leadRoom = stampSize

func newPiece(l layout, frameSize int) *piece {
	return &piece{layout: l, frameSize: frameSize, done: make(chan struct{}, 1)}
}

// begin makes the piece that of an empty frame.
func (p *piece) begin(number int, plainOffset int64, stored bool) {
	p.number, p.plainOffset, p.stored = number, plainOffset, stored
	p.plain, p.frame, p.err = 0, nil, nil
	if p.buf == nil {
		p.buf = make([]byte, leadRoom+int(maxEncoded(int64(p.frameSize))))
	}
}

func (p *piece) full() bool { return p.plain == int64(p.frameSize) }

// room returns where the next plain bytes go, as far as they lie in one piece.
func (p *piece) room() []byte {
	b := p.buf[leadRoom:]
	if !p.stored || p.layout == nil {
		return b[p.plain:p.frameSize]
	}
	chunk := int64(p.layout.chunkSize())
	in := p.plain % chunk
	start := chunkStart(p.layout, p.plain/chunk) + chunkHeaderSize + in
	return b[start:][:min(chunk-in, int64(p.frameSize)-p.plain)]
}

// encode sets frame or err.
func (p *piece) encode(ctx context.Context, e encoder) {
	switch {
	case p.layout == nil:
		p.frame = p.buf[leadRoom:][:p.plain]
	case p.stored:
		p.frame = p.buf[leadRoom:][:storedSize(p.layout, p.plain)]
		seal(p.layout, p.frame, p.plain)
	default:
		p.compress(ctx, e)
	}
}

// compress sets frame to the compressed frame, or to a stored one where that is no larger.
func (p *piece) compress(ctx context.Context, e encoder) {
	if p.out == nil {
		p.out = make([]byte, leadRoom, len(p.buf))
	}
	plain := p.buf[leadRoom:][:p.plain]
	out, err := e.encode(ctx, p.out[:leadRoom], plain)
	if err != nil {
		p.err = err
		return
	}
	if int64(len(out)-leadRoom) >= storedSize(p.layout, p.plain) {
		out = appendStored(p.layout, out[:leadRoom], plain)
	}
	p.out = out
	p.frame = out[leadRoom:]
}

// withLead returns the frame with its lead before it, in one piece of memory.
func (p *piece) withLead(t trailer) []byte {
	b := p.buf
	if !p.stored && p.layout != nil {
		b = p.out
	}
	lead := t.lead(nil, p.number, p.plainOffset, p.id)
	start := leadRoom - len(lead)
	copy(b[start:], lead)
	return b[start : leadRoom+len(p.frame)]
}
