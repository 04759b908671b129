package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// part is some of a plain stream, written in one mode.
type part struct {
	stored bool
	data   []byte
}

// random returns n bytes that no compressor shrinks, the same for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

// text returns n bytes that shrink well, the same for the same seed.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "/usr/lib/%d/lib%x.so.%d\n", r.IntN(40), r.IntN(4000), r.IntN(3))
	}
	return b.Bytes()[:n]
}

// mix is a stream of all kinds of parts, some larger than the frame sizes that tests use.
func mix() []part {
	return []part{
		{false, append(tarHead(), text(1, 40_000)...)},
		{true, random(1, 300_001)},
		{false, text(2, 1)},
		{true, random(2, 1)},
		{true, text(3, 131_072)},
		{false, random(3, 36_000)},
		{false, text(4, 90_000)},
	}
}

func plainOf(parts []part) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p.data...)
	}
	return b
}

// write returns the file of parts.
func write(t testing.TB, o WriterOptions, parts []part) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, p := range parts {
		if err := w.SetStored(p.stored); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, err = w.Write(p.data)
		} else {
			_, err = w.ReadFrom(bytes.NewReader(p.data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.Offset(), int64(len(plainOf(parts))); got != want {
		t.Errorf("offset %d, want %d", got, want)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// readTable returns the table of file.
func readTable(t testing.TB, file []byte) *Table {
	t.Helper()
	table, err := ReadTable(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// readRange returns n plain bytes from off on.
func readRange(r *Reader, off, n int64) ([]byte, error) {
	rc, err := r.Open(context.Background(), off, n)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// scanAll returns the plain bytes that a Scanner finds in file.
func scanAll(file []byte, f Format, o ReaderOptions) ([]byte, error) {
	s := NewScanner(bytes.NewReader(file), f, o)
	defer s.Close()
	var plain []byte
	for {
		f, raw, err := s.Next()
		if errors.Is(err, io.EOF) {
			return plain, nil
		}
		if err != nil {
			return plain, err
		}
		if f.PlainOffset != int64(len(plain)) {
			return plain, fmt.Errorf("frame %d at plain byte %d, want %d", f.Number, f.PlainOffset, len(plain))
		}
		b, err := s.Decode(nil, f, raw)
		if f.Long() {
			b, err = io.ReadAll(s.Stream())
		}
		plain = append(plain, b...)
		if err != nil {
			return plain, err
		}
		s.Release(raw)
	}
}

// program returns the path of a program that tests need.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("FERRY_REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// run gives input to a program and returns its output.
func run(t testing.TB, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, &stderr)
	}
	return out
}

// engines are the formats with what can write them.
func engines(t testing.TB) map[string]WriterOptions {
	all := map[string]WriterOptions{"none": {Format: None}, "zstd": {Format: Zstd}, "xz library": {Format: XZ}}
	if path, err := exec.LookPath("xz"); err == nil {
		all["xz program"] = WriterOptions{Format: XZ, XZProgram: path}
	} else if os.Getenv("FERRY_REQUIRE_TOOLS") == "1" {
		t.Fatal(err)
	}
	return all
}

// checkNoGoroutines fails the test when it ends with more goroutines than it began with.
func checkNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, began with %d", runtime.NumGoroutine(), before)
			}
			runtime.Gosched()
		}
	})
}

func TestRoundTrip(t *testing.T) {
	streams := map[string][]part{
		"empty":      nil,
		"one byte":   {{false, []byte("x")}},
		"one stored": {{true, []byte("x")}},
		"mix":        mix(),
	}
	for engine, o := range engines(t) {
		for level := Default; level.valid(); level++ {
			for name, parts := range streams {
				if engine == "xz library" && level != Default && level != Fastest {
					continue // they differ by the dictionary alone, and no frame here is so large
				}
				t.Run(fmt.Sprintf("%s/%v/%s", engine, level, name), func(t *testing.T) {
					o.Level = level
					o.FrameSize = 30_000
					testRoundTrip(t, o, parts)
				})
			}
		}
	}
}

