package klauspost

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/klauspost/compress/flate"
)

// BenchmarkEncode makes the blocks of a generated text, or of the file that KLAUSPOST_BENCH names, in turns with the linked
// version of the original, which writes bits. It tells the speed of both by the time that a processor worked on it, which
// holds on a busy machine, and how many times as fast as the original the encoder is.
func BenchmarkEncode(b *testing.B) {
	plain := generated(1, 8<<20)
	if name := os.Getenv("KLAUSPOST_BENCH"); name != "" {
		var err error
		if plain, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	for _, chunk := range []int{0, DefaultChunk} {
		for level := 1; level <= 6; level++ {
			if chunk > 0 && level != DefaultLevel {
				continue
			}
			b.Run(fmt.Sprintf("level %d chunks %d", level, chunk), func(b *testing.B) {
				bits := deflate.NewWriter(io.Discard)
				var onlyBlocks, ours, theirs time.Duration
				original, _ := flate.NewWriter(io.Discard, level)
				for b.Loop() {
					onlyBlocks += benchEncode(b, level, chunk, plain, func(*deflate.Block) error { return nil })
					bits.Reset(io.Discard)
					ours += benchEncode(b, level, chunk, plain, bits.WriteBlock)
					theirs += worked(func() {
						original.Reset(io.Discard)
						_, _ = original.Write(plain)
						_ = original.Close()
					})
				}
				total := float64(len(plain)) * float64(b.N) / 1e6
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(total/onlyBlocks.Seconds(), "blocks-MB/cpu-s")
				b.ReportMetric(total/ours.Seconds(), "MB/cpu-s")
				b.ReportMetric(total/theirs.Seconds(), "original-MB/cpu-s")
				b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-original")
			})
		}
	}
}

func benchEncode(b *testing.B, level, chunk int, plain []byte, emit deflate.Emit) time.Duration {
	e, err := New(V1_18_2, level, emit)
	if chunk > 0 {
		e, err = NewChunked(V1_18_2, level, chunk, emit)
	}
	check(b, err)
	return worked(func() {
		e.Reset(nil)
		check(b, e.Write(plain))
		check(b, e.Close())
	})
}

// worked returns how long processors worked on f.
func worked(f func()) time.Duration {
	begin := cpuTime()
	f()
	return cpuTime() - begin
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
