package golang

import (
	stdflate "compress/flate"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// BenchmarkEncode makes streams of a tar of sources, or of the file that GOLANG_BENCH names, in turns with compress/flate.
// It tells the speed of both by the time that a processor worked on it, which holds on a busy machine, and how many times
// as fast as compress/flate the encoder is.
func BenchmarkEncode(b *testing.B) {
	plain := sources()
	if name := os.Getenv("GOLANG_BENCH"); name != "" {
		var err error
		if plain, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	for _, level := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9} {
		b.Run(fmt.Sprintf("level %d", level), func(b *testing.B) {
			bits := deflate.NewWriter(io.Discard)
			e, _ := New(level, bits.WriteBlock)
			std, _ := stdflate.NewWriter(io.Discard, level)
			var ours, theirs time.Duration
			for b.Loop() {
				ours += worked(func() {
					bits.Reset(io.Discard)
					e.Reset(nil)
					_, _ = e.Write(plain), e.Close()
				})
				theirs += worked(func() {
					std.Reset(io.Discard)
					_, _ = std.Write(plain)
					_ = std.Close()
				})
			}
			total := float64(len(plain)) * float64(b.N) / 1e6
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(total/ours.Seconds(), "MB/cpu-s")
			b.ReportMetric(total/theirs.Seconds(), "flate-MB/cpu-s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-flate")
		})
	}
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
