package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os/exec"
	"strings"

	"github.com/ulikunitz/xz/lzma"
)

// xzBytes are the bytes of an xz block.
type xzBytes struct {
	cursor *streamCursor
	check  byte
	want   Frame // what the table says; its Size is 0 when there is none
	block  xzBlock
	left   int64  // bytes behind those that the cursor went through
	rest   []byte // of those, what was not read
	err    error
}

// start reads the header of the block, when that has not been done.
func (b *xzBytes) start() error {
	if b.block.header == 0 && b.err == nil {
		b.err = b.readHeader()
	}
	return b.err
}

func (b *xzBytes) readHeader() error {
	b.cursor.raw = b.cursor.raw[:0]
	first, err := b.cursor.next(1)
	if err != nil {
		return unexpected(err)
	}
	block, err := walkXZHeader(b.cursor, first[0])
	if err != nil {
		return err
	}
	if b.want.Size != 0 && block.plain != b.want.PlainSize {
		return fmt.Errorf("it claims %d plain bytes, want %d", block.plain, b.want.PlainSize)
	}
	b.begin(block)
	return nil
}

// begin begins with a block whose header is all that the cursor went through.
func (b *xzBytes) begin(block xzBlock) {
	b.block, b.left, b.rest = block, block.size(b.check)-block.header, b.cursor.raw
}

func (b *xzBytes) Read(p []byte) (int, error) {
	if err := b.start(); err != nil {
		return 0, err
	}
	if len(b.rest) == 0 && b.left == 0 {
		if size := b.block.size(b.check); b.want.Size != 0 && size != b.want.Size {
			return 0, fmt.Errorf("its header is that of a block of %d bytes, want %d", size, b.want.Size)
		}
		return 0, io.EOF
	}
	if len(b.rest) == 0 {
		b.cursor.raw = b.cursor.raw[:0]
		next, err := b.cursor.next(int(min(b.left, lzma2Chunk)))
		if err != nil {
			b.err = unexpected(err)
			return 0, b.err
		}
		b.left -= int64(len(next))
		b.rest = next
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *xzBytes) sizes() (size, plain int64, sum uint32) {
	return b.block.header + b.block.data + xzCheckSizes[b.check], b.block.plain, 0
}

func (b *xzBytes) readError() error { return b.cursor.err }

// An xzEngine is ulikunitz's decoder. It does its work when it is read and has no goroutines.
type xzEngine struct {
	raw  *xzBytes
	data *io.LimitedReader // LZMA2 data in raw
	r    *lzma.Reader2     // of data
	sum  hash.Hash         // nil when the check is none
}

func (e *xzEngine) start(_ context.Context, raw frameBytes) {
	*e = xzEngine{raw: raw.(*xzBytes)}
}

func (e *xzEngine) Read(p []byte) (int, error) {
	if e.r == nil {
		if err := e.begin(); err != nil {
			return 0, err
		}
	}
	n, err := e.r.Read(p)
	if e.sum != nil {
		e.sum.Write(p[:n])
	}
	if errors.Is(err, io.EOF) {
		if err = e.proof(); err == nil {
			err = io.EOF
		}
	}
	return n, err
}

func (e *xzEngine) end() { *e = xzEngine{} }

// begin reads the header of the block and the first bytes behind it.
func (e *xzEngine) begin() (err error) {
	if err := e.raw.start(); err != nil {
		return err
	}
	e.raw.rest = nil // the header
	if e.sum, err = newXZSum(e.raw.check); err != nil {
		return err
	}
	e.data = &io.LimitedReader{R: e.raw, N: e.raw.block.data}
	e.r, err = newLZMA2(e.data, e.raw.block)
	return err
}

// proof proves what stands behind the LZMA2 data.
func (e *xzEngine) proof() error {
	if e.data.N > 0 {
		return fmt.Errorf("%d bytes after its end mark", e.data.N)
	}
	tail, err := io.ReadAll(e.raw)
	if err != nil {
		return err
	}
	pad := len(tail) - int(xzCheckSizes[e.raw.check])
	if !bytes.Equal(tail[:pad], make([]byte, pad)) {
		return errors.New("its padding is not zero")
	}
	return checkXZSum(e.raw.check, e.sum, tail[pad:])
}

// newLZMA2 returns a decoder of the LZMA2 data of a block.
func newLZMA2(data io.Reader, b xzBlock) (*lzma.Reader2, error) {
	dict, err := lzma.DecodeDictCap(b.dict)
	if err != nil {
		return nil, err
	}
	// Nothing lies further back than the block is long.
	return lzma.Reader2Config{DictCap: int(max(lzma2MinDict, min(dict, b.plain)))}.NewReader2(data)
}

// An xzProgramEngine is the xz program, which runs once for each block and checks it.
type xzProgramEngine struct {
	path string
	ctx  context.Context // of the next block
	raw  *xzBytes

	stop   context.CancelFunc // ends the program; nil when none runs
	cmd    *exec.Cmd
	out    io.ReadCloser
	stderr *boundedWriter
}

func (e *xzProgramEngine) start(ctx context.Context, raw frameBytes) {
	e.end()
	e.ctx, e.raw = ctx, raw.(*xzBytes)
}

func (e *xzProgramEngine) Read(p []byte) (int, error) {
	if e.stop == nil {
		if err := e.begin(); err != nil {
			return 0, err
		}
	}
	n, err := e.out.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	waitErr := e.cmd.Wait()
	e.end()
	if waitErr != nil {
		err = &programError{path: e.path, text: strings.TrimSpace(string(e.stderr.b)), err: waitErr}
	}
	return n, err
}

// begin runs the program on a stream with the block alone.
func (e *xzProgramEngine) begin() error {
	if err := e.raw.start(); err != nil {
		return err
	}
	index := &xzIndex{check: e.raw.check}
	index.addBlock(e.raw.block)
	ctx, stop := context.WithCancel(e.ctx)
	e.cmd = command(ctx, e.path, "--decompress", "--format=xz", "--threads=1", "--no-sparse")
	e.cmd.Stdin = io.MultiReader(bytes.NewReader(index.start()), e.raw, bytes.NewReader(index.finish()))
	e.stderr = &boundedWriter{limit: 1 << 10, cut: true}
	e.cmd.Stderr = e.stderr
	out, err := e.cmd.StdoutPipe()
	if err == nil {
		err = e.cmd.Start()
	}
	if err != nil {
		stop()
		return &programError{path: e.path, err: err}
	}
	e.out, e.stop = out, stop
	return nil
}

func (e *xzProgramEngine) end() {
	if e.stop != nil {
		e.stop()
		_ = e.cmd.Wait() // it was killed, if it has not ended before
		e.stop = nil
	}
}
