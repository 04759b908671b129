package deflate

import (
	"bufio"
	"bytes"
	stdflate "compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// plainHeader returns a header that writes each code length as it is, in 4 bits.
func plainHeader(literals, distances []uint8) Header {
	h := Header{Literals: len(literals), Distances: len(distances), Codes: 19}
	for s := range 16 {
		h.CodeLengths[s] = 4
	}
	for _, n := range slices.Concat(literals, distances) {
		h.Lengths = append(h.Lengths, LengthSymbol{Symbol: n})
	}
	return h
}

// lengths returns n code lengths, of which those at the given symbols are set.
func lengths(n int, set map[int]uint8) []uint8 {
	all := make([]uint8, n)
	for s, l := range set {
		all[s] = l
	}
	return all
}

func stored(s string) *Block { return &Block{Kind: Stored, Raw: []byte(s)} }

func fixed(tokens ...Token) *Block { return &Block{Kind: Fixed, Tokens: tokens} }

func dynamic(h Header, tokens ...Token) *Block {
	return &Block{Kind: Dynamic, Header: h, Tokens: tokens}
}

// withRuns returns the header of the literals a and end in one bit each and of one distance, written with runs:
// 97 zeros, 1, 158 zeros, 1, and 1.
func withRuns(runs ...LengthSymbol) Header {
	return Header{
		Literals: 257, Distances: 1, Codes: 18, Lengths: runs,
		CodeLengths: [19]uint8{0: 2, 1: 2, 16: 3, 17: 3, 18: 2},
	}
}

// longCodes returns a header with codes of 1 to 15 bits: of the literals a to l, and of the distances up to 128 and from
// 16,385 on. Those of a LongMatch from far have the most bits that a token can have, 48.
func longCodes() Header {
	literals := lengths(286, map[int]uint8{257: 13, EndOfBlock: 14, 284: 15, 285: 15})
	distances := lengths(30, map[int]uint8{28: 15, 29: 15})
	for i := range 12 {
		literals['a'+i] = uint8(i + 1)
	}
	for i := range 14 {
		distances[i] = uint8(i + 1)
	}
	return plainHeader(literals, distances)
}

// Each token comes at each bit of a word, next to any other.
func TestLongCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	first, block := stored(strings.Repeat("0123456789abcdef", 2048)), dynamic(longCodes())
	block.Final = true
	for range 10_000 {
		length, distance := []int{3, 227, 257, 258}[rng.IntN(4)], []int{1, 2, 7, 8, 100, 16385, 24577, 32768}[rng.IntN(8)]
		tokens := []Token{'a' + Token(rng.IntN(12)), Match(length, distance)}
		if length == 258 {
			tokens = append(tokens, LongMatch(distance))
		}
		block.Tokens = append(block.Tokens, tokens[rng.IntN(len(tokens)):]...)
	}
	p := parsed{blocks: []*Block{first, block}}
	stream, err := p.bits()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(stream)))
	if err != nil {
		t.Fatal(err)
	}
	if got := testRoundTrip(t, stream, plain); !got.blocks[1].Equal(block) {
		t.Error("got other tokens")
	}
}

func TestManySmallBlocks(t *testing.T) {
	p := parsed{blocks: slices.Concat(
		slices.Repeat([]*Block{fixed()}, 60_000), slices.Repeat([]*Block{dynamic(longCodes())}, 500),
		slices.Repeat([]*Block{fixed('a'), dynamic(longCodes(), 'a')}, 500), []*Block{{Final: true}},
	)}
	stream, err := p.bits()
	if err != nil {
		t.Fatal(err)
	}
	testRoundTrip(t, stream, bytes.Repeat([]byte("a"), 1000))
}

