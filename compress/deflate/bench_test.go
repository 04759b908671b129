package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"compress/gzip"
	"io"
	"os"
	"testing"
)

// benchStreams returns streams and the number of their plain bytes. DEFLATE_BENCH names a gzip file that is one of them.
func benchStreams(b *testing.B) map[string][]byte {
	b.Helper()
	streams := map[string][]byte{}
	plain := map[string][]byte{"text": text(1, 8<<20), "near": near(1, 8<<20)}
	if name := os.Getenv("DEFLATE_BENCH"); name != "" {
		file, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		zr, err := gzip.NewReader(file)
		if err != nil {
			b.Fatal(err)
		}
		if plain["file"], err = io.ReadAll(zr); err != nil {
			b.Fatal(err)
		}
	}
	for name, plain := range plain {
		var buf bytes.Buffer
		w, _ := stdflate.NewWriter(&buf, 6)
		_, _ = w.Write(plain)
		_ = w.Close()
		streams[name] = buf.Bytes()
	}
	return streams
}

func BenchmarkRead(b *testing.B) {
	for name, stream := range benchStreams(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := NewReader(nil)
			for b.Loop() {
				r.Reset(bytes.NewReader(stream))
				size := int64(0)
				for {
					_, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					size += int64(len(r.Plain()))
				}
				b.SetBytes(size)
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, stream := range benchStreams(b) {
		b.Run(name, func(b *testing.B) {
			p, err := parse(bytes.NewReader(stream))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(p.plain)))
			b.ReportAllocs()
			w := NewWriter(nil)
			for b.Loop() {
				w.Reset(io.Discard)
				for _, block := range p.blocks {
					if err := w.WriteBlock(block); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(p.padding); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompressFlate(b *testing.B) {
	for name, stream := range benchStreams(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n, err := io.Copy(io.Discard, stdflate.NewReader(bytes.NewReader(stream)))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
	}
}
