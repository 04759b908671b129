package zlib

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// encode returns the stream that v makes of plain, which it gets in pieces of at most piece bytes, with a flush after each
// place of flushes.
func encode(t testing.TB, v Variant, level int, plain []byte, piece int, flushes ...int) []byte {
	t.Helper()
	var s stream
	s.init(t, v, level)
	at := 0
	for _, stop := range flushes {
		s.write(t, plain[at:stop], piece)
		s.check(t, s.encoder.Flush())
		at = stop
	}
	s.write(t, plain[at:], piece)
	return s.close(t)
}

// encodeAfter returns the stream that v makes of plain behind dict.
func encodeAfter(t testing.TB, v Variant, level int, dict, plain []byte) []byte {
	t.Helper()
	var s stream
	s.init(t, v, level)
	s.encoder.Reset(dict)
	s.write(t, plain, len(plain))
	return s.close(t)
}

// stream is an encoder and the bits of its blocks.
type stream struct {
	encoder deflate.Encoder
	w       *deflate.Writer
	out     bytes.Buffer
}

func (s *stream) init(t testing.TB, v Variant, level int) {
	t.Helper()
	s.w = deflate.NewWriter(&s.out)
	var err error
	s.encoder, err = New(v, level, s.w.WriteBlock)
	s.check(t, err)
}

func (s *stream) write(t testing.TB, plain []byte, piece int) {
	t.Helper()
	for len(plain) > 0 {
		n := min(piece, len(plain))
		s.check(t, s.encoder.Write(plain[:n]))
		plain = plain[n:]
	}
}

func (s *stream) close(t testing.TB) []byte {
	t.Helper()
	s.check(t, s.encoder.Close())
	s.check(t, s.w.Close(0))
	return s.out.Bytes()
}

func (s *stream) check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// decode returns what a stream stands for behind dict.
func decode(t testing.TB, bits, dict []byte) []byte {
	t.Helper()
	r := flate.NewReaderDict(bytes.NewReader(bits), dict)
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// body returns the deflate stream of a gzip file without optional fields.
func body(t testing.TB, gz []byte) []byte {
	t.Helper()
	if len(gz) < 18 || gz[3] != 0 {
		t.Fatalf("gzip header % x", gz[:min(len(gz), 10)])
	}
	return gz[10 : len(gz)-8]
}

var (
	words = []string{
		"layer", "manifest", "blob", "the", "of", "digest", "registry", "sha256", "a", "config", "index", "platform",
		"architecture", "os", "x", "reference", "tag", "mirror",
	}
	kinds = []string{"zeros", "random", "text", "tar", "few"}
)

// sample returns size bytes of a kind, always the same ones.
func sample(kind string, size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(size), 7))
	word := func() string { return words[rng.IntN(len(words))] }
	b := make([]byte, 0, size+1000)
	for len(b) < size {
		switch kind {
		case "zeros":
			b = append(b, 0)
		case "random":
			b = append(b, byte(rng.Uint32()))
		case "text":
			b = fmt.Appendf(b, "%s %d ", word(), rng.IntN(30))
		case "few": // short matches everywhere
			b = append(b, "abc"[rng.IntN(3)])
		case "tar": // names, gaps, what does not shrink, and what was there before
			b = append(b, make([]byte, rng.IntN(300))...)
			b = fmt.Appendf(b, "usr/lib/%s/%s.so\x000000755\x00", word(), word())
			for range rng.IntN(200) {
				b = append(b, byte(rng.Uint32()))
			}
			at := rng.IntN(len(b))
			b = append(b, b[at:min(at+rng.IntN(500), len(b))]...)
		}
	}
	return b[:size]
}

// variants are all programs, and the sizes that are known of layers.
var variants = []struct {
	name string
	v    Variant
}{
	{"zlib", DefaultZlib},
	{"zlib, memory level 9", LargeZlib},
	{"GNU gzip", GNUGzip},
	{"small busybox", SmallBusyBox},
	{"medium busybox", MediumBusyBox},
	{"large busybox", LargeBusyBox},
	{"pigz", DefaultPigz},
	{"pigz -i", SeparatingPigz},
}

// everything has all kinds of bytes, with ends of input inside of any window.
func everything() []byte {
	var all []byte
	for i, kind := range []string{"tar", "text", "random", "few", "tar", "zeros", "text", "tar"} {
		all = append(all, sample(kind, 40_000+i*1000)...)
	}
	return all
}

// TestStreamsStayTheSame holds the hashes of streams, for ever: layers are recreated from them.
func TestStreamsStayTheSame(t *testing.T) {
	plain := everything()
	if got, want := digest(plain), "880441c52d11aec4"; got != want {
		t.Fatalf("the input is %s, want %s", got, want)
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			for level := 1; level <= 9; level++ {
				bits := encode(t, v.v, level, plain, len(plain))
				if !bytes.Equal(decode(t, bits, nil), plain) {
					t.Errorf("level %d: the stream stands for other bytes", level)
				}
				if got, want := digest(bits), golden[v.name][level-1]; got != want {
					t.Errorf("level %d: stream %s, want %s", level, got, want)
				}
			}
		})
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func TestPiecesDoNotMatter(t *testing.T) {
	plain := everything()[:140_000]
	for _, v := range variants {
		for _, level := range []int{1, 6} {
			want := encode(t, v.v, level, plain, len(plain))
			for _, piece := range []int{1, 261, 32768, 65535} {
				if !bytes.Equal(encode(t, v.v, level, plain, piece), want) {
					t.Errorf("%s, level %d: another stream in pieces of %d bytes", v.name, level, piece)
				}
			}
		}
	}
}

