package deflate

import (
	"errors"
	"math/bits"
)

var (
	errOversubscribed = errors.New("more codes than their lengths leave room for")
	errIncomplete     = errors.New("codes leave room for more")
)

// Codes stores the codes of RFC 1951, 3.2.2 for the code lengths of symbols, 0 to 15, in codes. They are reversed: the
// lowest bit is the first one in the stream. A symbol of length 0 gets 0. Lengths that leave no room for all codes are an
// error; those that leave room for more are none, and [Header.Expand] tells which of these a stream may have.
func Codes(lengths []uint8, codes []uint16) error {
	counts, err := countLengths(lengths)
	if err != nil {
		return err
	}
	next := firstCodes(&counts)
	for s, n := range lengths {
		codes[s] = 0
		if n > 0 {
			codes[s] = bits.Reverse16(next[n]) >> (16 - n)
			next[n]++
		}
	}
	return nil
}

// countLengths returns how many of lengths have each value.
func countLengths(lengths []uint8) (counts [maxCodeLength + 1]int, err error) {
	for _, n := range lengths {
		if n > maxCodeLength {
			return counts, errors.New("a code of more than 15 bits")
		}
		counts[n]++
	}
	if roomLeft(&counts) < 0 {
		return counts, errOversubscribed
	}
	return counts, nil
}

// roomLeft returns how many codes of 15 bits could be added, and less than 0 when there are too many codes.
func roomLeft(counts *[maxCodeLength + 1]int) int {
	room := 1 << maxCodeLength
	for n := 1; n <= maxCodeLength; n++ {
		room -= counts[n] << (maxCodeLength - n)
	}
	return room
}

// firstCodes returns the first code of each length.
func firstCodes(counts *[maxCodeLength + 1]int) (first [maxCodeLength + 1]uint16) {
	code := uint16(0)
	for n := 1; n <= maxCodeLength; n++ {
		first[n] = code
		code = (code + uint16(counts[n])) << 1
	}
	return first
}

// checkComplete refuses lengths whose codes leave room for more, unless there is one code, of one bit, or none where that
// is allowed: zlib takes no others.
func checkComplete(lengths []uint8, empty, single bool) error {
	counts, err := countLengths(lengths)
	if err != nil {
		return err
	}
	used := len(lengths) - counts[0]
	switch {
	case roomLeft(&counts) == 0,
		used == 0 && empty,
		used == 1 && counts[1] == 1 && single:
		return nil
	}
	return errIncomplete
}
