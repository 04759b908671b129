package zlib

import (
	"fmt"
	"os"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// BenchmarkEncoder makes blocks, without their bits. FERRY_BENCH_TAR names a file to take in place of the sample.
func BenchmarkEncoder(b *testing.B) {
	plain := everything()
	if name := os.Getenv("FERRY_BENCH_TAR"); name != "" {
		var err error
		if plain, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	for _, level := range []int{1, 3, 6, 9} {
		b.Run(fmt.Sprintf("level %d", level), func(b *testing.B) {
			e, err := New(DefaultZlib, level, func(*deflate.Block) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				e.Reset(nil)
				if err := e.Write(plain); err != nil {
					b.Fatal(err)
				}
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
