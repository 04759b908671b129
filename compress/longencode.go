package compress

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"

	"github.com/ferry-oci/ferry/compress/zstdlong"
)

// A longEncoder makes long frames, one at a time.
type longEncoder interface {
	// encode reads plain to its end and writes the frame to dst; for XZ only its LZMA2 data. It returns when nothing
	// reads or writes any more.
	encode(ctx context.Context, dst io.Writer, plain *content) error
}

// newLongEncoder returns the encoder that o asks for.
func newLongEncoder(o WriterOptions) (longEncoder, error) {
	switch {
	case o.Format == Zstd && o.Level == Max && o.ZstdProgram != "":
		return zstdProgramLong{path: o.ZstdProgram, window: o.Long.Window}, nil
	case o.Format == Zstd && o.Level.library() == Best:
		return farLong{o.Long.Window, zstdlong.NewWriter()}, nil
	case o.Format == Zstd:
		return newZstdLong(o)
	case o.Format == XZ && o.XZProgram != "":
		return xzProgramLong{o}, nil
	case o.Format == XZ:
		return xzLong{o}, nil
	}
	return nil, fmt.Errorf("%v has no long frames", o.Format)
}

// longEncoderMemory returns about how many bytes one encoder of long frames takes while it works, in this process or in
// its own.
func longEncoderMemory(o WriterOptions) int64 {
	window, dict := int64(o.Long.Window), int64(longDict(o, MaxLongFrame))
	switch {
	case o.Format == Zstd && o.Level == Max && o.ZstdProgram != "":
		return window + 140<<20
	case o.Format == Zstd && o.Level.library() == Best:
		return zstdlong.Memory(o.Long.Window)
	case o.Format == Zstd:
		tables := [...]int64{Fastest: 1 << 20, Default: 2 << 20, Better: 10 << 20}
		return tables[o.Level] + 2*window
	case o.XZProgram != "":
		return 12*dict + 4<<20
	}
	return 5*dict + 8<<20
}

// farLong is our own encoder, for the level that is to find all that repeats in the window.
type farLong struct {
	window int
	w      *zstdlong.Writer
}

func (e farLong) encode(_ context.Context, dst io.Writer, plain *content) error {
	if err := e.w.Reset(dst, plain.size, e.window); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{e.w}, struct{ io.Reader }{plain}, make([]byte, zstdBlockSize)); err != nil {
		return err
	}
	return e.w.Close()
}

// zstdLong is klauspost's encoder.
type zstdLong struct{ *zstd.Encoder }

func newZstdLong(o WriterOptions) (longEncoder, error) {
	jobs := 1
	if o.Long.jobs == 1 {
		jobs = 2 // what is the only one may encode a block while it finds the matches of the next
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstdLevels[o.Level.library()]),
		zstd.WithWindowSize(o.Long.Window),
		zstd.WithSingleSegment(true), // of what is one block long; its size would not be stated else
		zstd.WithEncoderCRC(true),
		zstd.WithEncoderConcurrency(jobs))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	return zstdLong{e}, nil
}

func (e zstdLong) encode(_ context.Context, dst io.Writer, plain *content) error {
	e.ResetContentSize(dst, plain.size)
	_, err := e.ReadFrom(plain)
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		e.Reset(nil) // waits for its goroutines
		return fmt.Errorf("zstd encoder: %w", err)
	}
	return nil
}

// longXZPresets are what the levels mean for long blocks.
var longXZPresets = [...]xzPreset{
	Fastest: {8 << 20, "preset=1"},
	Default: {16 << 20, "preset=6"},
	Better:  {32 << 20, "preset=6,nice=128"},
	Best:    {64 << 20, "preset=9"},
}

// libraryDict is the largest dictionary of the library, which takes new memory for each block.
const libraryDict = 32 << 20

// longDict returns the size of the dictionary of a long block of plain bytes.
func longDict(o WriterOptions, plain int64) int {
	dict := longXZPresets[o.Level.library()].dict
	if o.XZProgram == "" {
		dict = min(dict, libraryDict)
	}
	return int(max(lzma2MinDict, min(int64(dict), int64(o.Long.Window), plain)))
}

// longDictCode returns the dictionary size code of a long block of plain bytes.
func longDictCode(o WriterOptions, plain int64) byte {
	return lzma.EncodeDictCap(int64(longDict(o, plain)))
}

// appendBlockEnd appends what follows data bytes of LZMA2 in a block whose header has the size that we write.
func appendBlockEnd(dst []byte, data int64, sum uint32) []byte {
	var zeros [xzAlign]byte
	dst = append(dst, zeros[:xzPad(xzBlockHeader+data)]...)
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// xzLong is ulikunitz's encoder.
type xzLong struct{ o WriterOptions }

func (e xzLong) encode(_ context.Context, dst io.Writer, plain *content) error {
	dict := longDict(e.o, plain.size)
	w, err := lzma.Writer2Config{DictCap: dict, Matcher: lzma.HashTable4}.NewWriter2(dst)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{plain}, make([]byte, lzma2Chunk))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("lzma2 encoder: %w", err)
	}
	return nil
}