func TestOddStreams(t *testing.T) {
	one := lengths(257, map[int]uint8{'a': 1, EndOfBlock: 1})
	for _, tc := range []struct {
		name    string
		blocks  []*Block
		padding uint8
		refused bool // by compress/flate
		want    string
	}{
		{"258 bytes as 284 and 31", []*Block{fixed('a', LongMatch(1))}, 0, false, strings.Repeat("a", 259)},
		{"258 bytes both ways", []*Block{fixed('a', Match(258, 1), LongMatch(1), Match(257, 1))}, 0, false, strings.Repeat("a", 774)},
		{"bits of padding at the end", []*Block{fixed('a')}, 0x3f, false, "a"},
		{"bits of padding before stored bytes", []*Block{{Kind: Stored, Raw: []byte("a"), Padding: 0x1f}}, 0, false, "a"},
		{"empty blocks", []*Block{stored(""), fixed(), stored(""), dynamic(plainHeader(one, []uint8{0})), stored("")}, 0, false, ""},
		{"largest stored block", []*Block{stored(strings.Repeat("b", 65535))}, 0, false, strings.Repeat("b", 65535)},
		{
			"end of the block alone in one bit",
			[]*Block{dynamic(plainHeader(lengths(257, map[int]uint8{EndOfBlock: 1}), []uint8{0}))},
			1, false, "",
		},
		{"no distance", []*Block{dynamic(plainHeader(one, []uint8{0}), 'a', 'a')}, 0, false, "aa"},
		{"30 distances of no length", []*Block{dynamic(plainHeader(one, make([]uint8, 30)), 'a')}, 0, false, "a"},
		{"31 distances", []*Block{dynamic(plainHeader(one, make([]uint8, 31)), 'a')}, 0, true, "a"},
		{
			"32 distances, the last ones with a code",
			[]*Block{dynamic(plainHeader(
				lengths(258, map[int]uint8{'a': 1, EndOfBlock: 2, 257: 2}), lengths(32, map[int]uint8{0: 1, 30: 2, 31: 2}),
			), 'a', Match(3, 1))},
			0, true, "aaaa",
		},
		{
			"one distance in one bit",
			[]*Block{dynamic(plainHeader(
				lengths(286, map[int]uint8{'a': 1, EndOfBlock: 2, 285: 2}), lengths(2, map[int]uint8{1: 1}),
			), 'a', 'a', Match(258, 2))},
			0, false, strings.Repeat("a", 260),
		},
		{"run of 158 zeros in two", []*Block{dynamic(withRuns(
			LengthSymbol{18, 97 - 11}, LengthSymbol{1, 0}, LengthSymbol{18, 127}, LengthSymbol{18, 20 - 11},
			LengthSymbol{1, 0}, LengthSymbol{1, 0}), 'a')}, 0, false, "a"},
		{"all runs", []*Block{dynamic(withRuns(
			LengthSymbol{0, 0}, LengthSymbol{16, 0}, LengthSymbol{16, 3}, LengthSymbol{17, 0}, LengthSymbol{17, 7},
			LengthSymbol{18, 97 - 11 - 23}, LengthSymbol{1, 0}, LengthSymbol{18, 127}, LengthSymbol{18, 20 - 11},
			LengthSymbol{1, 0}, LengthSymbol{1, 0}), 'a')}, 0, false, "a"},
		{"a run from literals to distances", []*Block{dynamic(Header{
			Literals: 257, Distances: 8, Codes: 18, CodeLengths: [19]uint8{1: 2, 3: 2, 16: 2, 18: 2},
			Lengths: []LengthSymbol{
				{18, 127},
				{18, 256 - 138 - 11},
				{1, 0},
				{3, 0},
				{16, 3},
				{3, 0},
			},
		})}, 0, false, ""},
		{"five codes for code lengths told, the fewest", []*Block{dynamic(Header{
			Literals: 257, Distances: 1, Codes: 5, CodeLengths: [19]uint8{8: 1, 0: 2, 16: 2},
			Lengths: slices.Concat(
				[]LengthSymbol{{0, 0}, {8, 0}, {16, 0}}, slices.Repeat([]LengthSymbol{{16, 3}}, 42), []LengthSymbol{{0, 0}}),
		}, 1, 255)}, 0, false, "\x01\xff"},
		{"two codes for code lengths", []*Block{dynamic(Header{
			Literals: 257, Distances: 1, Codes: 18, CodeLengths: [19]uint8{1: 1, 18: 1},
			Lengths: []LengthSymbol{{18, 127}, {18, 256 - 138 - 11}, {1, 0}, {1, 0}},
		})}, 0, false, ""},
		{
			"codes of up to 15 bits",
			[]*Block{
				stored(strings.Repeat("0123456789abcdef", 2048)),
				dynamic(longCodes(),
					'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', Match(258, 32768), LongMatch(16385), Match(3, 1),
					Match(257, 24576), Match(227, 24577), Match(258, 128), 'l', 'l', 'k', 'l'),
			},
			0, false, "",
		},
		{"largest distance", []*Block{
			stored("0123456789abcdef" + strings.Repeat("-", 32752)), fixed(Match(16, 32768)),
		}, 0, false, "0123456789abcdef" + strings.Repeat("-", 32752) + "0123456789abcdef"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.blocks[len(tc.blocks)-1].Final = true
			p := parsed{blocks: tc.blocks, padding: tc.padding}
			stream, err := p.bits()
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(stream)))
			if refused := err != nil; refused != tc.refused {
				t.Fatalf("compress/flate: %v", err)
			}
			if tc.refused {
				plain = []byte(tc.want)
			}
			if tc.want != "" && string(plain) != tc.want {
				t.Errorf("got %q, want %q", plain, tc.want)
			}
			got := testRoundTrip(t, stream, plain)
			if !slices.EqualFunc(got.blocks, tc.blocks, (*Block).Equal) || got.padding != tc.padding {
				t.Errorf("got %v with padding %#x, want %v with padding %#x", got.blocks, got.padding, tc.blocks, tc.padding)
			}
		})
	}
}

