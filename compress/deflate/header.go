package deflate

import (
	"errors"
	"fmt"
	"slices"
)

// Equal reports whether h and other are written with the same bits.
func (h *Header) Equal(other *Header) bool {
	return h.Literals == other.Literals && h.Distances == other.Distances && h.Codes == other.Codes &&
		h.CodeLengths == other.CodeLengths && slices.Equal(h.Lengths, other.Lengths)
}

// Size returns how many bits h has in the stream.
func (h *Header) Size() int {
	size := 5 + 5 + 4 + 3*h.Codes
	for _, l := range h.Lengths {
		if int(l.Symbol) < len(h.CodeLengths) {
			size += int(h.CodeLengths[l.Symbol]) + LengthSymbolExtraBits(int(l.Symbol))
		}
	}
	return size
}

// Expand checks h and returns the code lengths that it tells, first those of literals. They lie in dst if that has room for
// 318.
//
// The literals are complete, or [EndOfBlock] alone in one bit; the distances are complete, or one code of one bit, or none.
// These are the rules of zlib, but that it refuses more than 30 distances.
func (h *Header) Expand(dst []uint8) (literals, distances []uint8, err error) {
	if err := h.checkCounts(); err != nil {
		return nil, nil, err
	}
	if err := h.checkCodeLengths(); err != nil {
		return nil, nil, err
	}
	all, err := h.appendLengths(dst[:0])
	if err != nil {
		return nil, nil, err
	}
	literals, distances = all[:h.Literals], all[h.Literals:]
	return literals, distances, checkLengths(literals, distances)
}

func (h *Header) checkCounts() error {
	switch {
	case h.Literals < 257 || h.Literals > MaxLiterals:
		return fmt.Errorf("header of %d literals, want 257 to %d", h.Literals, MaxLiterals)
	case h.Distances < 1 || h.Distances > MaxDistances:
		return fmt.Errorf("header of %d distances, want 1 to %d", h.Distances, MaxDistances)
	case h.Codes < 4 || h.Codes > len(h.CodeLengths):
		return fmt.Errorf("header of %d codes for code lengths, want 4 to %d", h.Codes, len(h.CodeLengths))
	}
	return nil
}

// checkCodeLengths checks the code in which the lengths are written.
func (h *Header) checkCodeLengths() error {
	for i, symbol := range CodeLengthOrder {
		switch n := h.CodeLengths[symbol]; {
		case n > maxHeaderLength:
			return fmt.Errorf("code for code lengths of %d bits, want at most %d", n, maxHeaderLength)
		case n > 0 && i >= h.Codes:
			return fmt.Errorf("symbol %d has a code and is not among the %d that the header tells", symbol, h.Codes)
		}
	}
	if err := checkComplete(h.CodeLengths[:], false, false); err != nil {
		return fmt.Errorf("code lengths: %w", err)
	}
	return nil
}

// appendLengths appends to dst the lengths that h.Lengths stand for.
func (h *Header) appendLengths(dst []uint8) ([]uint8, error) {
	total := h.Literals + h.Distances
	for _, l := range h.Lengths {
		if int(l.Symbol) >= len(h.CodeLengths) || h.CodeLengths[l.Symbol] == 0 {
			return nil, fmt.Errorf("code length symbol %d has no code", l.Symbol)
		}
		if l.Extra>>LengthSymbolExtraBits(int(l.Symbol)) != 0 {
			return nil, fmt.Errorf("code length symbol %d with extra bits %d", l.Symbol, l.Extra)
		}
		value, count, err := l.run(dst)
		if err != nil {
			return nil, err
		}
		if len(dst)+count > total {
			return nil, errTooManyLengths
		}
		for range count {
			dst = append(dst, value)
		}
	}
	if len(dst) < total {
		return nil, fmt.Errorf("%d code lengths, want %d", len(dst), total)
	}
	return dst, nil
}

var (
	errTooManyLengths = errors.New("a run goes on after the last code length")
	errNothingToCopy  = errors.New("a copy of the code length before the first one")
)

// run returns the code length that l stands for and how often, after the lengths in before.
func (l LengthSymbol) run(before []uint8) (value uint8, count int, err error) {
	switch l.Symbol {
	case 16:
		if len(before) == 0 {
			return 0, 0, errNothingToCopy
		}
		return before[len(before)-1], 3 + int(l.Extra), nil
	case 17:
		return 0, 3 + int(l.Extra), nil
	case 18:
		return 0, 11 + int(l.Extra), nil
	}
	return l.Symbol, 1, nil
}

// checkLengths refuses code lengths that no valid stream has.
func checkLengths(literals, distances []uint8) error {
	if literals[EndOfBlock] == 0 {
		return errors.New("the end of the block has no code")
	}
	if err := checkComplete(literals, false, true); err != nil {
		return fmt.Errorf("literals: %w", err)
	}
	if err := checkComplete(distances, true, true); err != nil {
		return fmt.Errorf("distances: %w", err)
	}
	return nil
}
