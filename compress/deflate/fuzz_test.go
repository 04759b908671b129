package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"io"
	"testing"
)

// FuzzRoundTrip holds the Reader to compress/flate, and the Writer to the Reader. Both take the same streams, but for those
// of 31 or 32 distances and of large blocks.
func FuzzRoundTrip(f *testing.F) {
	for _, stream := range seeds(f) {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 1<<15 {
			return // 33 MB of plain bytes at most
		}
		p, err := parse(bytes.NewReader(stream))
		rest := bytes.NewReader(stream)
		plain, refused := io.ReadAll(stdflate.NewReader(rest))
		switch {
		case errors.Is(err, ErrBlockTooLarge):
			return
		case err != nil && refused == nil:
			t.Fatalf("%v, but compress/flate takes it", err)
		case err != nil:
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		case refused != nil && !p.manyDistances():
			t.Fatalf("compress/flate: %v", refused)
		case refused == nil && (!bytes.Equal(p.plain, plain) || int(p.size) != len(stream)-rest.Len()):
			t.Fatalf("got %d plain bytes of %d, want %d of %d", len(p.plain), p.size, len(plain), len(stream)-rest.Len())
		}
		if !bytes.Equal(p.plain, p.replay()) {
			t.Fatal("the tokens stand for other bytes")
		}
		again, err := p.bits()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, stream[:p.size]) {
			t.Fatalf("got other bits from byte %d on", difference(again, stream))
		}
	})
}

// manyDistances reports whether a block tells more distances than compress/flate takes.
func (p *parsed) manyDistances() bool {
	for _, b := range p.blocks {
		if b.Kind == Dynamic && b.Header.Distances > DistanceCodes {
			return true
		}
	}
	return false
}

// seeds returns small streams of all kinds, valid and not.
func seeds(t testing.TB) [][]byte {
	all := [][]byte{{}, {3, 0}, {7}, {1, 0, 0, 0xff, 0xff}}
	stream, _ := threeKinds(t)
	all = append(all, stream, stream[:len(stream)/2])
	one := lengths(257, map[int]uint8{'a': 1, EndOfBlock: 1})
	match := lengths(286, map[int]uint8{'a': 1, EndOfBlock: 2, 257: 3, 284: 4, 285: 4})
	for _, h := range []Header{
		plainHeader(one, []uint8{0}), plainHeader(one, make([]uint8, 32)), plainHeader(one, []uint8{2}),
		plainHeader(match, []uint8{1}), plainHeader(match, []uint8{1, 1}), plainHeader(lengths(257, map[int]uint8{256: 1}), []uint8{0}),
		withRuns(LengthSymbol{18, 97 - 11}, LengthSymbol{1, 0}, LengthSymbol{18, 127}, LengthSymbol{18, 20 - 11},
			LengthSymbol{1, 0}, LengthSymbol{1, 0}),
	} {
		all = append(all, new(bitString).header(h).put(0x2b9f0f5a, 64).put(0x1249a0, 64).bytes)
	}
	for _, plain := range [][]byte{text(1, 300), near(2, 3000), make([]byte, 2000)} {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			var buf bytes.Buffer
			w, err := stdflate.NewWriter(&buf, level)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(plain)
			_ = w.Flush()
			_, _ = w.Write(plain[:100])
			_ = w.Close()
			all = append(all, buf.Bytes())
		}
	}
	return all
}

// FuzzWriterNeverPanics makes blocks of any bytes. What is written is read again.
func FuzzWriterNeverPanics(f *testing.F) {
	f.Add(uint8(2), uint16(257), uint8(1), uint8(18), []byte{0, 2, 1, 2}, []byte{18, 86, 1, 0, 18, 127}, []byte("aa"))
	f.Add(uint8(1), uint16(0), uint8(0), uint8(0), []byte{}, []byte{}, []byte{'a', 0, 0, 0, 0, 0, 0xff, 0x80})
	f.Add(uint8(0), uint16(0), uint8(0), uint8(0), []byte{}, []byte{}, []byte("stored"))
	f.Fuzz(func(t *testing.T, kind uint8, literals uint16, distances, codes uint8, codeLengths, runs, data []byte) {
		b := &Block{Kind: Kind(kind), Final: true, Raw: data, Padding: distances}
		b.Header = Header{Literals: int(literals), Distances: int(distances), Codes: int(codes)}
		copy(b.Header.CodeLengths[:], codeLengths)
		for ; len(runs) > 1; runs = runs[2:] {
			b.Header.Lengths = append(b.Header.Lengths, LengthSymbol{runs[0], runs[1]})
		}
		for ; len(data) > 3; data = data[4:] {
			b.Tokens = append(b.Tokens, Token(data[0])|Token(data[1])<<8|Token(data[2])<<16|Token(data[3])<<24)
		}
		p := parsed{blocks: []*Block{b}}
		stream, err := p.bits()
		if err != nil {
			return
		}
		again, err := parse(bytes.NewReader(stream))
		if err == nil && !again.blocks[0].Equal(b) {
			t.Errorf("got %v, want %v", again.blocks[0], b)
		}
		// The Writer does not look at what matches point to.
		var se *StreamError
		if err != nil && (!errors.As(err, &se) || se.Reason != wrong[endTooFar]) {
			t.Error(err)
		}
	})
}