// A bitString is a stream that is written by hand.
type bitString struct {
	bytes []byte
	n     uint
}

// put adds the lowest n bits of v, the lowest one first.
func (s *bitString) put(v, n uint) *bitString {
	for ; n > 0; n-- {
		if s.n%8 == 0 {
			s.bytes = append(s.bytes, 0)
		}
		s.bytes[s.n/8] |= byte(v&1) << (s.n % 8)
		s.n++
		v >>= 1
	}
	return s
}

// code adds a code of n bits, the highest one first.
func (s *bitString) code(v, n uint) *bitString {
	for ; n > 0; n-- {
		s.put(v>>(n-1), 1)
	}
	return s
}

// header adds the head of a final dynamic block, and h with all of its mistakes.
func (s *bitString) header(h Header) *bitString {
	s.put(1|2<<1, 3).put(uint(h.Literals-257), 5).put(uint(h.Distances-1), 5).put(uint(h.Codes-4), 4)
	for _, symbol := range CodeLengthOrder[:h.Codes] {
		s.put(uint(h.CodeLengths[symbol]), 3)
	}
	var codes [19]uint16
	_ = Codes(h.CodeLengths[:], codes[:])
	for _, l := range h.Lengths {
		s.put(uint(codes[l.Symbol]), uint(h.CodeLengths[l.Symbol]))
		s.put(uint(l.Extra), uint(LengthSymbolExtraBits(int(l.Symbol))))
	}
	return s
}

