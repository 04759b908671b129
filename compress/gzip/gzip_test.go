package gzip

import (
	"bytes"
	stdgzip "compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// text returns size bytes that shrink like those of a layer: words that come again, some numbers, a few zeros. Equal seeds
// give equal bytes.
func text(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 2000)
	for i := range words {
		w := make([]byte, 2+r.IntN(9))
		for j := range w {
			w[j] = byte('a' + r.IntN(20))
		}
		words[i] = w
	}
	b := make([]byte, 0, size+600)
	for len(b) < size {
		switch n := r.IntN(100); {
		case n < 90:
			b = append(b, words[r.IntN(1+r.IntN(len(words)))]...)
		case n < 98:
			b = binary.LittleEndian.AppendUint32(b, r.Uint32())
		default:
			b = append(b, make([]byte, r.IntN(500))...)
		}
	}
	return b[:size]
}

// member returns a member of the encoder of e, with flushes after so many plain bytes, under a header.
func member(t testing.TB, e Engine, header []byte, plain []byte, flushes ...int) []byte {
	t.Helper()
	c, err := newCoder(e)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(slices.Clone(header))
	w := deflate.NewWriter(b)
	c.begin(0, nil, w.WriteBlock)
	last := 0
	for _, at := range flushes {
		err = errors.Join(err, c.Write(plain[last:at]), c.Flush())
		last = at
	}
	err = errors.Join(err, c.Write(plain[last:]), c.Close(), w.Close(0))
	if err != nil {
		t.Fatal(err)
	}
	return appendSum(b.Bytes(), plain)
}

// goGzip returns what the standard library makes of plain. Up to Go 1.26 that is the engine Golang.
func goGzip(t testing.TB, plain []byte, level int, flushes ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, at := range flushes {
		_, writeErr := w.Write(plain[last:at])
		err = errors.Join(err, writeErr, w.Flush())
		last = at
	}
	_, writeErr := w.Write(plain[last:])
	if err := errors.Join(err, writeErr, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// roundTrip finds the recipe of blob and re-creates it.
func roundTrip(t testing.TB, blob []byte, parallel int) (*Recipe, []byte) {
	t.Helper()
	var plain bytes.Buffer
	r, err := Find(t.Context(), bytes.NewReader(blob), &plain, FindOptions{Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	checkRecipe(t, r, blob, plain.Bytes(), parallel)
	return r, plain.Bytes()
}

// checkRecipe checks that r, encoded and decoded again, gives blob.
func checkRecipe(t testing.TB, r *Recipe, blob, plain []byte, parallel int) {
	t.Helper()
	encoded := r.Encode()
	again, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Encode(), encoded) {
		t.Error("a recipe that was encoded and decoded is another one")
	}
	if r.Digest != sha256.Sum256(blob) || r.PlainDigest != sha256.Sum256(plain) || r.PlainSize != int64(len(plain)) {
		t.Error("the recipe has other digests or sizes than the blob")
	}
	got := bytes.NewBuffer(make([]byte, 0, len(blob)))
	if err := Recreate(t.Context(), again, bytes.NewReader(plain), got, RecreateOptions{Parallel: parallel}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), blob) {
		t.Error("another blob was re-created")
	}
	if got, err := io.ReadAll(NewPlainReader(bytes.NewReader(blob), r.PlainSize)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("the plain reader gives %d bytes, want %d: %v", len(got), len(plain), err)
	}
}

func gunzip(t testing.TB, blob []byte) []byte {
	t.Helper()
	r, err := stdgzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestGoLevels(t *testing.T) {
	if strings.Contains(runtime.Version(), "go1.27") {
		t.Skip("Go 1.27 has another encoder")
	}
	plain := text(1<<20, 1)
	for level := -2; level <= 9; level++ {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			t.Parallel()
			blob := goGzip(t, plain, level)
			r, got := roundTrip(t, blob, 2)
			if !bytes.Equal(got, plain) {
				t.Error("the plain bytes differ")
			}
			want := level
			if level == -1 {
				want = 6
			}
			if e := r.Engines[0]; len(r.Engines) != 1 || e.ID != Golang || e.Level != want {
				t.Errorf("got the engine %v, want Go level %d", e, want)
			}
			if n := len(r.Encode()); n > 200 {
				t.Errorf("the recipe has %d bytes, want at most 200", n)
			}
		})
	}
}

func TestCheckpoints(t *testing.T) {
	plain := text(13<<20, 2)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	for _, parallel := range []int{1, 4} {
		r, _ := roundTrip(t, member(t, Engine{ID: Golang, Level: 4}, header, plain), parallel)
		if n := len(r.Members[0].Checkpoints); n < 2 {
			t.Errorf("%d checkpoints in 13 MiB, want one each 4 MiB or soon after", n)
		}
	}
	flushed, _ := roundTrip(t, member(t, Engine{ID: Golang, Level: 4}, header, plain, 5<<20), 2)
	if n := len(flushed.Members[0].Checkpoints); n > 1 {
		t.Errorf("%d checkpoints, want none behind a flush", n)
	}
}

func TestChunks(t *testing.T) {
	plain := text(9<<20, 9)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0x09, 0x6e, 0x88, 0, 0xff}
	timeless := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	for i, e := range []Engine{
		{ID: Pgzip, Level: 5, Variant: 1, Chunk: 1 << 20},
		{ID: Pgzip, Level: 6, Variant: 4, Chunk: 1 << 20},
		{ID: Pgzip, Level: 5, Variant: 4, Chunk: 256 << 10},
		{ID: Pgzip, Level: 3, Variant: 4, Chunk: 512 << 10},
		{ID: Pigz, Level: 4, Chunk: 128 << 10},
		{ID: PigzI, Level: 4, Chunk: 256 << 10},
	} {
		t.Run(e.String(), func(t *testing.T) {
			r, _ := roundTrip(t, member(t, e, [][]byte{header, timeless}[i%2], plain), 3)
			if got := r.Engines[0]; got.ID != e.ID || got.Level != e.Level || got.Chunk != e.Chunk || len(r.Members[0].Flushes) > 0 || len(r.Members[0].Checkpoints) == 0 {
				t.Errorf("got %v with %d flushes and %d checkpoints, want %v with checkpoints",
					r.Engines[0], len(r.Members[0].Flushes), len(r.Members[0].Checkpoints), e)
			}
		})
	}
}

