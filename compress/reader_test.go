package compress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
)

// countedReads counts the reads of at least least bytes.
type countedReads struct {
	io.ReaderAt
	least int
	n     atomic.Int64
}

func (c *countedReads) ReadAt(p []byte, off int64) (int, error) {
	if len(p) >= c.least {
		c.n.Add(1)
	}
	return c.ReaderAt.ReadAt(p, off)
}

func TestManyMembersOfAFrameCostOneDecoding(t *testing.T) {
	data := text(1, 1<<20)
	file := write(t, WriterOptions{Format: Zstd}, []part{{false, data}})
	disk := &countedReads{ReaderAt: bytes.NewReader(file), least: 100}
	r := NewReader(disk, readTable(t, file), ReaderOptions{})
	var g errgroup.Group
	for i := range 64 {
		g.Go(func() error {
			off := i * 16_000
			got, err := readRange(r, int64(off), 5000)
			if err == nil && !bytes.Equal(got, data[off:off+5000]) {
				err = errors.New("other bytes")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := disk.n.Load(); n != 1 {
		t.Errorf("the frame was read %d times, want once", n)
	}
}

func TestReadersShareLittleMemory(t *testing.T) {
	data := text(1, 1<<20)
	o := WriterOptions{Format: Zstd, FrameSize: 1 << 15}
	file := write(t, o, []part{{false, data}})
	// Room for two of 32 frames, and eight that read all of them, each from another place on.
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{MaxMemory: 2 << 15, Jobs: 8})
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			off := int64(i) * 100_000
			got, err := readRange(r, off, int64(len(data))-off)
			if err == nil && !bytes.Equal(got, data[off:]) {
				err = errors.New("other bytes")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	held := int64(0)
	for _, e := range r.cache.frames {
		held += e.frame.PlainSize
	}
	if held > 2<<15 || r.cache.waiting != 0 || r.cache.idle.Len() != len(r.cache.frames) {
		t.Errorf("%d bytes held, %d waiting, %d of %d frames idle",
			held, r.cache.waiting, r.cache.idle.Len(), len(r.cache.frames))
	}
	if !r.cache.room.TryAcquire(2<<15 - held) {
		t.Error("room was lost")
	}
}

// gate is a file whose reads wait until it is opened.
type gate struct {
	io.ReaderAt
	reached chan struct{}
	open    chan struct{}
	once    sync.Once
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.once.Do(func() { close(g.reached) })
	<-g.open
	return g.ReaderAt.ReadAt(p, off)
}

func TestOneReaderIsCanceledAndAnotherGoesOn(t *testing.T) {
	data := text(1, 10_000)
	file := write(t, WriterOptions{Format: Zstd}, []part{{false, data}})
	g := &gate{ReaderAt: bytes.NewReader(file), reached: make(chan struct{}), open: make(chan struct{})}
	r := NewReader(g, readTable(t, file), ReaderOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		rc, err := r.Open(ctx, 0, 10)
		if err == nil {
			_, err = io.ReadAll(rc)
		}
		first <- err
	}()
	<-g.reached // the first one is decoding for both
	second := make(chan error, 1)
	go func() {
		got, err := readRange(r, 0, int64(len(data)))
		if err == nil && !bytes.Equal(got, data) {
			err = errors.New("other bytes")
		}
		second <- err
	}()
	cancel()
	close(g.open)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the canceled one: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestAStoredFrameIsNotReadBeforeWhatIsWanted(t *testing.T) {
	data := random(1, 3<<20)
	for _, format := range []Format{Zstd, XZ} {
		file := write(t, WriterOptions{Format: format}, []part{{true, data}})
		table := readTable(t, file)
		// All before the wanted bytes, but for the header of their chunk, cannot be read.
		const off, n = 2_500_000, 300_000
		l := layoutOf(format)
		chunk := chunkStart(l, off/int64(l.chunkSize()))
		disk := brokenDisk{bytes.NewReader(file), 0, table.Frames[0].Offset + chunk}
		got, err := readRange(NewReader(disk, table, ReaderOptions{}), off, n)
		if err != nil || !bytes.Equal(got, data[off:off+n]) {
			t.Errorf("%v: %d bytes, %v", format, len(got), err)
		}
	}
}

func TestOpenRefusesRangesOutsideOfTheStream(t *testing.T) {
	file := write(t, WriterOptions{Format: Zstd}, []part{{false, []byte("0123456789")}})
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{})
	for _, tt := range [][2]int64{{-1, 1}, {0, -1}, {0, 11}, {11, 0}, {5, 6}, {1, 1<<63 - 1}} {
		if _, err := r.Open(t.Context(), tt[0], tt[1]); err == nil {
			t.Errorf("%d bytes at %d are there", tt[1], tt[0])
		}
	}
	for _, tt := range [][2]int64{{0, 0}, {10, 0}, {9, 1}} {
		if got, err := readRange(r, tt[0], tt[1]); err != nil || int64(len(got)) != tt[1] {
			t.Errorf("%d bytes at %d: %q, %v", tt[1], tt[0], got, err)
		}
	}
	rc, err := r.Open(t.Context(), 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	if _, err := rc.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, ErrClosed)
	}
}

func TestReaderNamesAMissingFrame(t *testing.T) {
	file := write(t, WriterOptions{Format: Zstd, FrameSize: MinFrameSize}, []part{{false, text(1, 3*MinFrameSize)}})
	table := readTable(t, file)
	table.Frames = []Frame{table.Frames[0], table.Frames[2]}
	r := NewReader(bytes.NewReader(file), table, ReaderOptions{})
	got, err := readRange(r, 0, table.PlainSize)
	var bad *FrameError
	if len(got) != MinFrameSize || !errors.As(err, &bad) || bad.PlainOffset != MinFrameSize || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := readRange(r, 2*MinFrameSize, MinFrameSize); err != nil {
		t.Errorf("the frame after it: %v", err)
	}
}

// Many who read different frames bit by bit, with room for few of these, take turns: no frame is decoded twice.
func TestReadersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, frames = 1 << 15, 32
		data := text(1, frames*size)
		file := write(t, WriterOptions{Format: Zstd, FrameSize: size}, []part{{false, data}})
		disk := &countedReads{ReaderAt: bytes.NewReader(file), least: 1000}
		r := NewReader(disk, readTable(t, file), ReaderOptions{MaxMemory: 2 * size, Jobs: 8})
		var g errgroup.Group
		for i := range frames / 4 {
			g.Go(func() error {
				off := i * 4 * size
				in, err := r.Open(t.Context(), int64(off), 4*size)
				if err != nil {
					return err
				}
				defer in.Close()
				got := make([]byte, 4*size)
				for part := got; len(part) > 0; part = part[1024:] {
					if _, err := io.ReadFull(in, part[:1024]); err != nil {
						return err
					}
					time.Sleep(time.Millisecond) // as if on a network
				}
				if !bytes.Equal(got, data[off:off+len(got)]) {
					return errors.New("other bytes")
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := disk.n.Load(); n != frames {
			t.Errorf("%d frames were decoded, want %d", n, frames)
		}
	})
}

// A frame that is not read on keeps nobody from its room.
func TestClaimsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 15
		data := text(1, 4*size)
		file := write(t, WriterOptions{Format: Zstd, FrameSize: size}, []part{{false, data}})
		r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{MaxMemory: size})
		var lazy []io.ReadCloser
		for i := range 4 {
			in, err := r.Open(t.Context(), int64(i*size), size)
			if err != nil {
				t.Fatal(err)
			}
			lazy = append(lazy, in)
			if _, err := io.ReadFull(in, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		for i, in := range lazy {
			rest, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(rest, data[i*size+10:(i+1)*size]) {
				t.Errorf("frame %d: %d bytes, %v", i, len(rest), err)
			}
			in.Close()
		}
	})
}
