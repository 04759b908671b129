package zstdlong

import "math/bits"

// The codes of RFC 8878, section 3.1.1.3.2.1.1: of lengths of literals and of matches. Values below a first one are their own code.

const (
	literalDirect = 16 // lengths of literals with a code of their own
	matchDirect   = 32 // lengths of matches, less minMatch, with a code of their own
	minMatch      = 3  // that the format can tell

	literalCodes = 36
	matchCodes   = 53
	offsetCodes  = 32
)

var literalBase = [literalCodes]uint32{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096,
	8192, 16384, 32768, 65536,
}

var literalBits = [literalCodes]uint8{
	16: 1, 17: 1, 18: 1, 19: 1, 20: 2, 21: 2, 22: 3, 23: 3, 24: 4, 25: 6, 26: 7, 27: 8, 28: 9, 29: 10, 30: 11, 31: 12, 32: 13, 33: 14,
	34: 15, 35: 16,
}

// matchBase is less minMatch.
var matchBase = [matchCodes]uint32{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 36,
	38, 40, 44, 48, 56, 64, 80, 96, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536,
}

var matchBits = [matchCodes]uint8{
	32: 1, 33: 1, 34: 1, 35: 1, 36: 2, 37: 2, 38: 3, 39: 3, 40: 4, 41: 4, 42: 5, 43: 7, 44: 8, 45: 9, 46: 10, 47: 11, 48: 12, 49: 13,
	50: 14, 51: 15, 52: 16,
}

// Codes of small values, and how far the code of a larger one is from its highest bit.
var (
	literalSmall = smallCodes(literalBase[:], 64)
	matchSmall   = smallCodes(matchBase[:], 128)
)

const (
	literalShift = 19
	matchShift   = 36
)

// smallCodes returns the codes of the values below n.
func smallCodes(base []uint32, n int) []uint8 {
	codes := make([]uint8, n)
	code := 0
	for v := range codes {
		for code+1 < len(base) && base[code+1] <= uint32(v) {
			code++
		}
		codes[v] = uint8(code)
	}
	return codes
}

// literalCode returns the code of a length of literals.
func literalCode(n uint32) uint8 {
	if n < uint32(len(literalSmall)) {
		return literalSmall[n]
	}
	return uint8(bits.Len32(n)-1) + literalShift
}

// matchCode returns the code of a length of a match, less minMatch.
func matchCode(n uint32) uint8 {
	if n < uint32(len(matchSmall)) {
		return matchSmall[n]
	}
	return uint8(bits.Len32(n)-1) + matchShift
}

// offsetCode returns the code of an offset value, which is how many bits follow, too.
func offsetCode(v uint32) uint8 { return uint8(bits.Len32(v) - 1) }
