package compress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// pipeThrough gives in to a program, to its end, and writes to out what comes of it.
func pipeThrough(ctx context.Context, path string, out io.Writer, in io.Reader, args ...string) error {
	cmd := command(ctx, path, args...)
	text := &boundedWriter{limit: 1 << 10, cut: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, text
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &programError{path: path, text: strings.TrimSpace(string(text.b)), err: err}
	}
	return nil
}

// zstdProgramLong runs the zstd program, once a frame. With one thread its bytes do not depend on the number of
// processors, and it takes less memory than with its own job queue.
type zstdProgramLong struct {
	path   string
	window int
}

func (e zstdProgramLong) encode(ctx context.Context, dst io.Writer, plain *content) error {
	ends := &frameEnds{w: dst}
	err := pipeThrough(ctx, e.path, ends, plain, "-19", fmt.Sprintf("--long=%d", bits.Len(uint(e.window-1))),
		"--single-thread", "--check", fmt.Sprintf("--stream-size=%d", plain.size))
	if err != nil {
		return err
	}
	if err := ends.prove(plain.size, plain.sum.Sum32()); err != nil {
		return &programError{path: e.path, err: err}
	}
	return nil
}

// frameEnds passes a zstd frame on and keeps its ends.
type frameEnds struct {
	w          io.Writer
	head, tail []byte
}

func (f *frameEnds) Write(p []byte) (int, error) {
	f.head = append(f.head, p[:min(len(p), zstd.HeaderMaxSize-len(f.head))]...)
	f.tail = append(f.tail, p[max(0, len(p)-zstdSumSize):]...)
	f.tail = f.tail[max(0, len(f.tail)-zstdSumSize):]
	return f.w.Write(p)
}

// prove proves that it was a frame as this package reads them, of size plain bytes with that checksum.
func (f *frameEnds) prove(size int64, sum uint32) error {
	if !isZstdMagic(f.head) {
		return errors.New("what it wrote is not a zstd frame")
	}
	seen, err := walkZstdHeader(&sliceCursor{rest: f.head[zstdMagicSize:]})
	if err != nil {
		return fmt.Errorf("the frame that it wrote: %w", err)
	}
	if got := binary.LittleEndian.Uint32(f.tail); seen.plain != size || got != sum {
		return fmt.Errorf("size and checksum of the frame that it wrote are %d and %08x, want %d and %08x",
			seen.plain, got, size, sum)
	}
	return nil
}

// xzProgramLong runs the xz program, once a block and with one thread.
type xzProgramLong struct{ o WriterOptions }

func (e xzProgramLong) encode(ctx context.Context, dst io.Writer, plain *content) error {
	filter := fmt.Sprintf("--lzma2=%s,dict=%d", longXZPresets[e.o.Level.library()].options, longDict(e.o, plain.size))
	// Raw is the LZMA2 data alone, all of it: the checksum is ours.
	return pipeThrough(ctx, e.o.XZProgram, dst, plain, "--compress", "--format=raw", "--threads=1", "--no-sparse", filter)
}
