package zlib

import (
	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip/huffman"
)

const maxNodes = 2 * deflate.MaxLiterals

// tree makes codes of the least size: Huffman's algorithm. There can be many such codes; this one takes the least frequent
// nodes from a binary heap, and of equal ones the one with the fewer levels below.
type tree struct {
	heap   [maxNodes + 1]uint64 // heap[1:], the lightest node first
	size   int                  // of the heap
	order  [maxNodes]uint16     // nodes as they were taken, the root last
	parent [maxNodes]uint16
	length [maxNodes]uint8
}

// A node in the heap is its weight, in 8 bits how many levels are below, and in 16 bits its number: the symbol, or that of
// a node that was made of two.
func heapNode(weight, levels uint64, node int) uint64 { return weight<<24 | levels<<16 | uint64(node) }

// before reports whether a is not heavier than b. Nodes have no order of their own.
func before(a, b uint64) bool { return a>>16 <= b>>16 }

// lengths stores the code lengths of symbols that occur counts times, at most limit bits, in dst, and returns how many
// symbols there are up to the last one with a code. There are always two codes: 0 or 1 get one that they do not need.
func (t *tree) lengths(dst []uint8, counts []uint32, limit int) int {
	clear(dst[:len(counts)])
	t.size = 0
	last := -1
	for s, c := range counts {
		if c > 0 {
			t.size++
			t.heap[t.size] = heapNode(uint64(c), 0, s)
			last = s
		}
	}
	for t.size < 2 {
		s := 0
		if last < 2 {
			last++
			s = last
		}
		t.size++
		t.heap[t.size] = heapNode(1, 0, s)
	}
	leaves := t.size
	t.join(len(counts))
	t.measure(dst, leaves, len(counts), limit)
	return last + 1
}

// join makes one node of all that are in the heap. Numbers from first on are free for new ones.
func (t *tree) join(first int) {
	for k := t.size / 2; k >= 1; k-- {
		t.sink(k)
	}
	n := 0
	for next := first; t.size >= 2; next++ {
		a := t.heap[1]
		t.heap[1] = t.heap[t.size]
		t.size--
		t.sink(1)
		b := t.heap[1]
		t.order[n], t.order[n+1] = uint16(a), uint16(b)
		n += 2
		t.parent[uint16(a)], t.parent[uint16(b)] = uint16(next), uint16(next)
		levels := max(a>>16&0xff, b>>16&0xff) + 1
		t.heap[1] = heapNode(a>>24+b>>24, levels, next)
		t.sink(1)
	}
	t.order[n] = uint16(t.heap[1])
}

// sink moves the node at k of the heap down until none below is lighter.
func (t *tree) sink(k int) {
	v := t.heap[k]
	for j := 2 * k; j <= t.size; j *= 2 {
		if j < t.size && before(t.heap[j+1], t.heap[j]) {
			j++
		}
		if before(v, t.heap[j]) {
			break
		}
		t.heap[k] = t.heap[j]
		k = j
	}
	t.heap[k] = v
}

// measure stores how deep the leaves are. Nodes below symbols are leaves.
func (t *tree) measure(dst []uint8, leaves, symbols, limit int) {
	var counts [16]int
	tooDeep := 0 // nodes below limit, whether leaves or not
	root := 2*leaves - 2
	t.length[t.order[root]] = 0
	for i := root - 1; i >= 0; i-- {
		node := t.order[i]
		n := int(t.length[t.parent[node]]) + 1
		if n > limit {
			n = limit
			tooDeep++
		}
		t.length[node] = uint8(n)
		if int(node) < symbols {
			dst[node] = uint8(n)
			counts[n]++
		}
	}
	if tooDeep > 0 {
		t.flatten(dst, counts[:limit+1], symbols, tooDeep)
	}
}

// flatten makes the leaves that are too deep children of nodes where shorter codes were, and gives the shortest codes to
// the symbols that were taken from the heap last.
func (t *tree) flatten(dst []uint8, counts []int, symbols, tooDeep int) {
	limit := len(counts) - 1
	for ; tooDeep > 0; tooDeep -= 2 {
		n := limit - 1
		for counts[n] == 0 {
			n--
		}
		counts[n]--
		counts[n+1] += 2
		counts[limit]--
	}
	i := 0
	for n := limit; n > 0; n-- {
		for left := counts[n]; left > 0; i++ {
			if node := t.order[i]; int(node) < symbols {
				dst[node] = uint8(n)
				left--
			}
		}
	}
}

// header makes the header that tells the code lengths of literals and distances.
func (t *tree) header(h *deflate.Header, literals, distances []uint8) {
	h.Literals, h.Distances = len(literals), len(distances)
	h.Lengths = huffman.AppendRuns(h.Lengths[:0], literals)
	h.Lengths = huffman.AppendRuns(h.Lengths, distances)

	var counts [len(h.CodeLengths)]uint32
	for _, l := range h.Lengths {
		counts[l.Symbol]++
	}
	t.lengths(h.CodeLengths[:], counts[:], 7)
	h.Codes = len(h.CodeLengths)
	for h.Codes > 4 && h.CodeLengths[deflate.CodeLengthOrder[h.Codes-1]] == 0 {
		h.Codes--
	}
}