// Some chunks of pigz end with a byte, so that no flush follows them.
func TestChunksWithoutAFlush(t *testing.T) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, unixSystem}
	e := Engine{ID: Pigz, Level: 1, Chunk: 96 << 10}
	for _, seed := range []uint64{16, 17, 24} {
		blob := member(t, e, header, text(3*e.Chunk, seed))
		if at := flushAt(t, blob[len(header):]); at != 2*e.Chunk {
			t.Fatalf("seed %d: the first flush is at %d, want it behind the second chunk", seed, at)
		}
		if r, _ := roundTrip(t, blob, 1); r.Engines[0] != e {
			t.Errorf("seed %d: got %v, want %v", seed, r.Engines[0], e)
		}
	}
}

// flushAt returns how many plain bytes precede the first empty block of a stream.
func flushAt(t *testing.T, stream []byte) (n int) {
	t.Helper()
	r := deflate.NewReader(bytes.NewReader(stream))
	for {
		b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Plain()) == 0 || b.Final {
			return n
		}
		n += len(r.Plain())
	}
}

func TestManyMembers(t *testing.T) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff}
	footer := append([]byte{0x1f, 0x8b, 8, flagExtra, 0, 0, 0, 0, 0, 0xff, 26, 0}, []byte("SG\x16\x000000000000000123STARGZ")...)
	var blob []byte
	const members = 300
	for i := range members {
		plain := text(rand.New(rand.NewPCG(uint64(i), 7)).IntN(20_000), uint64(i))
		blob = append(blob, member(t, Engine{ID: Golang, Level: 9}, header, plain, len(plain))...)
	}
	blob = append(blob, member(t, Engine{ID: Golang, Level: 0}, footer, nil)...)
	r, plain := roundTrip(t, blob, 2)
	if !bytes.Equal(plain, gunzip(t, blob)) {
		t.Error("the plain bytes differ")
	}
	if n := len(r.Encode()); n > 200+16*2*members {
		t.Errorf("%d bytes of recipe for %d members with a flush", n, members)
	}
	if len(r.Engines) > 2 || r.Engines[0].Level != 9 {
		t.Errorf("got engines %v, want Go level 9", r.Engines)
	}
}

