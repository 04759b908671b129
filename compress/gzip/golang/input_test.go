package golang

import "bytes"

// numbers gives the same numbers for ever, which math/rand does not promise: the generator SplitMix64.
type numbers uint64

func (r *numbers) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 up to n-1.
func (r *numbers) below(n int) int { return int(r.next() >> 1 % uint64(n)) }

// order returns the numbers below n in some order.
func (r *numbers) order(n int) []int {
	list := make([]int, n)
	for i := range list {
		j := r.below(i + 1)
		list[i], list[j] = list[j], i
	}
	return list
}

type input struct {
	name  string
	plain []byte
}

// inputs are of many kinds, and the same for ever.
func inputs() []input {
	list := []input{
		{"empty", nil},
		{"zeros", make([]byte, 300000)},
		{"random", noise(1, 300000)},
		{"text", text(2, 1<<20)},
		{"mixed", mixed(3, 2<<20)},
		{"far", far(4, 1<<20)},
		{"two symbols", bytes.Map(func(r rune) rune { return r & 1 }, text(5, 200000))},
		{"a window", text(6, 65536)},
		{"a window less one", mixed(7, 65535)},
		{"half a window", text(8, 32768)},
		{"lookahead", mixed(9, 65536-262)},
		{"skewed", skewed(10, 500000)},
		{"equal counts", equalCounts(11)},
	}
	return list
}

func noise(seed uint64, n int) []byte {
	r := numbers(seed)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.next())
	}
	return b
}

// text is of words that occur unequally often.
func text(seed uint64, n int) []byte {
	r := numbers(seed)
	words := make([][]byte, 2000)
	for i := range words {
		words[i] = make([]byte, 2+r.below(9))
		for j := range words[i] {
			words[i][j] = byte('a' + r.below(1+r.below(26)))
		}
	}
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(b, words[r.below(1+r.below(len(words)))]...)
		b = append(b, " \n"[r.below(2)])
	}
	return b[:n]
}

// mixed changes between text, noise, zeros and copies of what was before.
func mixed(seed uint64, n int) []byte {
	r := numbers(seed)
	b := make([]byte, 0, n)
	words := text(seed+1, 40000)
	for len(b) < n {
		size := 1 + r.below(1<<(1+r.below(16)))
		switch r.below(5) {
		case 0:
			b = append(b, noise(r.next(), size)...)
		case 1:
			b = append(b, make([]byte, size)...)
		case 2:
			at := r.below(len(words))
			b = append(b, words[at:min(len(words), at+size)]...)
		default:
			if len(b) > 0 {
				at := len(b) - 1 - r.below(min(len(b), 40000))
				b = append(b, b[at:min(len(b), at+min(size, 400))]...)
			}
		}
	}
	return b[:n]
}

// far has matches as far back as they can be, and a little farther.
func far(seed uint64, n int) []byte {
	r := numbers(seed)
	b := noise(seed, 33000)
	for len(b) < n {
		at := len(b) - 32768 - 40 + r.below(320)
		b = append(b, b[at:at+4+r.below(30)]...)
		if r.below(4) == 0 {
			b = append(b, byte(r.next()))
		}
	}
	return b[:n]
}

// skewed has symbols of counts that need codes as long as they can be.
func skewed(seed uint64, n int) []byte {
	r := numbers(seed)
	b := make([]byte, n)
	for i := range b {
		s := 0
		for s < 255 && r.below(2) == 0 {
			s++
		}
		b[i] = byte(s * 37)
	}
	return b
}

// equalCounts has bytes that occur equally often, and some twice as often.
func equalCounts(seed uint64) []byte {
	r := numbers(seed)
	var b []byte
	for range 200 {
		for _, s := range r.order(96) {
			b = append(b, byte(s))
			if s%3 == 0 {
				b = append(b, byte(s))
			}
		}
	}
	return b
}
