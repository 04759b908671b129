package compress

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdBlocks are the bytes of a zstd frame, read block by block. A decoder below gets nothing but what walkZstd would
// take.
type zstdBlocks struct {
	cursor *streamCursor
	want   Frame // what the table says; its Size is 0 when there is none
	frame  zstdFrame
	part   zstdPart // that comes next
	rest   []byte   // of the last part
	err    error
}

// zstdPart is a part of a zstd frame.
type zstdPart uint8

const (
	zstdHeader zstdPart = iota
	zstdBlock
	zstdSum
	zstdEnd
)

func (b *zstdBlocks) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.err == nil {
			b.cursor.raw = b.cursor.raw[:0]
			b.err = b.next()
		}
		if b.err != nil {
			return 0, b.err
		}
		b.rest = b.cursor.raw
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next reads the next part.
func (b *zstdBlocks) next() (err error) {
	last := true
	switch b.part {
	case zstdHeader:
		err = b.header()
	case zstdBlock:
		last, err = b.frame.walkBlock(b.cursor)
	case zstdSum:
		if err = b.frame.walkSum(b.cursor); err == nil && b.want.Size != 0 && !b.asWanted() {
			err = fmt.Errorf("its size and checksum are %d and %08x, want %d and %08x",
				b.frame.size, b.frame.sum, b.want.Size, b.want.Sum)
		}
	case zstdEnd:
		return io.EOF
	}
	if err == nil && last {
		b.part++
	}
	return err
}

// header reads the header of the frame.
func (b *zstdBlocks) header() error {
	magic, err := b.cursor.next(zstdMagicSize)
	if err != nil {
		return unexpected(err)
	}
	if !isZstdMagic(magic) {
		return errors.New("not a zstd frame")
	}
	if b.frame, err = walkZstdHeader(b.cursor); err != nil {
		return err
	}
	if b.want.Size != 0 && b.frame.plain != b.want.PlainSize {
		return fmt.Errorf("it claims %d plain bytes, want %d", b.frame.plain, b.want.PlainSize)
	}
	return nil
}

func (b *zstdBlocks) asWanted() bool { return b.frame.size == b.want.Size && b.frame.sum == b.want.Sum }

func (b *zstdBlocks) sizes() (size, plain int64, sum uint32) {
	return b.frame.size, b.frame.plain, b.frame.sum
}

func (b *zstdBlocks) readError() error { return b.cursor.err }

// A zstdEngine is klauspost's decoder. It does its work when it is read and has no goroutines.
type zstdEngine struct {
	decoder *zstd.Decoder
	raw     frameBytes
	sum     *xxSum
}

func newZstdEngine() *zstdEngine {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxWindow),
		zstd.WithDecoderMaxWindow(MaxWindow),
		// It would keep the last block back when the checksum is wrong.
		zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &zstdEngine{decoder: d, sum: newXXSum()}
}

func (e *zstdEngine) start(_ context.Context, raw frameBytes) {
	e.raw = raw
	e.sum.Reset()
	if err := e.decoder.Reset(raw); err != nil {
		panic(err) // it was closed
	}
}

func (e *zstdEngine) Read(p []byte) (int, error) {
	n, err := e.decoder.Read(p)
	e.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if _, _, want := e.raw.sizes(); e.sum.Sum32() != want {
			err = errors.New("the checksum of its content is wrong")
		}
	}
	return n, err
}

func (e *zstdEngine) end() {
	e.raw = nil
	_ = e.decoder.Reset(nil) // which only lets go of what it reads from
}