func TestTraps(t *testing.T) {
	plain := text(70_000, 3)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	six := Engine{ID: Golang, Level: 6}
	whole := member(t, six, header, plain)
	named := append([]byte{0x1f, 0x8b, 8, flagExtra | flagName | flagComment | flagHeaderCRC, 1, 2, 3, 4, 2, 3, 4, 0}, []byte("aXbXname\x00comment\x00\x12\x34")...)
	tests := map[string][]byte{
		"an empty member":              member(t, six, header, nil),
		"all fields of a header":       member(t, six, named, plain),
		"a long name":                  member(t, six, append([]byte{0x1f, 0x8b, 8, flagName, 0, 0, 0, 0, 0, 3}, append(bytes.Repeat([]byte("n"), 70_000), 0)...), plain),
		"zeros behind it":              append(slices.Clone(whole), make([]byte, 100_000)...),
		"data behind it":               append(slices.Clone(whole), "\x00\x00and more\x00"...),
		"half a header behind it":      append(slices.Clone(whole), 0x1f, 0x8b, 8, 0),
		"flushes":                      member(t, six, header, plain, 0, 0, 10, 10, 50_000, 70_000, 70_000),
		"two encoders":                 append(slices.Clone(whole), member(t, Engine{ID: Golang, Level: 1}, header, plain)...),
		"a member without a known one": append(append(slices.Clone(whole), oddMember(t, header, "hand-made")...), whole...),
		"zeros":                        member(t, six, header, make([]byte, 9<<20)),
		"zeros in one block":           member(t, Engine{ID: Klaus, Level: 5, Variant: 4}, header, make([]byte, 30<<20)),
		"noise":                        member(t, six, header, noise(1<<20)),
		"fast noise":                   member(t, Engine{ID: Golang, Level: 1}, header, noise(1<<20)),
	}
	for name, blob := range tests {
		t.Run(name, func(t *testing.T) {
			for _, parallel := range []int{1, 3} {
				r, _ := roundTrip(t, blob, parallel)
				if n, limit := len(r.Encode()), 200+16*(len(r.Members)+9); n > limit && name != "a long name" {
					t.Errorf("the recipe has %d bytes, want at most %d", n, limit)
				}
			}
		})
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

// oddMember returns a member of which every byte is in a block of its own, with padding.
func oddMember(t testing.TB, header []byte, plain string) []byte {
	t.Helper()
	b := bytes.NewBuffer(slices.Clone(header))
	w := deflate.NewWriter(b)
	for i := range plain {
		block := deflate.Block{Kind: deflate.Fixed, Final: i == len(plain)-1, Tokens: []deflate.Token{deflate.Literal(plain[i])}}
		if err := w.WriteBlock(&block); err != nil {
			t.Fatal(err)
		}
	}
	_, n, err := w.Flush()
	padding := uint8(0)
	if n > 0 {
		padding = 1
	}
	if err := errors.Join(err, w.Close(padding)); err != nil {
		t.Fatal(err)
	}
	return appendSum(b.Bytes(), []byte(plain))
}

func TestPadding(t *testing.T) {
	plain := text(1000, 4)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	// The last block of Go is stored, so that it has padding before its length only, and none behind.
	blob := oddMember(t, header, string(plain[:300]))
	r, _ := roundTrip(t, blob, 1)
	if r.Engines[0].ID != Verbatim {
		t.Errorf("got %v, want the stream itself", r.Engines[0])
	}
}

func TestNoRecipe(t *testing.T) {
	plain := text(400_000, 5)
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	whole := member(t, Engine{ID: Golang, Level: 6}, header, plain)
	changed := func(at int, to byte) []byte {
		b := slices.Clone(whole)
		b[at] = to
		return b
	}
	large := func(b []byte) []byte { return append(b, bytes.Repeat([]byte("x"), 40_000)...) }
	tests := map[string]struct {
		blob []byte
		opts FindOptions
		want Reason
	}{
		"nothing":                 {nil, FindOptions{}, NotGzip},
		"zstd":                    {[]byte("\x28\xb5\x2f\xfd and so on"), FindOptions{}, NotGzip},
		"a tar":                   {make([]byte, 10240), FindOptions{}, NotGzip},
		"a reserved flag":         {changed(3, 0x80), FindOptions{}, NotGzip},
		"a wrong checksum":        {changed(len(whole)-8, whole[len(whole)-8]^1), FindOptions{}, Corrupt},
		"a wrong size":            {changed(len(whole)-1, 1), FindOptions{}, Corrupt},
		"cut in the stream":       {whole[:len(whole)/2], FindOptions{}, Corrupt},
		"cut in the trailer":      {whole[:len(whole)-3], FindOptions{}, Corrupt},
		"much data behind":        {large(slices.Clone(whole)), FindOptions{}, TooManyParts},
		"too many plain bytes":    {whole, FindOptions{MaxPlain: 300_000}, TooLarge},
		"another ratio":           {zeros(t, header, 70<<20), FindOptions{MaxRatio: 100}, TooLarge},
		"a greedy stream":         {greedyMember(t, header, plain), FindOptions{}, NoEngine},
		"it differs at the end":   {spliced(t, header), FindOptions{}, Differs},
		"a second one is unknown": {append(slices.Clone(whole), greedyMember(t, header, plain)...), FindOptions{}, NoEngine},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Find(t.Context(), bytes.NewReader(test.blob), io.Discard, test.opts)
			var no *NoRecipeError
			if !errors.Is(err, ErrNoRecipe) || !errors.As(err, &no) || no.Reason != test.want {
				t.Errorf("got %v, want the reason %q", err, test.want)
			}
		})
	}
}

