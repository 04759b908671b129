package klauspost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/klauspost/compress/flate"
)

// encoded is an encoder and the stream of its blocks.
type encoded struct {
	deflate.Encoder
	buf bytes.Buffer
	w   *deflate.Writer
}

// newEncoded returns the encoder of New, or of NewChunked where chunk is not 0.
func newEncoded(t testing.TB, generation Generation, level, chunk int) *encoded {
	t.Helper()
	e := new(encoded)
	e.w = deflate.NewWriter(&e.buf)
	var err error
	if chunk == 0 {
		e.Encoder, err = New(generation, level, e.w.WriteBlock)
	} else {
		e.Encoder, err = NewChunked(generation, level, chunk, e.w.WriteBlock)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// encode returns the stream of parts, with a flush between two of them. They are written in pieces of many sizes.
func (e *encoded) encode(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	return e.encodeAfter(t, nil, parts...)
}

func (e *encoded) encodeAfter(t testing.TB, dict []byte, parts ...[]byte) []byte {
	t.Helper()
	e.buf.Reset()
	e.w.Reset(&e.buf)
	e.Reset(dict)
	size := 1
	for i, p := range parts {
		if i > 0 {
			check(t, e.Flush())
		}
		for len(p) > 0 {
			n := min(len(p), size)
			check(t, e.Write(p[:n]))
			p = p[n:]
			size = size*3%200003 + 1
		}
	}
	check(t, e.Close())
	check(t, e.w.Close(0))
	return bytes.Clone(e.buf.Bytes())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// firstDifference tells in which block and token two streams differ.
func firstDifference(got, want []byte) string {
	g, w := deflate.NewReader(bytes.NewReader(got)), deflate.NewReader(bytes.NewReader(want))
	for i, at := 0, 0; ; i++ {
		a, err := g.Next()
		b, err2 := w.Next()
		if err != nil || err2 != nil {
			return fmt.Sprintf("block %d: %v, want %v", i, err, err2)
		}
		if !a.Equal(b) {
			s := fmt.Sprintf("block %d at %d: kind %d, %d tokens, want kind %d, %d tokens",
				i, at, a.Kind, len(a.Tokens), b.Kind, len(b.Tokens))
			for j := range min(len(a.Tokens), len(b.Tokens)) {
				if x, y := a.Tokens[j], b.Tokens[j]; x != y {
					return s + fmt.Sprintf("; token %d at %d: %#x, want %#x", j, at, x, y)
				}
				at += a.Tokens[j].Size()
			}
			return s
		}
		at += len(g.Plain())
	}
}

// linked returns what the linked version of the original makes of parts.
func linked(t testing.TB, level int, dict []byte, parts ...[]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriterDict(&buf, level, dict)
	check(t, err)
	for i, p := range parts {
		if i > 0 {
			check(t, w.Flush())
		}
		_, err := w.Write(p)
		check(t, err)
	}
	check(t, w.Close())
	return buf.Bytes()
}

var inputs = []struct {
	name  string
	plain []byte
}{
	{"empty", nil},
	{"zeros", make([]byte, 700000)},
	{"mixed", generated(2, 1<<20)},
	{"a chunk", generated(3, chunkSize)},
	{"a chunk and a byte", generated(4, chunkSize+1)},
	{"the history and a byte", generated(5, historySize+1)},
	{"small", generated(6, 700)},
}

func TestEqualsTheLinkedVersion(t *testing.T) {
	for level := 1; level <= 6; level++ {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			e := newEncoded(t, V1_18_2, level, 0)
			for _, in := range inputs {
				t.Run(in.name, func(t *testing.T) {
					if got, want := e.encode(t, in.plain), linked(t, level, nil, in.plain); !bytes.Equal(got, want) {
						t.Error(firstDifference(got, want))
					}
				})
			}
		})
	}
}

func TestEqualsTheLinkedVersionWithFlushes(t *testing.T) {
	for level := 1; level <= 6; level++ {
		e := newEncoded(t, V1_18_2, level, 0)
		for n := range 300 {
			plain := generated(uint64(n), n+n*n)
			dict := plain[:min(n*(n%3)*200, len(plain))]
			parts := [][]byte{plain[:n/2], plain[n/2 : n], plain[n:]}
			if got, want := e.encodeAfter(t, dict, parts...), linked(t, level, dict, parts...); !bytes.Equal(got, want) {
				t.Fatalf("level %d, input %d: %s", level, n, firstDifference(got, want))
			}
		}
	}
}

// Places are counted from far back at times, where a stream is long or follows many others.
func TestPlacesAreCountedAnew(t *testing.T) {
	plain := generated(7, 600000)
	for level := 1; level <= 6; level++ {
		e := newEncoded(t, V1_18_2, level, 0)
		want := e.encode(t, plain)
		for _, before := range []int32{1, 100000, 200000, 400000} {
			history := &e.Encoder.(*encoder).history
			history.base = lastBase - before
			if got := e.encode(t, plain); !bytes.Equal(got, want) {
				t.Errorf("level %d: %s", level, firstDifference(got, want))
			}
			if history.base > lastBase/2 {
				t.Errorf("level %d: base is %d", level, history.base)
			}
		}
	}
}

func TestChunksFollowFromTheBytesBefore(t *testing.T) {
	const size = 100000
	plain := generated(8, 10*size)
	e := newEncoded(t, V1_15, DefaultLevel, size)
	whole := e.encode(t, plain)
	for i := 1; i <= 10; i++ {
		e.buf.Reset()
		e.w.Reset(&e.buf)
		e.Reset(plain[max(0, i*size-deflate.WindowSize) : i*size])
		check(t, e.Write(plain[i*size:]))
		check(t, e.Close())
		check(t, e.w.Close(0))
		if !bytes.HasSuffix(whole, e.buf.Bytes()) {
			t.Errorf("chunks from %d on are not the rest of the stream", i)
		}
	}
}

func TestChunksEndWithAMarker(t *testing.T) {
	const size = 100000
	for _, n := range []int{0, 1, size - 1, size, size + 1} {
		plain := generated(9, n)
		r := deflate.NewReader(bytes.NewReader(newEncoded(t, V1_15, DefaultLevel, size).encode(t, plain)))
		var markers []int
		at := 0
		for {
			b, err := r.Next()
			if err == io.EOF {
				break
			}
			check(t, err)
			if at += len(r.Plain()); b.Kind == deflate.Stored && len(b.Raw) == 0 {
				markers = append(markers, at)
			}
		}
		want := []int{n}
		if n >= size {
			want = []int{size, n}
		}
		if !slices.Equal(markers, want) {
			t.Errorf("%d bytes have markers at %v, want %v", n, markers, want)
		}
	}
}

func TestLongBlockIsRefused(t *testing.T) {
	// Few bytes that occur equally often and some matches, for which the codes of the first chunk are always good.
	const most = 1 << 20
	plain := make([]byte, 3*most)
	for i, seed := 0, uint64(1); i < len(plain); i++ {
		seed = seed*6364136223846793005 + 1442695040888963407
		plain[i] = byte(seed >> 58)
		if i%40 < 8 && i > 1000 {
			plain[i] = plain[i-1000]
		}
	}
	e := newEncoded(t, V1_18_2, 1, 0)
	if e.Encoder.(*encoder).blocks.most != deflate.MaxTokens {
		t.Error("blocks can have other numbers of tokens than a reader takes")
	}
	e.Encoder.(*encoder).blocks.most = most
	if err := e.Write(plain); !errors.Is(err, ErrLongBlock) {
		t.Errorf("got %v, want %v", err, ErrLongBlock)
	}
	if n := cap(e.Encoder.(*encoder).blocks.tokens); n > 2*most {
		t.Errorf("room for %d tokens", n)
	}
	small := generated(1, 1000)
	if got, want := e.encode(t, small), linked(t, 1, nil, small); !bytes.Equal(got, want) {
		t.Errorf("after Reset: %s", firstDifference(got, want))
	}
}

func TestErrorsOfEmitAreReturned(t *testing.T) {
	broken := errors.New("broken")
	for n := range 4 {
		left := n
		e, err := New(V1_15, DefaultLevel, func(*deflate.Block) error {
			if left--; left < 0 {
				return broken
			}
			return nil
		})
		check(t, err)
		e.Reset(nil)
		err = e.Write(generated(1, 300000))
		if err == nil {
			err = e.Flush()
		}
		if err == nil {
			err = e.Close()
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d blocks: %v", n, err)
		}
	}
}

func TestOtherParametersAreRefused(t *testing.T) {
	for _, p := range []struct {
		generation   Generation
		level, chunk int
	}{{0, 5, 0}, {5, 5, 0}, {V1_15, 0, 0}, {V1_15, 7, 0}, {V1_15, -1, 0}, {V1_15, 5, ChunkDictionary}, {V1_15, 7, 1 << 20}} {
		var err error
		if p.chunk == 0 {
			_, err = New(p.generation, p.level, nil)
		} else {
			_, err = NewChunked(p.generation, p.level, p.chunk, nil)
		}
		if err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

func FuzzEncoder(f *testing.F) {
	for i, in := range inputs {
		f.Add(in.plain, uint32(i*100000), uint32(i*7), uint8(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, plain []byte, cut, size uint32, generation, level uint8) {
		e := newEncoded(t, Generation(generation%4)+V1_15, int(level%6)+1, int(generation&1)*(ChunkDictionary+1+int(size%100000)))
		first := int(cut) % (len(plain) + 1)
		stream := e.encode(t, plain[:first], plain[first:])

		r := deflate.NewReader(bytes.NewReader(stream))
		var got []byte
		for {
			_, err := r.Next()
			if err == io.EOF {
				break
			}
			check(t, err)
			got = append(got, r.Plain()...)
		}
		if !bytes.Equal(got, plain) {
			t.Fatal("the blocks have other plain bytes")
		}

		e.buf.Reset()
		e.w.Reset(&e.buf)
		e.Reset(nil)
		for _, p := range [][]byte{plain[:first], plain[first:]} {
			check(t, e.Write(p))
			if len(p) == first && cut != ^uint32(0) {
				check(t, e.Flush())
				cut = ^uint32(0)
			}
		}
		check(t, e.Close())
		check(t, e.w.Close(0))
		if !bytes.Equal(e.buf.Bytes(), stream) {
			t.Fatal("the size of the pieces makes a difference")
		}
	})
}
