package zlib

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// TestTwins holds that twins make the streams of both, also when the encoder is used again, and in mid-stream.
func TestTwins(t *testing.T) {
	// Of sizes like these, one of the twins finds matches behind the end.
	plain := sample("tar", 66185)
	for level := firstLazy; level <= 9; level++ {
		var out [2]bytes.Buffer
		w := [2]*deflate.Writer{deflate.NewWriter(&out[0]), deflate.NewWriter(&out[1])}
		twins, err := NewTwins(level, [2]deflate.Emit{w[0].WriteBlock, w[1].WriteBlock})
		if err != nil {
			t.Fatal(err)
		}
		differ := false
		for _, size := range []int{len(plain), 0, 10, 1000, 40_000} {
			for i := range out {
				out[i].Reset()
				w[i].Reset(&out[i])
			}
			twins.Reset(nil)
			err := errors.Join(twins.Write(plain[:size/3]), twins.Write(plain[size/3:size]), twins.Close(), w[0].Close(0), w[1].Close(0))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range []Variant{GNUGzip, LargeBusyBox} {
				if !bytes.Equal(out[i].Bytes(), encode(t, v, level, plain[:size], size)) {
					t.Errorf("level %d: %d bytes: the stream of twin %d is another one", level, size, i)
				}
			}
			differ = differ || !bytes.Equal(out[0].Bytes(), out[1].Bytes())
		}
		if !differ && level == 9 {
			t.Error("the twins never differ: it was not seen which is which")
		}
	}
}