// zeros returns members of Go level 1, of so many zeros in all.
func zeros(t testing.TB, header []byte, size int) []byte {
	t.Helper()
	const each = 1 << 20
	return bytes.Repeat(member(t, Engine{ID: Golang, Level: 1}, header, make([]byte, each)), size/each)
}

// greedyMember returns a member with a match wherever a hash of three bytes finds one within 1,000 bytes, in blocks of 777
// tokens: as no known encoder does it.
func greedyMember(t testing.TB, header, plain []byte) []byte {
	t.Helper()
	b := bytes.NewBuffer(slices.Clone(header))
	w := deflate.NewWriter(b)
	last := make(map[[3]byte]int)
	var tokens []deflate.Token
	for i := 0; i < len(plain); {
		token := deflate.Literal(plain[i])
		if i+3 <= len(plain) {
			key := [3]byte(plain[i:])
			if at, ok := last[key]; ok && i-at < 1000 {
				token = deflate.Match(3, i-at)
			}
			last[key] = i
		}
		tokens = append(tokens, token)
		i += token.Size()
		if final := i >= len(plain); final || len(tokens) == 777 {
			if err := w.WriteBlock(&deflate.Block{Kind: deflate.Fixed, Final: final, Tokens: tokens}); err != nil {
				t.Fatal(err)
			}
			tokens = tokens[:0]
		}
	}
	if err := w.Close(0); err != nil {
		t.Fatal(err)
	}
	return appendSum(b.Bytes(), plain)
}

// spliced returns a member that Go made, but for its last literal, which stands where a match was.
func spliced(t testing.TB, header []byte) []byte {
	t.Helper()
	plain := text(6<<20, 6)
	c, err := newCoder(Engine{ID: Golang, Level: 6})
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(slices.Clone(header))
	w := deflate.NewWriter(b)
	size := 0
	c.begin(0, nil, func(block *deflate.Block) error {
		for i, token := range block.Tokens {
			if size += token.Size(); size > 5<<20 && token.IsMatch() && token.Length() == 5 && i > 100 {
				literals := make([]deflate.Token, 5)
				for j := range literals {
					literals[j] = deflate.Literal(plain[size-5+j])
				}
				other := *block
				other.Kind = deflate.Fixed
				other.Tokens = slices.Concat(block.Tokens[:i], literals, block.Tokens[i+1:])
				size = -1 << 40
				return w.WriteBlock(&other)
			}
		}
		size += len(block.Raw)
		return w.WriteBlock(block)
	})
	if err := errors.Join(c.Write(plain), c.Close(), w.Close(0)); err != nil {
		t.Fatal(err)
	}
	return appendSum(b.Bytes(), plain)
}

func TestPrograms(t *testing.T) {
	plain := text(2<<20, 8)
	for _, command := range []string{"gzip -1", "gzip -6", "gzip -9n", "busybox gzip", "pigz -p 2", "pigz -9", "pigz -i"} {
		t.Run(command, func(t *testing.T) {
			args := strings.Fields(command)
			cmd := exec.CommandContext(t.Context(), args[0], append(args[1:], "-c")...)
			cmd.Stdin = bytes.NewReader(plain)
			blob, err := cmd.Output()
			if err != nil {
				t.Skip(err)
			}
			checkAny(t, blob, plain)
		})
	}
}

// checkAny checks that a blob has a recipe that gives it again, or none.
func checkAny(t *testing.T, blob, plain []byte) {
	t.Helper()
	var got bytes.Buffer
	r, err := Find(t.Context(), bytes.NewReader(blob), &got, FindOptions{Parallel: 2})
	if errors.Is(err, ErrNoRecipe) {
		t.Log(err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if plain != nil && !bytes.Equal(got.Bytes(), plain) {
		t.Error("the plain bytes differ")
	}
	t.Logf("%v, %d members, recipe of %d bytes", r.Engines, len(r.Members), len(r.Encode()))
	checkRecipe(t, r, blob, got.Bytes(), 2)
}

// TestLayers tries the blobs whose paths the environment has in FERRY_LAYERS, one a line.
func TestLayers(t *testing.T) {
	for _, path := range strings.Fields(os.Getenv("FERRY_LAYERS")) {
		t.Run(path, func(t *testing.T) {
			blob, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			checkAny(t, blob, nil)
		})
	}
}

// appendSum appends the trailer of plain.
func appendSum(b, plain []byte) []byte {
	return appendTrailer(b, crc32.ChecksumIEEE(plain), int64(len(plain)))
}
