package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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
		{part{false, text(3, 400_000)}, true},
		{part{true, random(1, 50_000)}, false},
		{part{false, text(4, 1)}, true},
		{part{false, random(2, 70_000)}, true},
		{part{false, text(3, 150_000)}, true},
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
	if path, err := exec.LookPath("zstd"); err == nil {
		all["zstd program"] = WriterOptions{Format: Zstd, Level: Max, ZstdProgram: path}
	} else if os.Getenv("FERRY_REQUIRE_TOOLS") == "1" {
		t.Fatal(err)
	}
	for name, o := range all {
		o.Long.Window = 1 << 17
		all[name] = o
	}
	return all
}

func TestWriteLongRoundTrip(t *testing.T) {
	parts := longMix()
	want := plainOfLong(parts)
	files := map[string][]byte{}
	for name, o := range longEngines(t) {
		for level := Default; level.valid(); level++ {
			if o.Format != Zstd && level != Default || o.ZstdProgram != "" && level != Max {
				continue // the first differ by nothing that so little content shows
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
				files[t.Name()] = file
			})
		}
	}
	// Of no use would be an option that never reaches its program.
	best, program := files[t.Name()+"/zstd/max"], files[t.Name()+"/zstd_program/max"]
	if program != nil && len(program) >= len(best) {
		t.Errorf("the zstd program writes %d bytes, the library %d", len(program), len(best))
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
	data := text(1, 150_000)
	errOpen := errors.New("the store is gone")
	tests := []struct {
		name string
		open func(context.Context) (io.ReadCloser, error)
		want string
	}{
		{"open fails", func(context.Context) (io.ReadCloser, error) { return nil, errOpen }, errOpen.Error()},
		{"short", opener(data[1:]), "ends after 149999 of 150000 bytes"},
		{"empty", opener(nil), "ends after 0 of 150000 bytes"},
		{"long", opener(append(data, 0)), "longer than the 150000 bytes"},
		{"fails in the middle", failing(data[:70_000]), "bad sector"},
	}
	for name, o := range longEngines(t) {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				checkNoGoroutines(t)
				dir := t.TempDir()
				o.Spool, o.Jobs, o.MaxMemory = TempSpool(dir), 2, 1<<30
				err := writeThree(t, io.Discard, o, data, tt.open)
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
func writeThree(t *testing.T, file io.Writer, o WriterOptions, data []byte, open func(context.Context) (io.ReadCloser, error)) error {
	w, err := NewWriter(file, o)
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

func TestWriteLongSizes(t *testing.T) {
	w, err := NewWriter(io.Discard, WriterOptions{Format: Zstd})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, size := range []int64{-1, 0, MaxLongFrame + 1} {
		if err := w.WriteLong(size, opener(nil)); err == nil {
			t.Errorf("a long frame of %d bytes is taken", size)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// The first frame is given bytes only after the second was encoded, which so has to wait in its spool.
func TestLongFramesAreEncodedAtATimeAndComeInTheirOrder(t *testing.T) {
	first, second := append(tarHead(), text(1, 100_000)...), text(2, 150_000)
	for name, o := range longEngines(t) {
		if o.Format == None {
			continue
		}
		t.Run(name, func(t *testing.T) {
			checkNoGoroutines(t)
			dir := t.TempDir()
			o.Spool, o.Jobs, o.MaxMemory = TempSpool(dir), 2, 1<<30
			var file bytes.Buffer
			w, err := NewWriter(&file, o)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			done := make(chan struct{})
			err = w.WriteLong(int64(len(first)), func(ctx context.Context) (io.ReadCloser, error) {
				select {
				case <-done:
				case <-ctx.Done():
				}
				return opener(first)(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
			err = w.WriteLong(int64(len(second)), func(ctx context.Context) (io.ReadCloser, error) {
				return &closing{Reader: bytes.NewReader(second), closed: done}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			checkEmpty(t, dir)
			checkFile(t, o, file.Bytes(), append(first, second...))
		})
	}
}

// closing closes a channel when it is closed.
type closing struct {
	io.Reader
	closed chan struct{}
}

func (c *closing) Close() error { close(c.closed); return nil }

func TestWriteLongReturnsTheErrorOfTheFile(t *testing.T) {
	data := text(1, 150_000)
	for name, o := range longEngines(t) {
		for _, room := range []int{0, 10, 20_000} {
			t.Run(fmt.Sprintf("%s/room for %d", name, room), func(t *testing.T) {
				checkNoGoroutines(t)
				dir := t.TempDir()
				o.Spool, o.Jobs, o.MaxMemory = TempSpool(dir), 2, 1<<30
				if err := writeThree(t, &fullDisk{room}, o, data, opener(data)); !errors.Is(err, errFull) {
					t.Errorf("%v, want %v", err, errFull)
				}
				checkEmpty(t, dir)
			})
		}
	}
}

// badSpool is a spool on a disk that has room for some bytes, and forgets them if told so.
type badSpool struct {
	Spool
	disk    *fullDisk
	forgets bool
}

func (s badSpool) Write(p []byte) (int, error) {
	if _, err := s.disk.Write(p); err != nil {
		return 0, err
	}
	return s.Spool.Write(p)
}

func (s badSpool) ReadAt(p []byte, off int64) (int, error) {
	if s.forgets {
		return 0, io.EOF
	}
	return s.Spool.ReadAt(p, off)
}

func TestWriteLongReturnsTheErrorOfTheSpool(t *testing.T) {
	data := text(1, 150_000)
	for name, o := range longEngines(t) {
		if o.Format != XZ {
			continue // whether a zstd frame needs its spool is a matter of chance
		}
		dir := t.TempDir()
		spool := func(room int, forgets bool) func() (Spool, error) {
			return func() (Spool, error) {
				s, err := TempSpool(dir)()
				return badSpool{s, &fullDisk{room}, forgets}, err
			}
		}
		for what, tt := range map[string]struct {
			spool func() (Spool, error)
			want  error
		}{
			"cannot be made":  {func() (Spool, error) { return nil, errFull }, errFull},
			"is full":         {spool(1000, false), errFull},
			"loses its bytes": {spool(1<<20, true), io.ErrUnexpectedEOF},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				checkNoGoroutines(t)
				o.Spool, o.Jobs, o.MaxMemory = tt.spool, 2, 1<<30
				err := writeThree(t, io.Discard, o, data, opener(data))
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "spool") {
					t.Errorf("%v, want %v of the spool", err, tt.want)
				}
				checkEmpty(t, dir)
			})
		}
	}
}

func TestWriteLongReturnsTheErrorOfTheProgram(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program(t, "sh")
	for want, path := range map[string]string{
		"no-such-program":        dir + "/no-such-program",
		"exit status 3: bad day": script("fails", "echo bad day >&2; exit 3\n"),
		"not a zstd frame":       script("lies", "cat >/dev/null; echo something else\n"),
		"it has no checksum":     script("forgets", `cat >/dev/null; printf '\050\265\057\375\240\001\000\000\000\011\000\000x'`),
	} {
		t.Run(want, func(t *testing.T) {
			checkNoGoroutines(t)
			o := WriterOptions{Format: Zstd, Level: Max, ZstdProgram: path}
			err := writeThree(t, io.Discard, o, text(1, 150_000), opener(text(1, 150_000)))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %q of %s", err, want, path)
			}
		})
	}
}

func TestAbortEndsLongFrames(t *testing.T) {
	for name, o := range longEngines(t) {
		if o.Format == None {
			continue // nothing goes on behind the caller's back
		}
		for _, jobs := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%d jobs", name, jobs), func(t *testing.T) {
				checkNoGoroutines(t)
				dir := t.TempDir()
				o.Spool, o.Jobs, o.MaxMemory = TempSpool(dir), jobs, 1<<30
				w, err := NewWriter(io.Discard, o)
				if err != nil {
					t.Fatal(err)
				}
				began := make(chan struct{}, 1)
				for range jobs {
					err := w.WriteLong(1<<20, func(ctx context.Context) (io.ReadCloser, error) {
						return io.NopCloser(io.MultiReader(bytes.NewReader(text(1, 140_000)), stuck{ctx, began})), nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				<-began
				w.Abort()
				checkEmpty(t, dir)
				if err := w.WriteLong(1, opener(nil)); !errors.Is(err, ErrClosed) {
					t.Errorf("after Abort: %v, want %v", err, ErrClosed)
				}
			})
		}
	}
}

// stuck is a reader that gives nothing before ctx ends.
type stuck struct {
	ctx   context.Context
	began chan struct{}
}

func (s stuck) Read([]byte) (int, error) {
	select {
	case s.began <- struct{}{}:
	default:
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestLongFrameThatIsNotHeldInMemory(t *testing.T) {
	size := int64(MaxFramePlain) + 1<<20
	o := WriterOptions{Format: Zstd, Level: Fastest, Long: LongOptions{Window: 1 << 20}}
	var file bytes.Buffer
	w, err := NewWriter(&file, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	head := text(1, 100_000)
	err = w.WriteLong(size, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size-int64(len(head))))), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	table := readTable(t, file.Bytes())
	if len(table.Frames) != 1 || !table.Frames[0].Long() {
		t.Errorf("frames %v, want a long one", table.Frames)
	}
	checkFile(t, o, file.Bytes(), append(head, make([]byte, size-int64(len(head)))...))
}

func TestMemoryLimitLowersLongJobs(t *testing.T) {
	tests := []struct {
		name string
		o    WriterOptions
		want int
	}{
		{"default", WriterOptions{Format: Zstd, Level: Best, Jobs: 8}, 1},
		{"1 GiB", WriterOptions{Format: Zstd, Level: Best, Jobs: 2, MaxMemory: 1 << 30}, 2},
		{"enough", WriterOptions{Format: Zstd, Level: Fastest, Jobs: 3, MaxMemory: 8 << 30}, 3},
		{"small window", WriterOptions{Format: Zstd, Jobs: 4, MaxMemory: 1 << 28, Long: LongOptions{Window: 1 << 20}}, 4},
		{"xz program", WriterOptions{Format: XZ, XZProgram: "xz", Level: Max, Jobs: 4, MaxMemory: 1 << 30}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if o, err := tt.o.complete(); err != nil || o.Long.jobs != tt.want {
				t.Errorf("%d jobs, %v, want %d", o.Long.jobs, err, tt.want)
			}
		})
	}
}

// The second half of the frame is given only after much of the first half is in the file.
func TestLongFrameThatIsFirstGoesStraightIntoTheFile(t *testing.T) {
	const half = 700_000
	data := random(1, 2*half)
	for _, jobs := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d jobs", jobs), func(t *testing.T) {
			checkNoGoroutines(t)
			file := &mark{at: half / 2, reached: make(chan struct{})}
			o := WriterOptions{Format: Zstd, Jobs: jobs, MaxMemory: 1 << 30, Long: LongOptions{Window: 1 << 17}}
			w, err := NewWriter(file, o)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			err = w.WriteLong(int64(len(data)), func(ctx context.Context) (io.ReadCloser, error) {
				rest := &after{Reader: bytes.NewReader(data[half:]), ctx: ctx, begin: file.reached}
				return io.NopCloser(io.MultiReader(bytes.NewReader(data[:half]), rest)), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			checkFile(t, o, file.Bytes(), data)
		})
	}
}

// mark tells when so many bytes were written to it.
type mark struct {
	bytes.Buffer
	at      int
	reached chan struct{}
}

func (m *mark) Write(p []byte) (int, error) {
	before := m.Len()
	n, err := m.Buffer.Write(p)
	if before < m.at && m.Len() >= m.at {
		close(m.reached)
	}
	return n, err
}

// after is a reader that begins when it may.
type after struct {
	io.Reader
	ctx   context.Context
	begin chan struct{}
}

func (a *after) Read(p []byte) (int, error) {
	select {
	case <-a.begin:
		return a.Reader.Read(p)
	case <-a.ctx.Done():
		return 0, a.ctx.Err()
	}
}
