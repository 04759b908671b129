package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// longPart is some of a plain stream with a mark whether it is a long frame of its own.
type longPart struct {
	part
	long bool
}

// longMix has long frames of several sizes, at the begin, between short and stored ones, and in a row.
func longMix() []longPart {
	return []longPart{
		{part{false, append(tarHead(), text(1, 90_000)...)}, true},
		{part{false, text(2, 1000)}, false},
		{part{false, text(3, 1_000_000)}, true},
		{part{true, random(1, 200_000)}, false},
		{part{false, text(4, 1)}, true},
		{part{false, random(2, 300_000)}, true},
		{part{false, text(3, 400_000)}, true},
		{part{false, text(5, 255)}, true},
		{part{false, text(6, 5)}, false},
	}
}

func plainOfLong(parts []longPart) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p.data...)
	}
	return b
}

// opener returns an open for WriteLong that gives data in small pieces.
func opener(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
}

// writeLong returns the file of parts.
func writeLong(t testing.TB, o WriterOptions, parts []longPart) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, p := range parts {
		err := w.SetStored(p.stored)
		if err == nil && p.long {
			err = w.WriteLong(int64(len(p.data)), opener(p.data))
		} else if err == nil {
			_, err = w.Write(p.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := int64(len(plainOfLong(parts)))
	if got := w.Offset(); got != want {
		t.Errorf("offset %d, want %d", got, want)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := w.Written(); got != want {
		t.Errorf("%d bytes written, want %d", got, want)
	}
	return file.Bytes()
}

// longEngines are the engines with a window that keeps them small.
func longEngines(t testing.TB) map[string]WriterOptions {
	all := engines(t)
	for name, o := range all {
		o.Long.Window = 1 << 19
		all[name] = o
	}
	return all
}

func TestWriteLongRoundTrip(t *testing.T) {
	parts := longMix()
	want := plainOfLong(parts)
	for name, o := range longEngines(t) {
		for level := Default; level.valid(); level++ {
			if o.Format == XZ && level != Default {
				continue // they differ by nothing that so little content shows
			}
			t.Run(fmt.Sprintf("%s/%v", name, level), func(t *testing.T) {
				checkNoGoroutines(t)
				dir := t.TempDir()
				o.Level, o.FrameSize, o.Spool = level, 30_000, TempSpool(dir)
				o.Jobs = 1
				file := writeLong(t, o, parts)
				o.Jobs, o.MaxMemory = 3, 1<<30
				if !bytes.Equal(file, writeLong(t, o, parts)) {
					t.Error("three jobs write other bytes than one")
				}
				checkEmpty(t, dir)
				checkFile(t, o, file, want)
			})
		}
	}
}

// checkEmpty proves that no spool is left in dir.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("spools are left: %v %v", left, err)
	}
}

// checkFile proves by the table, by this package and by others that file holds want.
func checkFile(t *testing.T, o WriterOptions, file, want []byte) {
	t.Helper()
	table := readTable(t, file)
	if table.PlainSize != int64(len(want)) {
		t.Errorf("the table has %d plain bytes, want %d", table.PlainSize, len(want))
	}
	got, err := scanAll(file, o.Format, ReaderOptions{})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Scanner: %d bytes, want %d (%v)", len(got), len(want), err)
	}
	bad, err := Check(t.Context(), bytes.NewReader(file), table, ReaderOptions{})
	if err != nil || len(bad) > 0 {
		t.Errorf("Check: %v, %v", bad, err)
	}
	switch o.Format {
	case Zstd:
		r, err := zstd.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("klauspost: %d bytes, want %d (%v)", len(got), len(want), err)
		}
		if got := run(t, file, program(t, "zstd"), "-d", "-q", "-c"); !bytes.Equal(got, want) {
			t.Errorf("zstd -d: %d bytes, want %d", len(got), len(want))
		}
	case XZ:
		if got := run(t, file, program(t, "xz"), "-d", "-q", "-c"); !bytes.Equal(got, want) {
			t.Errorf("xz -d: %d bytes, want %d", len(got), len(want))
		}
	}
}

func TestWriteLongContentErrors(t *testing.T) {
	data := text(1, 400_000)
	errOpen := errors.New("the store is gone")
	tests := []struct {
		name string
		open func(context.Context) (io.ReadCloser, error)
		want string
	}{
		{"open fails", func(context.Context) (io.ReadCloser, error) { return nil, errOpen }, errOpen.Error()},
		{"short", opener(data[1:]), "ends after 399999 of 400000 bytes"},
		{"empty", opener(nil), "ends after 0 of 400000 bytes"},
		{"long", opener(append(data, 0)), "longer than the 400000 bytes"},
		{"fails in the middle", failing(data[:200_000]), "bad sector"},
	}
	for name, o := range longEngines(t) {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				checkNoGoroutines(t)
				dir := t.TempDir()
				o.Spool, o.Jobs, o.MaxMemory = TempSpool(dir), 2, 1<<30
				err := writeThree(t, o, data, tt.open)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				checkEmpty(t, dir)
			})
		}
	}
}

// failing returns an open whose reader fails after data.
func failing(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data), errReader{})), nil
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("bad sector") }

// writeThree writes data as a long frame, then what open gives, then data again, and returns what came of it.
func writeThree(t *testing.T, o WriterOptions, data []byte, open func(context.Context) (io.ReadCloser, error)) error {
	w, err := NewWriter(io.Discard, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, open := range []func(context.Context) (io.ReadCloser, error){opener(data), open, opener(data)} {
		if err := w.WriteLong(int64(len(data)), open); err != nil {
			return err
		}
	}
	return w.Close()
}
