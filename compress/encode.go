package compress

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// An encoder makes compressed frames. It is called from many goroutines.
type encoder interface {
	// encode appends the frame of plain to dst.
	encode(ctx context.Context, dst, plain []byte) ([]byte, error)
}

// newEncoder returns the encoder that o asks for, nil for None, able to make jobs frames at a time.
func newEncoder(o WriterOptions, jobs int) (encoder, error) {
	switch {
	case o.Format == Zstd:
		return newZstdEncoder(o.Level, o.FrameSize, jobs)
	case o.Format == XZ && o.XZProgram != "":
		return xzProgramEncoder{path: o.XZProgram, level: o.Level.library()}, nil
	case o.Format == XZ:
		return xzEncoder{level: o.Level.library()}, nil
	}
	return nil, nil
}

// encoderMemory returns about how many bytes one encoder takes while it works, its buffers not counted.
func encoderMemory(o WriterOptions) int64 {
	frame := int64(o.FrameSize)
	switch o.Format {
	case Zstd:
		tables := [...]int64{Fastest: 1 << 20, Default: 2 << 20, Better: 10 << 20, Best: 72 << 20}
		return tables[o.Level.library()] + frame + zstdBlockSize
	case XZ:
		// Both engines keep about a dozen bytes for each byte of the dictionary.
		return 12*min(frame, int64(xzPresets[o.Level.library()].dict)) + frame
	}
	return 0
}

// zstdLevels are the levels of klauspost's encoder.
var zstdLevels = [...]zstd.EncoderLevel{
	Fastest: zstd.SpeedFastest, Default: zstd.SpeedDefault,
	Better: zstd.SpeedBetterCompression, Best: zstd.SpeedBestCompression,
}

// zstdEncoder is klauspost's.
type zstdEncoder struct{ *zstd.Encoder }

func newZstdEncoder(l Level, frameSize, jobs int) (encoder, error) {
	window := max(zstd.MinWindowSize, 1<<bits.Len(uint(frameSize-1)))
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstdLevels[l.library()]),
		zstd.WithWindowSize(window),
		// The window of a single segment is its content, and its size is always stated.
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(true),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderConcurrency(jobs))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	return zstdEncoder{e}, nil
}

func (e zstdEncoder) encode(_ context.Context, dst, plain []byte) ([]byte, error) {
	return e.EncodeAll(plain, dst), nil
}

// xzPreset is what a level means for xz.
type xzPreset struct {
	dict    int    // of both engines, and never more than the frame
	options string // of the program, beside the dictionary
}

var xzPresets = [...]xzPreset{
	Fastest: {1 << 20, "preset=1"},
	Default: {8 << 20, "preset=6"},
	Better:  {8 << 20, "preset=6,nice=128"},
	Best:    {8 << 20, "preset=9e"},
}

// dictSize returns the size of the dictionary for a block of plain bytes.
func (p xzPreset) dictSize(plain int) int { return max(lzma2MinDict, min(p.dict, plain)) }

// xzEncoder is ulikunitz's. It knows no levels but by its dictionary.
type xzEncoder struct{ level Level }

func (e xzEncoder) encode(ctx context.Context, dst, plain []byte) ([]byte, error) {
	dict := xzPresets[e.level].dictSize(len(plain))
	start := len(dst)
	out := sliceWriter{b: grow(dst, xzBlockHeader)}
	w, err := lzma.Writer2Config{DictCap: dict, Matcher: lzma.HashTable4}.NewWriter2(&out)
	if err != nil {
		return nil, fmt.Errorf("lzma2 encoder: %w", err)
	}
	// It takes seconds for a frame: look now and then whether anyone still wants it.
	for rest := plain; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(len(rest), lzma2Chunk)
		if _, err := w.Write(rest[:n]); err != nil {
			return nil, fmt.Errorf("lzma2 encoder: %w", err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("lzma2 encoder: %w", err)
	}
	return finishBlock(out.b, start, plain, lzma.EncodeDictCap(int64(dict))), nil
}

// finishBlock makes a block of what follows start in b, which is room for the header and the LZMA2 data of plain.
func finishBlock(b []byte, start int, plain []byte, dict byte) []byte {
	data := int64(len(b) - start - xzBlockHeader)
	appendBlockHeader(b[:start], data, int64(len(plain)), dict)
	var zeros [xzAlign]byte
	b = append(b, zeros[:xzPad(data)]...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(plain))
}

// sliceWriter appends to a slice.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
