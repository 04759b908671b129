package golang

import (
	"archive/tar"
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/ferry-oci/ferry/compress/deflate"
)

var levels = []int{-2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}

// needReference skips a test where compress/flate is another encoder.
func needReference(t testing.TB) {
	t.Helper()
	version := strings.TrimPrefix(runtime.Version(), "go1.")
	var minor int
	if _, err := fmt.Sscanf(version, "%d", &minor); err != nil || minor < 8 || minor > 26 {
		t.Skipf("compress/flate of %s is another encoder", runtime.Version())
	}
}

// encoded is an encoder and what became of its blocks, and the Writer of compress/flate.
type encoded struct {
	deflate.Encoder
	buf bytes.Buffer
	w   *deflate.Writer
	std *stdflate.Writer
}

func newEncoded(t testing.TB, level int) *encoded {
	t.Helper()
	e := new(encoded)
	e.w = deflate.NewWriter(&e.buf)
	var err error
	if e.Encoder, err = New(level, e.w.WriteBlock); err != nil {
		t.Fatal(err)
	}
	if e.std, err = stdflate.NewWriter(nil, level); err != nil {
		t.Fatal(err)
	}
	return e
}

// reference returns what compress/flate makes of parts, with a flush after each but the last one.
func (e *encoded) reference(parts ...[]byte) []byte {
	var buf bytes.Buffer
	e.std.Reset(&buf)
	for i, p := range parts {
		if i > 0 {
			_ = e.std.Flush()
		}
		_, _ = e.std.Write(p)
	}
	_ = e.std.Close()
	return buf.Bytes()
}

// encode returns what the encoder makes of parts. It gets them in pieces of random sizes.
func (e *encoded) encode(t testing.TB, seed uint64, parts ...[]byte) []byte {
	t.Helper()
	r := numbers(seed)
	e.buf.Reset()
	e.w.Reset(&e.buf)
	e.Reset(nil)
	for i, p := range parts {
		if i > 0 {
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		most := []int{1 << 20, 70000, 5000, 20}[r.below(4)]
		for len(p) > 0 {
			n := min(len(p), r.below(most)+1)
			if err := e.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.w.Close(0); err != nil {
		t.Fatal(err)
	}
	return e.buf.Bytes()
}

// split cuts plain at random places.
func split(r *numbers, plain []byte) [][]byte {
	var parts [][]byte
	for r.below(8) > 0 {
		most := len(plain)
		if r.below(2) == 0 {
			most = min(most, 400)
		}
		n := r.below(most + 1)
		parts = append(parts, plain[:n])
		plain = plain[n:]
	}
	return append(parts, plain)
}

// sources is a tar of parts of the Go tree.
var sources = sync.OnceValue(func() []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range []string{"src/net/http", "src/archive", "src/compress", "src/image"} {
		root := filepath.Join(build.Default.GOROOT, dir)
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			_ = w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(data))})
			_, err = w.Write(data)
			return err
		})
	}
	_ = w.Close()
	return buf.Bytes()
})

// check compares an encoder with compress/flate.
func (e *encoded) check(t testing.TB, level int, seed uint64, parts ...[]byte) {
	t.Helper()
	want, got := e.reference(parts...), e.encode(t, seed, parts...)
	if bytes.Equal(got, want) {
		return
	}
	t.Errorf("level %d, %d parts: %s", level, len(parts), firstDifference(got, want))
}

// firstDifference tells in which block two streams differ.
func firstDifference(got, want []byte) string {
	g, w := deflate.NewReader(bytes.NewReader(got)), deflate.NewReader(bytes.NewReader(want))
	plain := 0
	for i := 0; ; i++ {
		a, err := g.Next()
		b, err2 := w.Next()
		if err != nil || err2 != nil {
			return fmt.Sprintf("block %d: %v, want %v", i, err, err2)
		}
		if !a.Equal(b) {
			s := fmt.Sprintf("block %d at %d: kind %d, %d tokens, want kind %d, %d tokens",
				i, plain, a.Kind, len(a.Tokens), b.Kind, len(b.Tokens))
			at := plain
			for j := range min(len(a.Tokens), len(b.Tokens)) {
				x, y := a.Tokens[j], b.Tokens[j]
				if x != y {
					return s + fmt.Sprintf("; token %d at %d: %d %d, want %d %d",
						j, at, x.Size(), x.Distance(), y.Size(), y.Distance())
				}
				at += x.Size()
			}
			return s
		}
		plain += len(g.Plain())
	}
}

func TestEqualsCompressFlate(t *testing.T) {
	needReference(t)
	list := append(inputs(), input{"sources", sources()})
	for _, level := range levels {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			e := newEncoded(t, level)
			for i, in := range list {
				t.Run(in.name, func(t *testing.T) { e.check(t, level, uint64(i), in.plain) })
			}
		})
	}
}

func TestEqualsCompressFlateForSmallInputs(t *testing.T) {
	needReference(t)
	for _, level := range levels {
		e := newEncoded(t, level)
		for n := range 301 {
			for _, plain := range [][]byte{text(1, n), noise(2, n), make([]byte, n), mixed(uint64(n), n)} {
				e.check(t, level, uint64(n), plain)
			}
		}
	}
}

func TestEqualsCompressFlateWithFlushes(t *testing.T) {
	needReference(t)
	list := inputs()
	for _, level := range levels {
		e := newEncoded(t, level)
		r := numbers(level + 2)
		for i := range 60 {
			in := list[r.below(len(list))].plain
			from := r.below(len(in) + 1)
			to := from + r.below(min(len(in)-from, 200000)+1)
			e.check(t, level, uint64(i), split(&r, in[from:to])...)
		}
	}
}

// The window slides where fewer than 262 bytes of it follow.
func TestEqualsCompressFlateWithAFlushWhereTheWindowSlides(t *testing.T) {
	needReference(t)
	plain := mixed(12, 70000)
	for _, level := range []int{2, 6} {
		e := newEncoded(t, level)
		for n := 65536 - 270; n <= 65536; n++ {
			e.check(t, level, uint64(n), plain[:n], plain[n:])
		}
	}
}
