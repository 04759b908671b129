package zlib

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// TestLongestOfManyIsLongest compares the streams of both searches, also where chains are longer than what is looked at.
func TestLongestOfManyIsLongest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	two := make([]byte, 60_000)
	for i := range two {
		two[i] = "ab"[rng.IntN(2)]
	}
	waves := make([]byte, 0, 80_000)
	for len(waves) < 70_000 {
		waves = append(waves, bytes.Repeat([]byte{byte(rng.IntN(3))}, rng.IntN(90))...)
		waves = append(waves, byte(rng.IntN(8)))
	}
	for name, plain := range map[string][]byte{
		"everything": everything(),
		"few":        sample("few", 70_000),
		"two":        two,
		"runs":       waves,
		"mixed":      slices.Concat(two[:9000], sample("tar", 30_000), waves[:20_000], sample("text", 20_000)),
	} {
		for level := 1; level <= 9; level++ {
			if efforts[level].chain < longChain {
				continue
			}
			for _, v := range []Variant{DefaultZlib, LargeBusyBox, SmallBusyBox} {
				want := encodeRanked(t, v, level, plain, false)
				if got := encodeRanked(t, v, level, plain, true); !bytes.Equal(got, want) {
					t.Errorf("%s, level %d of %+v: another stream", name, level, v)
				}
			}
		}
	}
}

// encodeRanked returns the stream of plain with or without ranks.
func encodeRanked(t *testing.T, v Variant, level int, plain []byte, ranked bool) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := deflate.NewWriter(&buf)
	e, err := New(v, level, w.WriteBlock)
	if err != nil {
		t.Fatal(err)
	}
	e.(*resumer).ranked = ranked
	e.Reset(nil)
	for _, err := range []error{e.Write(plain), e.Close(), w.Close(0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}