func TestCorruptStreams(t *testing.T) {
	end := map[int]uint8{EndOfBlock: 1}
	match := lengths(258, map[int]uint8{'a': 1, EndOfBlock: 2, 257: 2}) // codes 0, 10, 11
	start := func() *bitString { return new(bitString) }
	head := func(literals, distances []uint8) *bitString { return start().header(plainHeader(literals, distances)) }
	for _, tc := range []struct {
		name   string
		stream *bitString
		want   string // in the error
	}{
		{"kind 3", start().put(7, 3), "bit 3: a block of kind 3"},
		{"lengths of a stored block differ", start().put(1, 8).put(1, 16).put(0xffff, 16), "bit 40: the two lengths of a stored block differ"},
		{"287 literals", head(lengths(287, end), []uint8{0}), "bit 17: header of 287 literals"},
		{"288 literals", head(lengths(288, end), []uint8{0}), "header of 288 literals"},
		{"no code for code lengths", start().header(Header{Literals: 257, Distances: 1, Codes: 4}), "code lengths: codes leave room"},
		{
			"one code for code lengths",
			start().header(Header{Literals: 257, Distances: 1, Codes: 4, CodeLengths: [19]uint8{18: 1}}),
			"code lengths: codes leave room",
		},
		{
			"too many codes for code lengths",
			start().header(Header{Literals: 257, Distances: 1, Codes: 4, CodeLengths: [19]uint8{0: 1, 17: 1, 18: 1}}),
			"code lengths: more codes",
		},
		{"copy of nothing", start().header(withRuns(LengthSymbol{16, 0})), "a copy of the code length before the first"},
		{
			"run past the last distance",
			start().header(withRuns(
				LengthSymbol{18, 127}, LengthSymbol{18, 256 - 138 - 11}, LengthSymbol{1, 0}, LengthSymbol{17, 0})),
			"a run goes on after the last",
		},
		{"no code for the end", head(lengths(257, map[int]uint8{'a': 1, 'b': 1}), []uint8{0}), "end of the block has no code"},
		{"too many literals", head(lengths(257, map[int]uint8{'a': 1, 'b': 1, EndOfBlock: 1}), []uint8{0}), "literals: more codes"},
		{"too few literals", head(lengths(257, map[int]uint8{'a': 2, 'b': 2, EndOfBlock: 2}), []uint8{0}), "literals: codes leave room"},
		{"end of the block alone in two bits", head(lengths(257, map[int]uint8{EndOfBlock: 2}), []uint8{0}), "literals: codes leave room"},
		{"too many distances", head(match, []uint8{1, 1, 1}), "distances: more codes"},
		{"too few distances", head(match, []uint8{2, 2, 2}), "distances: codes leave room"},
		{"one distance in two bits", head(match, []uint8{2}), "distances: codes leave room"},
		{"unused code of the end alone", head(lengths(257, end), []uint8{0}).put(1, 1), "no code of a literal"},
		{"match without distances", head(match, []uint8{0}).code(0, 1).code(3, 2).put(0, 99), "no code of a distance"},
		{"match with the unused code of a distance", head(match, []uint8{1}).code(0, 1).code(3, 2).put(1, 1), "no code of a distance"},
		{
			"distance 31 of a dynamic block",
			head(match, lengths(32, map[int]uint8{0: 1, 31: 1})).code(0, 1).code(3, 2).put(1, 1), "no code of a distance",
		},
		{"length 286", start().put(3, 3).code(0xc6, 8), "no code of a literal"},
		{"length 287", start().put(3, 3).code(0xc7, 8).put(0, 99), "no code of a literal"},
		{"distance 30", start().put(3, 3).code(0x30, 8).code(1, 7).code(30, 5), "no code of a distance"},
		{"distance 31", start().put(3, 3).code(0x30, 8).code(1, 7).code(31, 5).put(0, 99), "no code of a distance"},
		{"too far back", start().put(3, 3).code(0x30, 8).code(1, 7).code(1, 5), "reaches back before the begin"},
		{"too far back, and more", start().put(3, 3).code(0x30, 8).code(1, 7).code(1, 5).put(0, 999), "reaches back before the begin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(bytes.NewReader(tc.stream.bytes))
			var se *StreamError
			if !errors.As(err, &se) || !errors.Is(err, ErrCorrupt) || se.Err != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if se != nil && se.Bit > int64(tc.stream.n) {
				t.Errorf("got bit %d of %d", se.Bit, tc.stream.n)
			}
			if _, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(tc.stream.bytes))); err == nil {
				t.Error("compress/flate takes it")
			}
		})
	}
}

