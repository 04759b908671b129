package klauspost

import (
	"math"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// counts tell how often each symbol occurs.
type counts struct {
	literals  [deflate.MaxLiterals]uint32
	distances [deflate.DistanceCodes]uint32
}

// count counts the symbols of tokens, without the end of the block.
func (c *counts) count(tokens []deflate.Token) {
	deflate.CountSymbols(&c.literals, &c.distances, tokens)
}

// countBytes counts literals.
func (c *counts) countBytes(p []byte) {
	*c = counts{}
	var other [256]uint32 // equal bytes that follow each other would wait for each other
	for ; len(p) >= 2; p = p[2:] {
		c.literals[p[0]]++
		other[p[1]]++
	}
	for _, v := range p {
		c.literals[v]++
	}
	for i, n := range other {
		c.literals[i] += n
	}
}

// even reports whether n literals occur so evenly that a code cannot make them smaller: the squares of what they differ from
// their mean, of which this has 2^16 times the sum, are less than 2n.
func (c *counts) even(n int) bool {
	sum, most := uint64(0), uint64(2*n)<<16
	for _, v := range c.literals[:deflate.EndOfBlock] {
		d := int64(v)<<8 - int64(n)
		sum += uint64(d * d)
	}
	return sum < most
}

// used returns how many codes a header has to tell.
func (c *counts) used() (literals, distances int) {
	literals, distances = len(c.literals), len(c.distances)
	for c.literals[literals-1] == 0 {
		literals--
	}
	for distances > 1 && c.distances[distances-1] == 0 {
		distances--
	}
	return literals, distances
}

// extraBits returns how many extra bits the matches have.
func (c *counts) extraBits() int {
	size := 0
	for s := deflate.EndOfBlock + 1; s < len(c.literals); s++ {
		size += deflate.LiteralExtraBits(s) * int(c.literals[s])
	}
	for s, n := range c.distances {
		size += deflate.DistanceExtraBits(s) * int(n)
	}
	return size
}

var fixedLengths = deflate.FixedLiteralLengths()

// fixedBits returns how many bits a Fixed block has without extra bits.
func (c *counts) fixedBits() int {
	size := 3
	for s, n := range c.literals {
		size += int(fixedLengths[s]) * int(n)
	}
	for _, n := range c.distances {
		size += 5 * int(n)
	}
	return size
}

// estimate returns about how many bits n tokens have with the best codes, extra bits included. This is the sum of floating
// point numbers of 32 bits in the order of the symbols, and each product is rounded before it is added.
func (c *counts) estimate(n int) int {
	if n == 0 {
		return 0
	}
	share := 1 / float32(n)
	sum, extra, matches := float32(0), 0, uint32(0)
	for _, v := range c.literals[:deflate.EndOfBlock] {
		sum += entropy(v, share)
	}
	sum += 15 // for the end of the block
	for s := deflate.EndOfBlock + 1; s < len(c.literals); s++ {
		v := c.literals[s]
		sum += entropy(v, share)
		extra += deflate.LiteralExtraBits(s) * int(v)
		matches += v
	}
	if matches > 0 {
		share = 1 / float32(matches)
		for s, v := range c.distances {
			sum += entropy(v, share)
			extra += deflate.DistanceExtraBits(s) * int(v)
		}
	}
	return int(sum) + extra
}

// entropy returns about how many bits a symbol has that occurs n times, each with 1 to 15.
func entropy(n uint32, share float32) float32 {
	if n == 0 {
		return 0
	}
	f := float32(n)
	return float32(min(max(-log2(float32(f*share)), 1), 15) * f)
}

// log2 returns about the binary logarithm of v: its exponent, and a parabola for the rest.
func log2(v float32) float32 {
	const fraction = 1<<23 - 1
	b := math.Float32bits(v)
	exponent := float32(int32(b>>23&0xff) - 128)
	m := math.Float32frombits(b&fraction | 127<<23)
	p := float32(-0.34484843*m) + 2.02466578
	return exponent + (float32(p*m) - 0.67487759)
}

// have reports whether there are codes for all that was counted.
func (codes *codes) have(c *counts) bool {
	for s, n := range c.literals {
		if n > 0 && codes.literals[s] == 0 {
			return false
		}
	}
	for s, n := range c.distances {
		if n > 0 && codes.distances[s] == 0 {
			return false
		}
	}
	return true
}

// bits returns how many bits c has in codes, without extra bits.
func (codes *codes) bits(c *counts) int {
	literals, _ := bitsOf(codes.literals[:], c.literals[:])
	distances, _ := bitsOf(codes.distances[:], c.distances[:])
	return literals + distances
}

// bitsOf returns how many bits the symbols of counts have, and whether there are codes for all of them.
func bitsOf(lengths []uint8, counts []uint32) (size int, ok bool) {
	ok = true
	for s, n := range counts {
		size += int(lengths[s]) * int(n)
		ok = ok && (n == 0 || lengths[s] > 0)
	}
	return size, ok
}
