package golang

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// row gathers the blocks of an encoder, and where each begins in the plain bytes.
type row struct {
	blocks []*deflate.Block
	starts []int
	end    int
}

func (r *row) emit(b *deflate.Block) error {
	c := *b
	c.Tokens, c.Raw = slices.Clone(b.Tokens), slices.Clone(b.Raw)
	c.Header.Lengths = slices.Clone(b.Header.Lengths)
	r.blocks, r.starts = append(r.blocks, &c), append(r.starts, r.end)
	r.end += len(b.Raw)
	for _, t := range b.Tokens {
		r.end += t.Size()
	}
	return nil
}

func TestResumeAtEachBlock(t *testing.T) {
	list := []input{
		{"text", text(2, 1<<20)},
		{"mixed", mixed(3, 2<<20)},
		{"far", far(4, 1<<20)},
		{"sources", sources()[:min(len(sources()), 2<<20)]},
	}
	for level := 4; level <= 9; level++ {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			resumed := 0
			for _, in := range list {
				whole := encodeRow(t, level, 0, nil, in.plain)
				for i := 1; i < len(whole.blocks); i++ {
					at := whole.starts[i]
					dict := in.plain[max(0, at-deflate.WindowSize):at]
					rest := in.plain[at:min(len(in.plain), at+200000)]
					checkResumed(t, in.name, at, encodeRow(t, level, int64(at), dict, rest), whole.blocks[i:])
					resumed++
				}
			}
			if resumed < 30 {
				t.Errorf("resumed %d times only", resumed)
			}
		})
	}
}

// encodeRow encodes plain from a position on.
func encodeRow(t *testing.T, level int, position int64, dict, plain []byte) *row {
	t.Helper()
	r := new(row)
	e, err := New(level, r.emit)
	if err != nil {
		t.Fatal(err)
	}
	if position > 0 {
		e.(Resumer).ResetAt(position, dict)
	}
	if err := e.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

// checkResumed compares the blocks from a place on, but for the last two: those differ if the plain bytes were cut off.
func checkResumed(t *testing.T, name string, at int, got *row, want []*deflate.Block) {
	t.Helper()
	for i, b := range got.blocks[:len(got.blocks)-min(2, len(got.blocks))] {
		if !b.Equal(want[i]) {
			t.Errorf("%s: from %d on, block %d is another one", name, at, i)
			return
		}
	}
}

func TestResetIsForgetful(t *testing.T) {
	big, small := mixed(20, 200000), text(21, 400)
	for _, level := range levels {
		e := newEncoded(t, level)
		want := slices.Clone(e.encode(t, 1, small))
		for range 3 {
			e.encode(t, 1, big, small)
			if got := e.encode(t, 1, small); !slices.Equal(got, want) {
				t.Errorf("level %d: after another stream, a stream is not the same", level)
			}
		}
	}
}

// TestPlacesOutOfCount begins streams until the numbers of places have come around to those of the first stream, which
// would be found again if they had not been forgotten.
func TestPlacesOutOfCount(t *testing.T) {
	plain := mixed(22, 30000)
	for _, level := range []int{1, 3, 6} {
		for _, off := range []uint32{0, 100} {
			e := newEncoded(t, level)
			base := baseOf(e.Encoder)
			before := *base
			e.Reset(nil)
			first, step := *base, *base-before
			*base = before
			e.encode(t, 1, plain)
			for around := false; !around || first-*base > 2*step; {
				before := *base
				e.Reset(nil)
				around = around || *base < before
			}
			*base = first - step + off
			want := newEncoded(t, level).encode(t, 1, plain)
			if got := e.encode(t, 1, plain); !slices.Equal(got, want) {
				t.Errorf("level %d: after 4 GiB and %d bytes, a stream is not the same", level, off)
			}
		}
	}
}

func baseOf(e deflate.Encoder) *uint32 {
	switch e := e.(type) {
	case *fast:
		return &e.base
	case *greedy:
		return &e.base
	case *lazy:
		return &e.base
	}
	return nil
}
