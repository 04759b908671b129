package zstdlong_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ferry-oci/ferry/compress/zstdlong"
)

const mib = 1 << 20

// frame returns the frame of plain, written in pieces of so many bytes.
func frame(t testing.TB, w *zstdlong.Writer, plain []byte, window, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.Reset(&b, int64(len(plain)), window); err != nil {
		t.Fatal(err)
	}
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), piece)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode proves that the frame is that of plain, for a decoder that keeps no more than the window.
func decode(t testing.TB, frame, plain []byte, window int) {
	t.Helper()
	d, err := zstd.NewReader(bytes.NewReader(frame), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(max(window, zstd.MinWindowSize))))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, plain) {
		t.Fatalf("%d bytes, want %d others", len(got), len(plain))
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil || !h.HasFCS || h.FrameContentSize != uint64(len(plain)) || !h.HasCheckSum {
		t.Errorf("header %+v: %v", h, err)
	}
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// text returns n bytes of words, most of them short, some of them rare.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 3000)
	for i := range words {
		words[i] = make([]byte, 1+r.IntN(12))
		for j := range words[i] {
			words[i][j] = "etaoinshrdlucmfw"[min(r.IntN(16), r.IntN(16))]
		}
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.Write(words[min(r.IntN(len(words)), r.IntN(len(words)))])
		b.WriteByte(" \n.\x00"[min(r.IntN(4), r.IntN(4))])
	}
	return b.Bytes()[:n]
}

// records returns n bytes of entries that differ a little, as tar headers and tables do.
func records(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "usr/share/doc/package-%04d/copyright\x00\x00\x00%07o\x00%011o", i, r.IntN(1000), r.IntN(1<<20))
		b.Write(make([]byte, r.IntN(300)))
	}
	return b.Bytes()[:n]
}

func contents() map[string][]byte {
	c := map[string][]byte{
		"zeros":   make([]byte, 3*mib+5),
		"random":  random(1, 2*mib+17),
		"text":    text(1, 3*mib),
		"records": records(1, 2*mib),
		"mixed":   bytes.Join([][]byte{text(2, 300_000), random(2, 200_000), make([]byte, 400_000), records(3, 500_000), text(2, 300_000), {1}}, nil),
		"far":     bytes.Join([][]byte{random(3, mib), random(4, 5*mib), random(3, mib)}, nil),
		"period":  bytes.Repeat(random(5, 1000), 2000),
		"two":     bytes.Repeat([]byte{0, 0, 0, 1}, 100_000),
	}
	for _, n := range []int{0, 1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1<<17 - 1, 1 << 17, 1<<17 + 1} {
		c[fmt.Sprintf("%d bytes", n)] = text(7, n)
		c[fmt.Sprintf("%d zeros", n)] = make([]byte, n)
	}
	return c
}

func TestRoundTrip(t *testing.T) {
	w := zstdlong.NewWriter() // for all of them: nothing of a frame shows in the next
	for name, plain := range contents() {
		t.Run(name, func(t *testing.T) {
			for _, window := range []int{zstdlong.MinWindow, 1 << 18, zstdlong.MaxWindow} {
				whole := frame(t, w, plain, window, len(plain)+1)
				decode(t, whole, plain, window)
				if parts := frame(t, w, plain, window, 40_007); !bytes.Equal(parts, whole) {
					t.Error("other bytes for content that comes in pieces")
				}
			}
		})
	}
}

// TestMovedWindow has a frame that is larger than the buffer, so that the window moves in memory.
func TestMovedWindow(t *testing.T) {
	start := text(9, 3*mib)
	plain := bytes.Join([][]byte{start, random(9, 24*mib), start, records(9, 3*mib), start}, nil)
	w := zstdlong.NewWriter()
	small := frame(t, w, plain, 4*mib, mib)
	decode(t, small, plain, 4*mib)
	large := frame(t, w, plain, 32*mib, mib)
	decode(t, large, plain, 32*mib)
	if saved := len(small) - len(large); saved < 300_000 {
		t.Errorf("what is 24 MiB back saves %d bytes", saved)
	}
}