// threeKinds returns a stream of blocks of all kinds, and what it stands for.
func threeKinds(t testing.TB) (stream, plain []byte) {
	t.Helper()
	match := lengths(258, map[int]uint8{'a': 1, EndOfBlock: 2, 257: 2})
	p := parsed{padding: 1, blocks: []*Block{
		stored("stored"), fixed('f', Match(100, 6)), dynamic(plainHeader(match, []uint8{1}), 'a', Match(3, 1)),
		{Kind: Fixed, Tokens: []Token{Match(258, 100)}, Final: true},
	}}
	stream, err := p.bits()
	if err != nil {
		t.Fatal(err)
	}
	return stream, p.replay()
}

func TestCutStreams(t *testing.T) {
	stream, plain := threeKinds(t)
	testRoundTrip(t, stream, plain)
	for n := range stream {
		_, err := parse(bytes.NewReader(stream[:n]))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes of %d: got %v, want %v", n, len(stream), err, io.ErrUnexpectedEOF)
		}
		broken := errors.New("cable is out")
		_, err = parse(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes of %d: got %v, want %v", n, len(stream), err, broken)
		}
	}
}

func TestReaderLeavesTheRest(t *testing.T) {
	stream, plain := threeKinds(t)
	tooFar := iotest.ErrReader(errors.New("read too far"))
	for name, src := range map[string]io.Reader{
		"at once":      io.MultiReader(strings.NewReader(string(stream)+string(stream)), tooFar),
		"byte by byte": io.MultiReader(iotest.OneByteReader(strings.NewReader(string(stream)+string(stream))), tooFar),
	} {
		buffered := bufio.NewReader(src)
		for range 2 {
			p, err := parse(buffered)
			if err != nil || !bytes.Equal(p.plain, plain) || p.size != int64(len(stream)) {
				t.Errorf("%s: got %q of %d bytes, %v", name, p.plain, p.size, err)
			}
		}
	}
}

func TestReaderKeepsErrors(t *testing.T) {
	stream, _ := threeKinds(t)
	r := NewReader(bytes.NewReader(stream[:len(stream)-1]))
	var first error
	for first == nil {
		_, first = r.Next()
	}
	if _, err := r.Next(); err != first {
		t.Errorf("got %v after %v", err, first)
	}
	r.Reset(bytes.NewReader(stream))
	for range 4 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("got %v, want %v", err, io.EOF)
		}
	}
}

func TestBlocksThatAreTooLarge(t *testing.T) {
	matches := func(n int) []Token { return append([]Token{'a'}, slices.Repeat([]Token{Match(258, 1)}, n)...) }
	for _, tc := range []struct {
		name   string
		tokens []Token
		large  bool
	}{
		{"largest number of tokens", slices.Repeat([]Token{'a'}, MaxTokens), false},
		{"a token more", slices.Repeat([]Token{'a'}, MaxTokens+1), true},
		{"many tokens more", slices.Repeat([]Token{'a'}, 3*MaxTokens), true},
		{"nearly the largest size", matches(MaxBlockSize / 258), false},
		{"a match more", matches(MaxBlockSize/258 + 1), true},
		{"many matches more", matches(MaxTokens - 1), true},
	} {
		block := fixed(tc.tokens...)
		block.Final = true
		p := parsed{blocks: []*Block{block}}
		stream, err := p.bits()
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(stream))
		_, err = r.Next()
		if large := errors.Is(err, ErrBlockTooLarge); large != tc.large || errors.Is(err, ErrCorrupt) || err != nil != large {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if memory := cap(r.plain) + 4*cap(r.block.Tokens); memory > 70<<20 {
			t.Errorf("%s: got %d bytes of memory", tc.name, memory)
		}
	}
}

