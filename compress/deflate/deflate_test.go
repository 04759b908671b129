package deflate

import (
	"bufio"
	"bytes"
	stdflate "compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"
)

// parsed is a whole stream.
type parsed struct {
	blocks  []*Block
	plain   []byte
	padding uint8
	size    int64
}

// parse reads the stream that src begins with.
func parse(src io.Reader) (*parsed, error) {
	r := NewReader(src)
	p := new(parsed)
	for {
		b, err := r.Next()
		if err == io.EOF {
			p.padding, p.size = r.Padding(), r.InputSize()
			return p, nil
		}
		if err != nil {
			return p, err
		}
		p.blocks = append(p.blocks, clone(b))
		if !bytes.HasSuffix(p.plain, r.Window()) || len(r.Window()) != min(len(p.plain), WindowSize) {
			return p, errors.New("the window is not what came before")
		}
		p.plain = append(p.plain, r.Plain()...)
	}
}

func clone(b *Block) *Block {
	c := *b
	c.Tokens = append([]Token(nil), b.Tokens...)
	c.Raw = append([]byte(nil), b.Raw...)
	c.Header.Lengths = append([]LengthSymbol(nil), b.Header.Lengths...)
	return &c
}

// bits returns the stream that p was read from.
func (p *parsed) bits() ([]byte, error) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, b := range p.blocks {
		if err := w.WriteBlock(b); err != nil {
			return nil, err
		}
	}
	err := w.Close(p.padding)
	return buf.Bytes(), err
}

// replay returns what the tokens of p stand for.
func (p *parsed) replay() []byte {
	var plain []byte
	for _, b := range p.blocks {
		plain = append(plain, b.Raw...)
		for _, t := range b.Tokens {
			if !t.IsMatch() {
				plain = append(plain, t.Byte())
				continue
			}
			for range t.Length() {
				plain = append(plain, plain[len(plain)-t.Distance()])
			}
		}
	}
	return plain
}

// testRoundTrip fails unless stream gives plain and itself again, however it is read.
func testRoundTrip(t *testing.T, stream, plain []byte) *parsed {
	t.Helper()
	var first *parsed
	for name, src := range map[string]io.Reader{
		"whole":          bytes.NewReader(stream),
		"with more":      io.MultiReader(bytes.NewReader(stream), strings.NewReader("more than enough for all")),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"smallest input": bufio.NewReaderSize(bytes.NewReader(stream), 16),
	} {
		p, err := parse(src)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(p.plain, plain) {
			t.Fatalf("%s: got %d plain bytes, want other %d", name, len(p.plain), len(plain))
		}
		if p.size != int64(len(stream)) {
			t.Fatalf("%s: got a stream of %d bytes, want %d", name, p.size, len(stream))
		}
		if first == nil {
			first = p
		}
		if !slices.EqualFunc(p.blocks, first.blocks, (*Block).Equal) || p.padding != first.padding {
			t.Fatalf("%s: got other blocks", name)
		}
	}
	if !bytes.Equal(first.replay(), plain) {
		t.Fatal("the tokens stand for other bytes")
	}
	again, err := first.bits()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, stream) {
		t.Fatalf("written again, the stream differs from byte %d on", difference(again, stream))
	}
	return first
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// samples returns plain bytes of several kinds.
var samples = sync.OnceValue(func() map[string][]byte {
	return map[string][]byte{
		"nothing":   nil,
		"one byte":  {'x'},
		"zeros":     make([]byte, 40<<10),
		"random":    random(1, 40<<10),
		"text":      text(2, 40<<10),
		"short":     text(3, 100),
		"all kinds": append(append(append(text(5, 40<<10), random(6, 20<<10)...), make([]byte, 20<<10)...), near(7, 40<<10)...),
	}
})

func random(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// text returns n bytes of words, of which some are frequent.
func text(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "%x ", uint64(rng.ExpFloat64()*float64(rng.IntN(1<<12))))
	}
	return b[:n]
}

// near returns n bytes that repeat what lies 1 to 300 bytes back.
func near(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	b := random(seed, 300)
	for len(b) < n {
		back, length := 1+rng.IntN(300)>>rng.IntN(8), 3+rng.IntN(400)
		for range length {
			b = append(b, b[len(b)-max(back, 1)])
		}
		b = append(b, byte(rng.Uint32()))
	}
	return b[:n]
}

func TestRoundTripOfLibraries(t *testing.T) {
	type flusher interface {
		io.WriteCloser
		Flush() error
	}
	libraries := map[string]func(w io.Writer, level int) (flusher, error){
		"compress/flate": func(w io.Writer, level int) (flusher, error) { return stdflate.NewWriter(w, level) },
		"klauspost":      func(w io.Writer, level int) (flusher, error) { return flate.NewWriter(w, level) },
	}
	for library, newWriter := range libraries {
		for level := -2; level <= 9; level++ {
			t.Run(fmt.Sprintf("%s level %d", library, level), func(t *testing.T) {
				for name, plain := range samples() {
					var buf bytes.Buffer
					w, err := newWriter(&buf, level)
					if err != nil {
						t.Fatal(err)
					}
					half := len(plain) / 2
					for _, part := range [][]byte{plain[:half], plain[half:]} {
						if _, err := w.Write(part); err != nil {
							t.Fatal(err)
						}
						if err := w.Flush(); err != nil {
							t.Fatal(err)
						}
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					t.Log(name)
					testRoundTrip(t, buf.Bytes(), plain)
				}
			})
		}
	}
}

// program returns the path of a program, and skips the test without it.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here", name)
	}
	return path
}

func TestRoundTripOfGzip(t *testing.T) {
	gzip := program(t, "gzip")
	plain := samples()["all kinds"]
	for level := 1; level <= 9; level++ {
		cmd := exec.CommandContext(t.Context(), gzip, "-cn", fmt.Sprintf("-%d", level))
		cmd.Stdin = bytes.NewReader(plain)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		testRoundTrip(t, out[10:len(out)-8], plain)
	}
}

func TestRoundTripOfZlib(t *testing.T) {
	python := program(t, "python3")
	// Streams with their length before them; for each level, and then with other amounts of memory and strategies:
	// filtered, Huffman only, run lengths, fixed.
	const script = `
import sys, zlib
plain = sys.stdin.buffer.read()
half = len(plain) // 2
for level, memory, strategy in [(n, 8, 0) for n in range(10)] + [(6, 1, 0), (6, 9, 0)] + [(6, 8, n) for n in range(1, 5)]:
    c = zlib.compressobj(level, zlib.DEFLATED, -15, memory, strategy)
    out = c.compress(plain[:half]) + c.flush(zlib.Z_FULL_FLUSH if level % 2 else zlib.Z_SYNC_FLUSH)
    out += c.compress(plain[half:]) + c.flush()
    sys.stdout.buffer.write(len(out).to_bytes(4, "little") + out)
`
	plain := samples()["all kinds"]
	cmd := exec.CommandContext(t.Context(), python, "-c", script)
	cmd.Stdin = bytes.NewReader(plain)
	out, err := cmd.Output()
	if err != nil {
		t.Skip("python3 does not run: ", err)
	}
	streams := 0
	for ; len(out) > 0; streams++ {
		n := 4 + binary.LittleEndian.Uint32(out)
		testRoundTrip(t, out[4:n], plain)
		out = out[n:]
	}
	if streams != 16 {
		t.Errorf("got %d streams", streams)
	}
}