func TestFarMatch(t *testing.T) {
	far := contents()["far"]
	got := frame(t, zstdlong.NewWriter(), far, 8*mib, mib)
	if most := len(far) - mib + 2000; len(got) > most {
		t.Errorf("%d bytes for a content of which 1 MiB is there twice, want at most %d", len(got), most)
	}
}

// TestSameBytes holds the bytes on every platform. They may change with a change to the encoder: then the content of
// bundles stays, and their files differ.
func TestSameBytes(t *testing.T) {
	plain := bytes.Join([][]byte{text(2, 600_000), records(3, 500_000), text(2, 300_000), random(1, 1000)}, nil)
	sum := sha256.Sum256(frame(t, zstdlong.NewWriter(), plain, mib, mib))
	const want = "e109803c01e12bb1b05f9a84206244844b4549947fc8f3bdb65c8c7afd8edbac"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("sha256 %s, want %s", got, want)
	}
}

func TestErrors(t *testing.T) {
	w := zstdlong.NewWriter()
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("no frame was begun, and it takes content")
	}
	for name, c := range map[string]struct {
		size   int64
		window int
	}{
		"negative size": {-1, mib}, "large": {zstdlong.MaxSize + 1, mib}, "small window": {1, 1}, "large window": {1, zstdlong.MaxWindow + 1},
	} {
		if err := w.Reset(io.Discard, c.size, c.window); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	begin := func(dst io.Writer) {
		if err := w.Reset(dst, 10, mib); err != nil {
			t.Fatal(err)
		}
	}
	begin(io.Discard)
	if n, err := w.Write(make([]byte, 11)); err == nil || n != 0 {
		t.Errorf("11 bytes of 10: %d, %v", n, err)
	}
	begin(io.Discard)
	if _, err := w.Write(make([]byte, 9)); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err == nil {
		t.Error("9 bytes of 10 were a whole frame")
	}
	begin(broken{})
	if _, err := w.Write(make([]byte, 10)); err != io.ErrClosedPipe {
		t.Errorf("%v, want that of the writer below", err)
	}
	begin(io.Discard)
	if _, err := w.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestProgramReadsIt(t *testing.T) {
	program, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd program")
	}
	for name, plain := range contents() {
		cmd := exec.CommandContext(t.Context(), program, "-dcq")
		cmd.Stdin = bytes.NewReader(frame(t, zstdlong.NewWriter(), plain, zstdlong.MaxWindow, mib))
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(plain), err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abcabcabcabc"), []byte("\x01\x40\x02"))
	f.Add(text(1, 5000), []byte{0, 255, 3, 9})
	w := zstdlong.NewWriter()
	f.Fuzz(func(t *testing.T, plain, script []byte) {
		// The script copies parts of what is there, so that there are long matches at all distances.
		for i := 0; i+2 < len(script) && len(plain) < 1<<20 && len(plain) > 0; i += 3 {
			from := int(script[i]) * len(plain) / 256
			n := min((int(script[i+1])+1)*(int(script[i+2])+1), len(plain)-from)
			plain = append(plain, plain[from:from+n]...)
		}
		decode(t, frame(t, w, plain, zstdlong.MinWindow, 1+len(script)*1000), plain, zstdlong.MinWindow)
		decode(t, frame(t, w, plain, mib, 1<<20), plain, mib)
	})
}

// BenchmarkWriter compares with the library's best level: the metric is the size of its frames that ours have.
func BenchmarkWriter(b *testing.B) {
	plain := bytes.Join([][]byte{text(1, 8*mib), records(1, 8*mib), random(1, mib), text(1, 8*mib)}, nil)
	var best bytes.Buffer
	k, err := zstd.NewWriter(&best, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(zstdlong.MaxWindow), zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			best.Reset()
			k.Reset(&best)
			_, _ = k.Write(plain)
			_ = k.Close()
		}
	})
	b.Run("zstdlong", func(b *testing.B) {
		w := zstdlong.NewWriter()
		b.SetBytes(int64(len(plain)))
		size := 0
		for b.Loop() {
			size = len(frame(b, w, plain, zstdlong.MaxWindow, mib))
		}
		b.ReportMetric(float64(size)/float64(max(best.Len(), 1)), "of-library")
	})
}
