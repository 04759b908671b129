package compress

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// fuzzPlain bounds what a fuzz target decodes.
const fuzzPlain = 1 << 20

func addFiles(f *testing.F) {
	for _, file := range smallFiles(f) {
		f.Add(file)
	}
	for _, format := range []Format{Zstd, XZ} {
		f.Add(write(f, WriterOptions{Format: format}, nil))
		f.Add(write(f, WriterOptions{Format: format}, []part{{true, []byte("stored")}}))
	}
	f.Add(rawSeekTable(100, 100, 1))
	f.Add(rawIndex(1, 100, 100))
}

func FuzzReadTableNeverPanics(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, long := range fuzzLong {
			lowerLong(t, long)
			r := bytes.NewReader(file)
			table, err := ReadTable(r, r.Size())
			if err == nil {
				readSome(r, table)
			}
			for format := None; format.valid(); format++ {
				if table, _, err := ScanTable(r, r.Size(), format); err == nil {
					readSome(r, table)
				}
			}
		}
	})
}

// fuzzLong are the numbers of plain bytes from which on fuzz targets take frames for long.
var fuzzLong = []int64{MaxFramePlain, 500}

// readSome reads the frames of table that are not too large for a fuzz target.
func readSome(r io.ReaderAt, table *Table) {
	zr := NewReader(r, table, ReaderOptions{Jobs: 1})
	for _, f := range table.Frames {
		if f.PlainSize <= fuzzPlain {
			_, _ = readRange(zr, f.PlainOffset, f.PlainSize)
			_, _ = readRange(zr, f.PlainOffset+f.PlainSize/2, f.PlainSize/2)
		}
	}
}

func FuzzScannerNeverPanics(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, long := range fuzzLong {
			lowerLong(t, long)
			for format := None; format.valid(); format++ {
				scanSome(file, format)
			}
		}
	})
}

// scanSome reads the frames of file that are not too large for a fuzz target, and some of the others.
func scanSome(file []byte, format Format) {
	s := NewScanner(bytes.NewReader(file), format, ReaderOptions{Jobs: 1})
	defer s.Close()
	for {
		fr, raw, err := s.Next()
		if err != nil {
			return
		}
		if fr.Long() {
			_, _ = io.CopyN(io.Discard, s.Stream(), min(fr.PlainSize+1, fuzzPlain))
			continue
		}
		if fr.PlainSize <= fuzzPlain {
			_, _ = s.Decode(nil, fr, raw)
		}
		_, _ = s.Decode(nil, Frame{Size: fr.Size, PlainSize: 10}, raw)
		s.decoder.Salvage(nil, fr, raw)
	}
}

func FuzzDecodeFrameMatchesReference(f *testing.F) {
	for _, parts := range [][]part{small(), {{true, random(1, 200_000)}}, {{false, text(1, 200_000)}}} {
		file := write(f, WriterOptions{Format: Zstd, FrameSize: 150_000}, parts)
		for _, fr := range readTable(f, file).Frames {
			f.Add(file[fr.Offset:fr.end()])
		}
	}
	decoder := NewDecoder(Zstd, ReaderOptions{Jobs: 1})
	reference, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxFramePlain))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !isZstdMagic(raw) {
			return
		}
		c := &sliceCursor{rest: raw[zstdMagicSize:]}
		z, err := walkZstd(c)
		if err != nil || len(c.rest) > 0 || z.plain > fuzzPlain {
			return // refused by its headers
		}
		fr := Frame{Size: z.size, PlainSize: z.plain, Sum: z.sum}
		got, err := decoder.Decode(context.Background(), nil, fr, raw)
		rc := decoder.Stream(t.Context(), fr, bytes.NewReader(raw))
		streamed, streamErr := io.ReadAll(rc)
		rc.Close()
		if (err == nil) != (streamErr == nil) || err == nil && !bytes.Equal(streamed, got) {
			t.Errorf("as a stream %d bytes, %v, want %d bytes, %v", len(streamed), streamErr, len(got), err)
		}
		if resetErr := reference.Reset(bytes.NewReader(raw)); resetErr != nil {
			t.Fatal(resetErr)
		}
		want, wantErr := io.ReadAll(reference)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v, want %d bytes, %v", len(got), err, len(want), wantErr)
		}
	})
}
