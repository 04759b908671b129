package gzip

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// The goals are MB of plain bytes for each second that a processor worked, which holds on a busy machine: Find 22 for Go
// level 6 and 50 for pgzip, Recreate 28 and 65, the parser of deflate streams 150.

// benchPlain is the file that FERRY_BENCH names, or else the program of this test and some sources: the stuff of layers.
func benchPlain(b *testing.B) []byte {
	b.Helper()
	if name := os.Getenv("FERRY_BENCH"); name != "" {
		plain, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return plain
	}
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	plain, err := os.ReadFile(program)
	if err != nil {
		b.Fatal(err)
	}
	sources, err := filepath.Glob("*/*.go")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		plain = append(plain, text...)
	}
	return plain
}

// benchBlobs calls bench with blobs of the encoders that made most layers, and some of the slow ones.
func benchBlobs(b *testing.B, bench func(b *testing.B, blob, plain []byte)) {
	plain := benchPlain(b)
	for _, e := range []Engine{
		{ID: Golang, Level: 6},
		{ID: Golang, Level: 1},
		{ID: Golang, Level: 9},
		{ID: Pgzip, Level: 5, Variant: 1, Chunk: 1 << 20},
		{ID: Klaus, Level: 6, Variant: 4},
		{ID: Zlib, Level: 6, Variant: 8},
		{ID: GNU, Level: 6},
		{ID: GNU, Level: 9},
	} {
		header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
		switch e.ID {
		case GNU:
			header[9] = unixSystem
		case Pgzip:
			header[5], header[6], header[7] = 0x09, 0x6e, 0x88
		}
		switch e.Level {
		case 1:
			header[8] = 4
		case 9:
			header[8] = 2
		}
		b.Run(e.String(), func(b *testing.B) { bench(b, member(b, e, header, plain), plain) })
	}
}

func BenchmarkFind(b *testing.B) {
	for _, parallel := range []int{1, 2} {
		b.Run(fmt.Sprintf("parallel %d", parallel), func(b *testing.B) {
			benchBlobs(b, func(b *testing.B, blob, plain []byte) {
				measure(b, len(plain), func() error {
					_, err := Find(b.Context(), bytes.NewReader(blob), io.Discard, FindOptions{Parallel: parallel})
					return err
				})
			})
		})
	}
}

func BenchmarkRecreate(b *testing.B) {
	for _, parallel := range []int{1, 2} {
		b.Run(fmt.Sprintf("parallel %d", parallel), func(b *testing.B) {
			benchBlobs(b, func(b *testing.B, blob, plain []byte) {
				r, err := Find(b.Context(), bytes.NewReader(blob), io.Discard, FindOptions{})
				if err != nil {
					b.Fatal(err)
				}
				measure(b, len(plain), func() error {
					return Recreate(b.Context(), r, bytes.NewReader(plain), io.Discard, RecreateOptions{Parallel: parallel})
				})
			})
		})
	}
}

func BenchmarkParse(b *testing.B) {
	benchBlobs(b, func(b *testing.B, blob, plain []byte) {
		r := deflate.NewReader(nil)
		measure(b, len(plain), func() error {
			r.Reset(bytes.NewReader(blob[fixedHeader:]))
			for {
				if _, err := r.Next(); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
	})
}

// measure tells how many of size plain bytes f works on in a second of a processor, and in one on the clock.
func measure(b *testing.B, size int, f func() error) {
	var worked time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := cpuTime()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		worked += cpuTime() - begin
	}
	total := float64(size) * float64(b.N) / 1e6
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(total/worked.Seconds(), "MB/cpu-s")
	b.ReportMetric(total/b.Elapsed().Seconds(), "MB/s")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
