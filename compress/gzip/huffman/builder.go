// Package huffman makes the codes of dynamic blocks as Go's compress/flate and klauspost/compress/flate do, and writes their
// lengths as those do. zlib's codes are made by another rule, and their lengths written in the same runs.
package huffman

import (
	"slices"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// MaxBits is the length of the longest code of a literal or a distance.
const MaxBits = 15

const maxSymbols = deflate.MaxLiterals

// Builder makes codes of the least size. What it keeps is no more than room to work in.
type Builder struct {
	leaves      [maxSymbols]uint64            // count<<16 | symbol, the rarest first
	lists       [2][2 * maxSymbols]uint32     // weights of a list of packages, and of the one before
	isLeaf      [MaxBits][2 * maxSymbols]bool // of the items of each list
	codeLengths [MaxBits + 1]int
}

// Lengths stores in dst the code lengths of its symbols, which occur counts times, at most limit bits. Two symbols or fewer
// have one bit each. A symbol that does not occur has none.
//
// This is the package-merge algorithm of Larmore and Hirschberg. There can be several codes of the same size: this one
// takes a package before a leaf of the same weight, and gives the symbols that occur equally often longer codes the
// smaller they are.
func (t *Builder) Lengths(dst []uint8, counts []uint32, limit int) {
	n := 0
	for s, c := range counts[:min(len(counts), len(dst))] {
		dst[s] = 0
		if c > 0 {
			t.leaves[n] = uint64(c)<<16 | uint64(s)
			n++
		}
	}
	leaves := t.leaves[:n]
	if n <= 2 {
		for _, l := range leaves {
			dst[l&0xffff] = 1
		}
		return
	}
	slices.Sort(leaves)
	limit = min(limit, n-1)
	t.merge(leaves, limit)
	t.trace(n, limit)
	for bits := 1; bits <= limit; bits++ {
		rest := len(leaves) - t.codeLengths[bits]
		for _, l := range leaves[rest:] {
			dst[l&0xffff] = uint8(bits)
		}
		leaves = leaves[:rest]
	}
}

// merge fills isLeaf: the first list is that of the leaves, and each further one has the leaves and the pairs of the list
// before, by weight.
func (t *Builder) merge(leaves []uint64, limit int) {
	size := 2*len(leaves) - 2 // of the last list; no other one needs more
	before := t.lists[0][:0]
	for i, l := range leaves {
		before = append(before, uint32(l>>16))
		t.isLeaf[0][i] = true
	}
	for level := 1; level < limit; level++ {
		list, isLeaf := t.lists[level&1][:0], t.isLeaf[level][:size]
		leaf, pairs := 0, before
		for len(list) < size {
			pair := ^uint32(0)
			if len(pairs) >= 2 {
				pair = pairs[0] + pairs[1]
			}
			if leaf < len(leaves) && uint32(leaves[leaf]>>16) < pair {
				isLeaf[len(list)] = true
				list = append(list, uint32(leaves[leaf]>>16))
				leaf++
				continue
			}
			if len(pairs) < 2 {
				break
			}
			isLeaf[len(list)] = false
			list = append(list, pair)
			pairs = pairs[2:]
		}
		before = list
	}
}

// trace counts in codeLengths how many of n symbols have each length: a symbol has a bit for each list in which its leaf is
// among the items that are needed, and they are the first 2n-2 of the last list, and the pairs among them as items of the
// list before.
func (t *Builder) trace(n, limit int) {
	needed, above := 2*n-2, 0
	for bits := 0; bits <= limit; bits++ {
		leaves := 0
		if bits < limit {
			for _, is := range t.isLeaf[limit-1-bits][:needed] {
				if is {
					leaves++
				}
			}
			needed = 2 * (needed - leaves)
		}
		if bits > 0 {
			t.codeLengths[bits] = above - leaves
		}
		above = leaves
	}
}

// Header stores in h how the code lengths are written, those of literals and of distances in a row: runs go on from the
// former to the latter.
func (t *Builder) Header(h *deflate.Header, lengths []uint8) {
	var counts [len(h.CodeLengths)]uint32
	h.Lengths = AppendRuns(h.Lengths[:0], lengths)
	for _, l := range h.Lengths {
		counts[l.Symbol]++
	}
	t.Lengths(h.CodeLengths[:], counts[:], 7)
	h.Codes = len(h.CodeLengths)
	for h.Codes > 4 && counts[deflate.CodeLengthOrder[h.Codes-1]] == 0 {
		h.Codes--
	}
}

// AppendRuns appends to dst the symbols in which lengths are written. A run takes as much as it can, and the next one of
// the same length begins with what is left.
func AppendRuns(dst []deflate.LengthSymbol, lengths []uint8) []deflate.LengthSymbol {
	for len(lengths) > 0 {
		length, n := lengths[0], 1
		for n < len(lengths) && lengths[n] == length {
			n++
		}
		lengths = lengths[n:]
		if length != 0 {
			dst = append(dst, deflate.LengthSymbol{Symbol: length})
			for n--; n >= 3; n -= min(n, 6) {
				dst = append(dst, deflate.LengthSymbol{Symbol: 16, Extra: uint8(min(n, 6) - 3)})
			}
		} else {
			for ; n >= 11; n -= min(n, 138) {
				dst = append(dst, deflate.LengthSymbol{Symbol: 18, Extra: uint8(min(n, 138) - 11)})
			}
			if n >= 3 {
				dst = append(dst, deflate.LengthSymbol{Symbol: 17, Extra: uint8(n - 3)})
				n = 0
			}
		}
		for range n {
			dst = append(dst, deflate.LengthSymbol{Symbol: length})
		}
	}
	return dst
}
