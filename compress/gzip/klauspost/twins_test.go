package klauspost

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// TestTwins holds that twins make the streams of both generations, also when the encoder is used again.
func TestTwins(t *testing.T) {
	parts := [][]byte{generated(7, 700_000), nil, generated(8, 20), generated(9, 100), generated(10, 300_000)}
	dict := generated(7, 40_000)
	for level := 1; level <= 6; level++ {
		for _, chunk := range []int{0, 256 << 10} {
			t.Run(fmt.Sprintf("level %d, chunk %d", level, chunk), func(t *testing.T) {
				first, second := newEncoded(t, V1_18_1, level, chunk), newEncoded(t, V1_18_2, level, chunk)
				one, other := newEncoded(t, V1_18_1, level, chunk), newEncoded(t, V1_18_2, level, chunk)
				twins, err := NewTwins(level, chunk, [2]deflate.Emit{one.w.WriteBlock, other.w.WriteBlock})
				check(t, err)
				for _, dict := range [][]byte{nil, dict} {
					want := [][]byte{first.encodeAfter(t, dict, parts...), second.encodeAfter(t, dict, parts...)}
					one.Encoder = twins
					other.buf.Reset()
					other.w.Reset(&other.buf)
					got := [][]byte{one.encodeAfter(t, dict, parts...)}
					check(t, other.w.Close(0))
					got = append(got, bytes.Clone(other.buf.Bytes()))
					if !slices.EqualFunc(got, want, bytes.Equal) {
						t.Error("the streams of the twins are other ones")
					}
				}
			})
		}
	}
}
