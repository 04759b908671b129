package deflate

const (
	// EndOfBlock is the symbol of the literal code that ends a block.
	EndOfBlock = 256

	// MaxLiterals and MaxDistances are how many symbols a dynamic block can tell the code lengths of. The last two of the
	// distances, 30 and 31, may have a code and never occur.
	MaxLiterals  = 286
	MaxDistances = 32

	// LengthCodes and DistanceCodes are how many symbols match lengths (from 257 on) and distances have.
	LengthCodes   = 29
	DistanceCodes = 30

	maxCodeLength   = 15
	maxHeaderLength = 7 // of a code in which code lengths are written
	fixedLiterals   = 288
)

// CodeLengthOrder is the order in which a header tells [Header.CodeLengths].
var CodeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// The tables of RFC 1951, 3.2.5. Lengths are counted from MinMatch, distances from 1: as a token has them.
var (
	lengthExtra = [LengthCodes]uint8{
		0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
	}
	lengthBase = [LengthCodes]uint8{
		0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 255,
	}
	distanceExtra = [DistanceCodes]uint8{
		0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
	}
	distanceBase = [DistanceCodes]uint16{
		0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768,
		1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576,
	}
)

// lengthSymbol has the symbol of each length, less 257. nearSymbol has that of each distance up to 256, and farSymbol that
// of each distance by all but its lowest 7 bits: symbols above 15 have at least 7 extra bits.
var lengthSymbol, nearSymbol, farSymbol = symbolTables()

func symbolTables() (length, near, far [256]uint8) {
	for s, base := range lengthBase {
		for i := int(base); i < len(length); i++ {
			length[i] = uint8(s)
		}
	}
	for s, base := range distanceBase {
		for i := int(base); i < len(near); i++ {
			near[i] = uint8(s)
		}
		for i := int(base >> 7); i < len(far); i++ {
			far[i] = uint8(s)
		}
	}
	return length, near, far
}

// Symbol returns the symbol of t in the literal code: the byte of a literal, and 257 to 285 for the length of a match.
func (t Token) Symbol() int {
	switch {
	case !t.IsMatch():
		return int(t & 0xff)
	case t.IsLong():
		return 284
	}
	return 257 + int(lengthSymbol[t>>16&0xff])
}

// CountSymbols stores how often each symbol of the literal and the distance code occurs in tokens, without the end of the
// block. No match of them is long.
func CountSymbols(literals *[MaxLiterals]uint32, distances *[DistanceCodes]uint32, tokens []Token) {
	clear(literals[:])
	clear(distances[:])
	var lengths [256]uint32
	for _, t := range tokens {
		if t < EndOfBlock {
			literals[t]++
		} else {
			lengths[t>>16&0xff]++
			distances[t.DistanceSymbol()]++
		}
	}
	for i, n := range lengths {
		literals[Match(MinMatch+i, 1).Symbol()] += n
	}
}

// DistanceSymbol returns the symbol of the distance of a match, 0 to 29.
func (t Token) DistanceSymbol() int {
	return int(distanceSymbol(uint32(t) & (WindowSize - 1)))
}

// distanceSymbol returns the symbol of the distance d+1.
func distanceSymbol(d uint32) uint8 {
	if d < 256 {
		return nearSymbol[d]
	}
	return farSymbol[d>>7&0xff]
}

// LiteralExtraBits returns how many bits follow symbol of the literal code: none for literals and [EndOfBlock], and up to 5
// for match lengths.
func LiteralExtraBits(symbol int) int {
	if symbol <= EndOfBlock {
		return 0
	}
	return int(lengthExtra[symbol-257])
}

// DistanceExtraBits returns how many bits follow symbol of the distance code, up to 13.
func DistanceExtraBits(symbol int) int { return int(distanceExtra[symbol]) }

// LengthSymbolExtraBits returns how many bits follow a symbol in which code lengths are written: 2, 3 and 7 for the runs 16,
// 17 and 18.
func LengthSymbolExtraBits(symbol int) int {
	switch symbol {
	case 16:
		return 2
	case 17:
		return 3
	case 18:
		return 7
	}
	return 0
}

// FixedLiteralLengths returns the code lengths of the literals of a Fixed block. The last two symbols never occur.
func FixedLiteralLengths() [fixedLiterals]uint8 {
	var lengths [fixedLiterals]uint8
	for s := range lengths {
		switch {
		case s < 144:
			lengths[s] = 8
		case s < 256:
			lengths[s] = 9
		case s < 280:
			lengths[s] = 7
		default:
			lengths[s] = 8
		}
	}
	return lengths
}

// FixedDistanceLengths returns the code lengths of the distances of a Fixed block. The last two symbols never occur.
func FixedDistanceLengths() [MaxDistances]uint8 {
	var lengths [MaxDistances]uint8
	for s := range lengths {
		lengths[s] = 5
	}
	return lengths
}
