package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// fullDisk takes n bytes and no more.
type fullDisk struct{ n int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.n {
		return d.n, errFull
	}
	d.n -= len(p)
	return len(p), nil
}

func TestWriterReturnsTheErrorOfTheFile(t *testing.T) {
	o := WriterOptions{Format: Zstd, FrameSize: MinFrameSize}
	size := len(write(t, o, []part{{false, plainOf(small())}}))
	for _, room := range []int{0, 1, size / 2, size - 1} {
		t.Run(fmt.Sprintf("room for %d of %d", room, size), func(t *testing.T) {
			checkNoGoroutines(t)
			w, err := NewWriter(&fullDisk{room}, o)
			if err != nil {
				t.Fatal(err)
			}
			_, writeErr := w.Write(plainOf(small()))
			closeErr := w.Close()
			if !errors.Is(errors.Join(writeErr, closeErr), errFull) || closeErr == nil {
				t.Errorf("Write: %v, Close: %v, want %v", writeErr, closeErr, errFull)
			}
			if err := w.Close(); err == nil {
				t.Error("a second Close returns nil")
			}
		})
	}
}

func TestWriterStopsAfterAnError(t *testing.T) {
	checkNoGoroutines(t)
	w, err := NewWriter(&fullDisk{}, WriterOptions{Format: Zstd, FrameSize: MinFrameSize, Jobs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	// More frames than can be in flight: the error must come up.
	n, err := io.Copy(w, io.LimitReader(zeros{}, 1<<30))
	if !errors.Is(err, errFull) {
		t.Errorf("%d bytes taken, %v, want %v", n, err, errFull)
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWriterReturnsTheErrorOfTheProgram(t *testing.T) {
	checkNoGoroutines(t)
	w, err := NewWriter(io.Discard, WriterOptions{Format: XZ, XZProgram: t.TempDir() + "/no-such-program"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("%v, want one that names the program", err)
	}
}

func TestWriterReturnsTheErrorOfTheReader(t *testing.T) {
	w, err := NewWriter(io.Discard, WriterOptions{Format: Zstd})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	r := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc")))
	if n, err := w.ReadFrom(r); n != 1 || !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("%d, %v, want 1, %v", n, err, iotest.ErrTimeout)
	}
}

func TestAbort(t *testing.T) {
	for engine, o := range engines(t) {
		t.Run(engine, func(t *testing.T) {
			checkNoGoroutines(t)
			var file bytes.Buffer
			w, err := NewWriter(&file, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(text(1, 3*DefaultFrameSize)); err != nil {
				t.Fatal(err)
			}
			w.Abort()
			w.Abort()
			if _, err := w.Write([]byte("x")); !errors.Is(err, ErrClosed) {
				t.Errorf("Write: %v, want %v", err, ErrClosed)
			}
			if err := w.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("Close: %v, want %v", err, ErrClosed)
			}
			if _, err := ReadTable(bytes.NewReader(file.Bytes()), int64(file.Len())); err == nil && o.Format != None {
				t.Error("the file of an aborted Writer is whole")
			}
		})
	}
}

func TestContentID(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, WriterOptions{Format: Zstd})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	id := [32]byte{7}
	for n := range 3 {
		if n == 1 {
			if err := w.SetContentID(id); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := w.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetContentID(id); err == nil {
		t.Error("the content id can be set after the second frame")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := NewScanner(&file, Zstd, ReaderOptions{})
	defer s.Close()
	for {
		if _, _, err = s.Next(); err != nil {
			break
		}
	}
	if got, ok := s.ContentID(); err != io.EOF || !ok || got != id {
		t.Errorf("%v, content id %x %v, want %x", err, got, ok, id)
	}
}

func TestFramesOfUsedEncodersAreThoseOfNewOnes(t *testing.T) {
	data := append(text(1, 200_000), random(1, 50_000)...)
	data = append(data, text(2, 150_000)...)
	for level := Default; level.valid(); level++ {
		t.Run(level.String(), func(t *testing.T) {
			o := WriterOptions{Format: Zstd, Level: level, FrameSize: 50_000, Jobs: 1}
			file := write(t, o, []part{{false, data}})
			for _, f := range readTable(t, file).Frames {
				enc, err := newEncoder(o, 1)
				if err != nil {
					t.Fatal(err)
				}
				want, err := enc.encode(t.Context(), nil, data[f.PlainOffset:f.plainEnd()])
				if err != nil {
					t.Fatal(err)
				}
				if got := file[f.Offset:f.end()]; !bytes.Equal(got, want) && !isStored(zstdLayout{}, got, f.PlainSize) {
					t.Fatalf("frame %d of %d bytes differs from that of a new encoder, of %d", f.Number, len(got), len(want))
				}
			}
		})
	}
}

func TestMemoryLimitLowersJobs(t *testing.T) {
	tests := []struct {
		name string
		o    WriterOptions
		want int
	}{
		{"enough", WriterOptions{Format: Zstd, Jobs: 4}, 4},
		{"too little for any", WriterOptions{Format: XZ, Jobs: 4, MaxMemory: 1}, 1},
		{"zstd best", WriterOptions{Format: Zstd, Level: Best, Jobs: 64}, 1},
		{"small frames", WriterOptions{Format: Zstd, FrameSize: MinFrameSize, Jobs: 16}, 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if o, err := tt.o.complete(); err != nil || o.Jobs != tt.want {
				t.Errorf("%d jobs, %v, want %d", o.Jobs, err, tt.want)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]WriterOptions{
		"format":          {Format: 9},
		"level":           {Level: 9},
		"frame too small": {FrameSize: MinFrameSize - 1},
		"frame too large": {FrameSize: MaxFrameSize + 1},
		"negative jobs":   {Jobs: -1},
		"negative memory": {MaxMemory: -1},
		"odd window":      {Long: LongOptions{Window: 1<<20 + 1}},
		"window too wide": {Long: LongOptions{Window: 2 * MaxWindow}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewWriter(io.Discard, o); err == nil {
				t.Error("it is taken")
			}
		})
	}
}
