package zlib

import (
	"bytes"
	"testing"
)

// FuzzEncoder checks that a stream stands for its bytes, whatever they are, and is the same in pieces of any size.
func FuzzEncoder(f *testing.F) {
	for i, kind := range kinds {
		f.Add(sample(kind, 300), uint16(i), uint8(i), uint8(i+1), uint32(i*100))
	}
	f.Fuzz(func(t *testing.T, seed []byte, times uint16, variant, level uint8, flush uint32) {
		plain := bytes.Repeat(seed, 1+int(times)%(1+200_000/(len(seed)+1)))
		v := variants[int(variant)%len(variants)].v
		l := 1 + int(level)%9
		var flushes []int
		if v.Program == Zlib || v.Program == Pigz {
			flushes = []int{int(flush) % (len(plain) + 1)}
		}
		want := encode(t, v, l, plain, len(plain)+1, flushes...)
		if !bytes.Equal(decode(t, want, nil), plain) {
			t.Fatal("the stream stands for other bytes")
		}
		if got := encode(t, v, l, plain, 1+int(flush)%5000, flushes...); !bytes.Equal(got, want) {
			t.Fatal("another stream in pieces")
		}
	})
}