func testRoundTrip(t *testing.T, o WriterOptions, parts []part) {
	want := plainOf(parts)
	o.Jobs, o.MaxMemory = 1, 300<<20 // room for three encoders of the largest kind
	file := write(t, o, parts)
	o.Jobs = 8
	if !bytes.Equal(file, write(t, o, parts)) {
		t.Error("eight jobs write other bytes than one")
	}
	if o.Format == None && len(want) < SniffSize {
		return // nothing tells its format
	}
	table := readTable(t, file)
	ro := ReaderOptions{XZProgram: o.XZProgram}
	got, err := readRange(NewReader(bytes.NewReader(file), table, ro), 0, table.PlainSize)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Reader: %d bytes, want %d (%v)", len(got), len(want), err)
	}
	got, err = scanAll(file, o.Format, ro)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Scanner: %d bytes, want %d (%v)", len(got), len(want), err)
	}
	bad, err := Check(context.Background(), bytes.NewReader(file), table, ro)
	if err != nil || len(bad) > 0 {
		t.Errorf("Check: %v, %v", bad, err)
	}
	scanned, damage, err := ScanTable(bytes.NewReader(file), int64(len(file)), o.Format)
	if err != nil || len(damage) > 0 || fmt.Sprint(scanned) != fmt.Sprint(table) {
		t.Errorf("ScanTable: %v, %v, %v, want %v", scanned, damage, err, table)
	}
}

// tarHead returns bytes that begin like a tar.
func tarHead() []byte { return append(make([]byte, ustarOffset), ustarMagic...) }

func TestEachEngineReadsTheOther(t *testing.T) {
	path := program(t, "xz")
	for _, writer := range []string{"", path} {
		file := write(t, WriterOptions{Format: XZ, XZProgram: writer, FrameSize: 30_000}, mix())
		for _, reader := range []string{"", path} {
			got, err := scanAll(file, XZ, ReaderOptions{XZProgram: reader})
			if err != nil || !bytes.Equal(got, plainOf(mix())) {
				t.Errorf("written by %q, read by %q: %d bytes, %v", writer, reader, len(got), err)
			}
		}
	}
}

func TestRealProgramsRead(t *testing.T) {
	for engine, o := range engines(t) {
		if o.Format == None {
			continue
		}
		for name, parts := range map[string][]part{"empty": nil, "mix": mix()} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				tool := program(t, o.Format.String())
				o.FrameSize = 30_000
				file := write(t, o, parts)
				if got := run(t, file, tool, "-dc"); !bytes.Equal(got, plainOf(parts)) {
					t.Errorf("%d bytes, want %d", len(got), len(plainOf(parts)))
				}
				run(t, file, tool, "-t")
				if o.Format == XZ {
					path := t.TempDir() + "/f.xz"
					if err := os.WriteFile(path, file, 0o600); err != nil {
						t.Fatal(err)
					}
					want := fmt.Sprintf("\nfile\t1\t%d\t", len(readTable(t, file).Frames))
					if got := run(t, nil, tool, "-l", "--robot", path); !bytes.Contains(got, []byte(want)) {
						t.Errorf("xz -l says %q, want %q in it", got, want)
					}
				}
			})
		}
	}
}

func TestRangesEqualThePlainBytes(t *testing.T) {
	want := plainOf(mix())
	for engine, o := range engines(t) {
		if o.Format == None {
			continue
		}
		t.Run(engine, func(t *testing.T) {
			o.FrameSize = 140_000
			file := write(t, o, mix())
			r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{})
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				off := rnd.IntN(len(want) + 1)
				n := rnd.IntN(len(want) - off + 1)
				if rnd.IntN(2) == 0 {
					n = min(n, rnd.IntN(1000))
				}
				got, err := readRange(r, int64(off), int64(n))
				if err != nil || !bytes.Equal(got, want[off:off+n]) {
					t.Fatalf("[%d:%d]: %d bytes, %v", off, off+n, len(got), err)
				}
			}
		})
	}
}

func TestFileDoesNotDependOnHowItIsWritten(t *testing.T) {
	o := WriterOptions{Format: Zstd, FrameSize: 1 << 16}
	want := write(t, o, mix())
	var file bytes.Buffer
	w, err := NewWriter(&file, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range mix() {
		if err := w.SetStored(p.stored); err != nil {
			t.Fatal(err)
		}
		for step, rest := 1, p.data; len(rest) > 0; step = step*3 + 1 {
			n := min(step, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(file.Bytes()) != sha256.Sum256(want) {
		t.Error("many small writes give other bytes than few large ones")
	}
}