func TestReaderMemoryIsThatOfABlock(t *testing.T) {
	for name, most := range map[string]int{
		"text": 1 << 20, "random": 1 << 20,
		"zeros": 6 << 20, // a block of 16,384 matches is 4 MiB
	} {
		var buf bytes.Buffer
		w, _ := stdflate.NewWriter(&buf, 6)
		for range 5 << 20 / len(samples()[name]) {
			_, _ = w.Write(samples()[name])
		}
		_ = w.Close()
		r := NewReader(&buf)
		err := error(nil)
		for err == nil {
			_, err = r.Next()
		}
		if memory := cap(r.plain) + 4*cap(r.block.Tokens); err != io.EOF || memory > most {
			t.Errorf("%s: got %d bytes of memory, want at most %d; %v", name, memory, most, err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	one := lengths(257, map[int]uint8{'a': 1, EndOfBlock: 1})
	good := plainHeader(one, []uint8{0})
	change := func(f func(h *Header)) *Block {
		h := good
		h.Lengths = slices.Clone(good.Lengths)
		f(&h)
		return dynamic(h)
	}
	for _, tc := range []struct {
		name  string
		block *Block
		want  string
	}{
		{"kind 3", &Block{Kind: 3}, "kind 3"},
		{"65,536 stored bytes", stored(strings.Repeat("a", 65536)), "65536 stored bytes"},
		{"padding of 6 bits", &Block{Kind: Stored, Padding: 0x20}, "padding 0x20"},
		{"literal 256", fixed(256), "token 0x100"},
		{"literal of a later version", fixed(1 << 20), "token 0x100000"},
		{"distance of 32,769", fixed(Match(3, 32769)), "token"},
		{"length of 259", fixed(Match(259, 1)), "token"},
		{"long match of 257 bytes", fixed(Match(257, 1) | longFlag), "token"},
		{"literal without a code", dynamic(good, 'a', 'b'), "literal 98"},
		{"length without a code", dynamic(good, 'a', Match(3, 1)), "match of 3 bytes"},
		{"long match without a code", dynamic(good, 'a', LongMatch(1)), "match of 258 bytes"},
		{
			"distance without a code",
			dynamic(plainHeader(lengths(258, map[int]uint8{'a': 1, EndOfBlock: 2, 257: 2}), []uint8{1}), 'a', 'a', Match(3, 2)),
			"2 bytes back",
		},
		{"no header", &Block{Kind: Dynamic}, "header of 0 literals"},
		{"negative counts", change(func(h *Header) { h.Distances = -1 }), "header of -1 distances"},
		{"33 distances", change(func(h *Header) { h.Distances = 33 }), "header of 33 distances"},
		{"20 codes for code lengths", change(func(h *Header) { h.Codes = 20 }), "header of 20 codes"},
		{"code length that is not told", change(func(h *Header) { h.Codes = 18 }), "symbol 15 has a code"},
		{"code for code lengths of 8 bits", change(func(h *Header) { h.CodeLengths[3] = 8 }), "of 8 bits"},
		{"code length 19", change(func(h *Header) { h.Lengths[3].Symbol = 19 }), "symbol 19 has no code"},
		{"code length symbol without a code", change(func(h *Header) { h.Lengths[3].Symbol = 18 }), "symbol 18 has no code"},
		{"extra bits of a length", change(func(h *Header) { h.Lengths[3].Extra = 1 }), "extra bits 1"},
		{"extra bits of a run", dynamic(withRuns(LengthSymbol{17, 8})), "extra bits 8"},
		{"a length too few", change(func(h *Header) { h.Lengths = h.Lengths[1:] }), "257 code lengths, want 258"},
		{"a length too many", change(func(h *Header) { h.Lengths = append(h.Lengths, h.Lengths[0]) }), "a run goes on"},
	} {
		w := NewWriter(io.Discard)
		err := w.WriteBlock(tc.block)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		if again := w.WriteBlock(fixed()); again != err {
			t.Errorf("%s: then got %v", tc.name, again)
		}
	}
}

func TestWriterRefusesTheWrongEnd(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Close(0); err == nil {
		t.Error("no final block: got no error")
	}
	w.Reset(io.Discard)
	if err := w.WriteBlock(&Block{Kind: Fixed, Final: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteBlock(fixed()); err == nil {
		t.Error("a block after the final one: got no error")
	}
	w.Reset(io.Discard)
	if err := w.WriteBlock(&Block{Kind: Fixed, Final: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(0x40); err == nil { // 10 bits were written
		t.Error("padding of 7 bits in place of 6: got no error")
	}
}

func TestWriterGoesOnInTheMidst(t *testing.T) {
	plain := text(9, 300<<10)
	var stream, again bytes.Buffer
	w, _ := stdflate.NewWriter(&stream, 6)
	_, _ = w.Write(plain)
	_ = w.Close()
	p := testRoundTrip(t, stream.Bytes(), plain)
	var bits uint8
	var n uint
	for _, b := range p.blocks {
		w := NewWriter(nil)
		w.ResetAt(&again, bits, n)
		err := w.WriteBlock(b)
		if err != nil {
			t.Fatal(err)
		}
		if bits, n, err = w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n > 0 {
		again.WriteByte(bits)
	}
	if len(p.blocks) < 3 || !bytes.Equal(again.Bytes(), stream.Bytes()) {
		t.Errorf("%d blocks, each by a Writer of its own: got other bits", len(p.blocks))
	}
}

func TestHeaderSize(t *testing.T) {
	h := withRuns(LengthSymbol{18, 97 - 11}, LengthSymbol{1, 0}, LengthSymbol{18, 127}, LengthSymbol{18, 20 - 11},
		LengthSymbol{1, 0}, LengthSymbol{1, 0})
	if got, want := h.Size(), int(new(bitString).header(h).n)-3; got != want {
		t.Errorf("got %d bits, want %d", got, want)
	}
}

func TestSymbols(t *testing.T) {
	for length := MinMatch; length <= MaxMatch; length++ {
		symbol := Match(length, 1).Symbol()
		least := int(lengthBase[symbol-257]) + MinMatch
		if extra := length - least; extra < 0 || extra>>LiteralExtraBits(symbol) != 0 || (length == 258) != (symbol == 285) {
			t.Errorf("length %d: got symbol %d", length, symbol)
		}
	}
	for distance := 1; distance <= WindowSize; distance++ {
		symbol := Match(3, distance).DistanceSymbol()
		least := int(distanceBase[symbol]) + 1
		if extra := distance - least; extra < 0 || extra>>DistanceExtraBits(symbol) != 0 {
			t.Errorf("distance %d: got symbol %d", distance, symbol)
		}
	}
	if got := LongMatch(7); got.Symbol() != 284 || got.Length() != 258 || got.Distance() != 7 || got.Size() != 258 {
		t.Errorf("long match: got %v", got)
	}
	if got := fmt.Sprint(Literal(255).Symbol(), Literal(255).Size()); got != "255 1" {
		t.Errorf("literal: got %s", got)
	}
}

// The example of RFC 1951, 3.2.2.
func TestCodes(t *testing.T) {
	var codes [8]uint16
	if err := Codes([]uint8{3, 3, 3, 3, 3, 2, 4, 4}, codes[:]); err != nil {
		t.Fatal(err)
	}
	if want := [8]uint16{0b010, 0b110, 0b001, 0b101, 0b011, 0b00, 0b0111, 0b1111}; codes != want {
		t.Errorf("got %b, want %b", codes, want)
	}
	if err := Codes([]uint8{1, 1, 1}, codes[:]); err == nil {
		t.Error("three codes of one bit: got no error")
	}
	if err := Codes([]uint8{16}, codes[:]); err == nil {
		t.Error("a code of 16 bits: got no error")
	}
}
