package compress

import (
	"bytes"
	"context"
	"io"
	"testing"
)

// benchSize is large enough to fill all frames of a Writer several times.
const benchSize = 64 << 20

func BenchmarkWriteStored(b *testing.B) {
	data := random(1, benchSize)
	for _, f := range []Format{None, Zstd, XZ} {
		b.Run(f.String(), func(b *testing.B) { benchmarkWrite(b, WriterOptions{Format: f}, data, true) })
	}
}

func BenchmarkWriteDefault(b *testing.B) {
	b.Run("zstd", func(b *testing.B) { benchmarkWrite(b, WriterOptions{Format: Zstd}, text(1, benchSize), false) })
	b.Run("xz library", func(b *testing.B) { benchmarkWrite(b, WriterOptions{Format: XZ}, text(1, benchSize/8), false) })
	b.Run("xz program", func(b *testing.B) {
		o := WriterOptions{Format: XZ, XZProgram: program(b, "xz")}
		benchmarkWrite(b, o, text(1, benchSize/8), false)
	})
}

func benchmarkWrite(b *testing.B, o WriterOptions, data []byte, stored bool) {
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w, err := NewWriter(io.Discard, o)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.SetStored(stored); err != nil {
			b.Fatal(err)
		}
		if _, err := w.ReadFrom(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// The window is small, so that it is full soon: what a full one costs shows in the time, not in the size.
func BenchmarkWriteLong(b *testing.B) {
	o := WriterOptions{Format: Zstd, Long: LongOptions{Window: 8 << 20}}
	for o.Level = Default; o.Level.valid(); o.Level++ {
		b.Run("zstd "+o.Level.String(), func(b *testing.B) { benchmarkWriteLong(b, o, text(1, benchSize/2)) })
	}
	b.Run("zstd program", func(b *testing.B) {
		o := o
		o.Level, o.ZstdProgram = Max, program(b, "zstd")
		benchmarkWriteLong(b, o, text(1, benchSize/16))
	})
	o.Format = XZ
	for o.Level = Default; o.Level < Max; o.Level++ {
		b.Run("xz library "+o.Level.String(), func(b *testing.B) { benchmarkWriteLong(b, o, text(1, benchSize/16)) })
		b.Run("xz program "+o.Level.String(), func(b *testing.B) {
			o := o
			o.XZProgram = program(b, "xz")
			benchmarkWriteLong(b, o, text(1, benchSize/16))
		})
	}
}

func benchmarkWriteLong(b *testing.B, o WriterOptions, data []byte) {
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out := &sink{w: io.Discard}
		w, err := NewWriter(out, o)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.WriteLong(int64(len(data)), opener(data)); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(out.n)/float64(len(data)), "ratio")
	}
}

func BenchmarkReadStored(b *testing.B) {
	for _, f := range []Format{None, Zstd, XZ} {
		b.Run(f.String(), func(b *testing.B) {
			data := append(tarHead(), random(1, benchSize)...)
			benchmarkRead(b, write(b, WriterOptions{Format: f}, []part{{true, data}}))
		})
	}
}

// BenchmarkReadLong reads members of 1 MiB in their order from a long frame.
func BenchmarkReadLong(b *testing.B) {
	const member = 1 << 20
	file := longFile(b, MaxWindow, text(1, benchSize))
	table := readTable(b, file)
	b.SetBytes(table.PlainSize)
	for b.Loop() {
		r := NewReader(bytes.NewReader(file), table, ReaderOptions{})
		for off := int64(0); off < table.PlainSize; off += member {
			rc, err := r.Open(b.Context(), off, member)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				b.Fatal(err)
			}
			rc.Close()
		}
	}
}

func BenchmarkReadDefault(b *testing.B) {
	for _, f := range []Format{Zstd, XZ} {
		b.Run(f.String(), func(b *testing.B) {
			benchmarkRead(b, write(b, WriterOptions{Format: f}, []part{{false, text(1, benchSize/8)}}))
		})
	}
}

func benchmarkRead(b *testing.B, file []byte) {
	table := readTable(b, file)
	buf := make([]byte, 128<<10)
	b.SetBytes(table.PlainSize)
	for b.Loop() {
		r := NewReader(bytes.NewReader(file), table, ReaderOptions{})
		rc, err := r.Open(context.Background(), 0, table.PlainSize)
		if err != nil {
			b.Fatal(err)
		}
		// The struct hides other methods of rc and io.Discard, so that Read is what is measured.
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{rc}, buf); err != nil {
			b.Fatal(err)
		}
		if err := rc.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanStored(b *testing.B) {
	file := write(b, WriterOptions{Format: Zstd}, []part{{true, random(1, benchSize)}})
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		s := NewScanner(bytes.NewReader(file), Zstd, ReaderOptions{})
		for {
			_, raw, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			s.Release(raw)
		}
		s.Close()
	}
}