// TestResetForgets uses an encoder twice.
func TestResetForgets(t *testing.T) {
	for _, v := range variants {
		var s stream
		s.init(t, v.v, 6)
		s.write(t, sample("tar", 150_000), 1<<20)
		s.encoder.Reset(nil)
		s.out.Reset()
		s.w.Reset(&s.out)
		plain := sample("text", 70_000)
		s.write(t, plain, 1<<20)
		if !bytes.Equal(s.close(t), encode(t, v.v, 6, plain, 1<<20)) {
			t.Errorf("%s: another stream after Reset", v.name)
		}
	}
}

// TestResumes begins at every block that comes after a match, and compares the blocks that follow.
func TestResumes(t *testing.T) {
	plain := slices.Concat(everything(), sample("few", 200_000), sample("tar", 500_000), sample("text", 300_000))
	for _, v := range variants {
		if v.v.Program == Pigz {
			continue
		}
		for _, level := range []int{4, 6} {
			t.Run(fmt.Sprintf("%s, level %d", v.name, level), func(t *testing.T) { testResumes(t, v.v, level, plain) })
		}
	}
}

func testResumes(t *testing.T, v Variant, level int, plain []byte) {
	whole, ends := blocksOf(t, v, level, plain, 0)
	tried := 0
	for i, end := range ends[:len(ends)-1] {
		tokens := whole[i].Tokens
		if len(tokens) == 0 || !tokens[len(tokens)-1].IsMatch() {
			continue
		}
		tried++
		rest, _ := blocksOf(t, v, level, plain, end)
		same := func(a, b *deflate.Block) bool { return a.Equal(b) }
		if !slices.EqualFunc(rest, whole[i+1:], same) {
			t.Errorf("other blocks from byte %d on", end)
		}
	}
	if tried == 0 {
		t.Error("no block ends with a match")
	}
}

// blocksOf returns the blocks from position on, and where each ends.
func blocksOf(t *testing.T, v Variant, level int, plain []byte, position int) (all []*deflate.Block, ends []int) {
	t.Helper()
	at := position
	e, err := New(v, level, func(b *deflate.Block) error {
		c := *b
		c.Tokens, c.Raw = slices.Clone(b.Tokens), slices.Clone(b.Raw)
		c.Header.Lengths = slices.Clone(b.Header.Lengths)
		all = append(all, &c)
		at += len(c.Raw)
		for _, token := range c.Tokens {
			at += token.Size()
		}
		ends = append(ends, at)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if position > 0 {
		e.(Resumer).ResetAt(int64(position), plain[:position])
	}
	for _, err := range []error{e.Write(plain[position:]), e.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return all, ends
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		v     Variant
		level int
	}{
		"level 0":                 {DefaultZlib, 0},
		"level 10":                {DefaultZlib, 10},
		"memory level 0":          {Variant{Program: Zlib}, 6},
		"memory level 10":         {Variant{Program: Zlib, Memory: 10}, 6},
		"busybox of no size":      {Variant{Program: BusyBox, Memory: 3}, 6},
		"chunks below the window": {Variant{Program: Pigz, Chunk: 1000}, 6},
		"no program":              {Variant{Program: 9}, 6},
	} {
		if _, err := New(c.v, c.level, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNoFlush(t *testing.T) {
	for _, v := range []Variant{GNUGzip, SmallBusyBox} {
		var s stream
		s.init(t, v, 6)
		if s.encoder.Flush() == nil {
			t.Errorf("%+v flushes", v)
		}
	}
}

// TestEndOfInput has three places for the last match, which are all as good up to the end. What a program sees behind it
// decides: zlib takes the nearest; busybox the one that goes on as the bytes did that lay in the buffer there, 32 KiB
// before; GNU gzip writes two zeros over these.
func TestEndOfInput(t *testing.T) {
	const end, left, zeros, nearest = 80_000, 55_000, 56_000, 57_000
	plain := sample("random", end)
	for i := range plain {
		plain[i] &= 0x3f // that no block is stored
	}
	last := plain[end-20:]
	copy(plain[left:], last)
	copy(plain[left+len(last):], plain[end-windowSize:][:10])
	copy(plain[zeros:], last)
	copy(plain[zeros+len(last):], make([]byte, 3))
	copy(plain[nearest:], last)
	for _, tc := range []struct {
		name  string
		v     Variant
		place int
	}{
		{"zlib", LargeZlib, nearest},
		{"GNU gzip", GNUGzip, zeros},
		{"small busybox", SmallBusyBox, left},
		{"large busybox", LargeBusyBox, left},
	} {
		blocks, _ := blocksOf(t, tc.v, 6, plain, 0)
		tokens := blocks[len(blocks)-1].Tokens
		if got, want := tokens[len(tokens)-1], deflate.Match(len(last), end-len(last)-tc.place); got != want {
			t.Errorf("%s: a match of %d bytes, %d back; want %d", tc.name, got.Length(), got.Distance(), want.Distance())
		}
	}
}
