package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// lowerLong makes frames of more than n plain bytes long until the test ends.
func lowerLong(t testing.TB, n int64) {
	before := longFrom
	longFrom = n
	t.Cleanup(func() { longFrom = before })
}

// encodeZstd returns a zstd frame of plain with at least this window.
func encodeZstd(t testing.TB, plain []byte, window int) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(1<<bits.Len(uint(window-1))))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e.ResetContentSize(&b, int64(len(plain)))
	if _, err := e.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// joinFrames returns the file of these frames, with stamps and seek table.
func joinFrames(frames [][]byte, plain []int64) []byte {
	table := &seekTable{}
	var file []byte
	at := int64(0)
	for i, f := range frames {
		file = table.lead(file, i, at, [32]byte{1})
		file = append(file, f...)
		table.add(f, plain[i])
		at += plain[i]
	}
	return append(file, table.finish()...)
}

// longFile returns a file whose frames have these plain bytes.
func longFile(t testing.TB, window int, parts ...[]byte) []byte {
	t.Helper()
	var frames [][]byte
	var sizes []int64
	for _, p := range parts {
		frames = append(frames, encodeZstd(t, p, window))
		sizes = append(sizes, int64(len(p)))
	}
	return joinFrames(frames, sizes)
}

// longParts are the frames of a file of which those with more than 1 MiB are long: short, long, short, long, long.
func longParts() [][]byte {
	return [][]byte{text(1, 5000), text(2, 3<<20), text(3, 1<<20), append(random(4, 1<<20), text(5, 1<<20)...), text(6, 1<<20+1)}
}

func TestLongFramesRoundTrip(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 1<<20)
	parts := longParts()
	testLongRoundTrip(t, Zstd, ReaderOptions{}, longFile(t, 1<<20, parts...), bytes.Join(parts, nil))
	lowerLong(t, 50_000)
	want := plainOf(mix())
	for name, o := range engines(t) {
		if o.Format == None {
			continue
		}
		o.FrameSize = 1 << 16
		t.Run(name, func(t *testing.T) {
			testLongRoundTrip(t, o.Format, ReaderOptions{XZProgram: o.XZProgram}, write(t, o, mix()), want)
		})
	}
}

// testLongRoundTrip reads file in every way there is.
func testLongRoundTrip(t *testing.T, f Format, o ReaderOptions, file, want []byte) {
	t.Helper()
	got, err := scanAll(file, f, o)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Scanner: %d bytes, %v, want %d", len(got), err, len(want))
	}
	table := readTable(t, file)
	if bad, err := Check(t.Context(), bytes.NewReader(file), table, o); err != nil || len(bad) > 0 {
		t.Errorf("Check: %v, %v", bad, err)
	}
	if got, _, err := ScanTable(bytes.NewReader(file), int64(len(file)), f); err != nil || fmt.Sprint(got) != fmt.Sprint(table) {
		t.Errorf("ScanTable: %v, %v, want %v", got, err, table)
	}
	r := NewReader(bytes.NewReader(file), table, o)
	n := len(want)
	for _, tt := range [][2]int{{0, n}, {0, 6000}, {n / 3, n / 2}, {n - 1, 1}, {n/2 + 1, 20_000}, {n, 0}} {
		got, err := readRange(r, int64(tt[0]), int64(tt[1]))
		if err != nil || !bytes.Equal(got, want[tt[0]:][:tt[1]]) {
			t.Errorf("%d bytes at %d: %d bytes, %v", tt[1], tt[0], len(got), err)
		}
	}
}

func TestTheLargestWindow(t *testing.T) {
	zstd := program(t, "zstd")
	// What is repeated is almost a window away.
	plain := make([]byte, MaxWindow+1<<20)
	copy(plain, random(1, 1<<20))
	copy(plain[MaxWindow-1<<20:], plain[:1<<20])
	frame := run(t, plain, zstd, "-1", "--long=27", "-q", "-c", fmt.Sprintf("--stream-size=%d", len(plain)))
	if most := 3 << 19; len(frame) > most {
		t.Fatalf("%d bytes, want at most %d: the program did not find what is repeated", len(frame), most)
	}
	file := joinFrames([][]byte{frame}, []int64{int64(len(plain))})
	f := readTable(t, file).Frames[0]
	check := func(how string, r io.Reader) {
		sum := sha256.New()
		if n, err := io.Copy(sum, r); err != nil || n != int64(len(plain)) || [32]byte(sum.Sum(nil)) != sha256.Sum256(plain) {
			t.Errorf("%s: %d bytes, %v", how, n, err)
		}
	}
	rc := NewDecoder(Zstd, ReaderOptions{}).Stream(t.Context(), f, bytes.NewReader(file[:f.Size]))
	defer rc.Close()
	check("Decoder", rc)
	s := NewScanner(bytes.NewReader(file), Zstd, ReaderOptions{})
	defer s.Close()
	if _, _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	check("Scanner", s.Stream())
}

func TestALongFrameIsCutShort(t *testing.T) {
	for name, o := range engines(t) {
		if o.Format == None {
			continue
		}
		t.Run(name, func(t *testing.T) {
			lowerLong(t, 30_000)
			o.FrameSize = 1 << 20
			plain := append(text(1, 5000), append(random(2, 400_000), text(3, 200_000)...)...)
			whole := write(t, o, []part{{false, plain[:5000]}, {true, nil}, {false, plain[5000:]}})
			f := readTable(t, whole).Frames[1]
			file := whole[:f.Offset+f.Size/2]
			table, damage, err := ScanTable(bytes.NewReader(file), int64(len(file)), o.Format)
			if err != nil || len(table.Frames) != 2 || len(damage) != 1 || damage[0].Offset != f.Offset {
				t.Fatalf("%v, %v, %v, want two frames and damage at %d", table, damage, err, f.Offset)
			}
			r := NewReader(bytes.NewReader(file), table, ReaderOptions{XZProgram: o.XZProgram})
			got, err := readRange(r, 0, table.PlainSize)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want %v", err, io.ErrUnexpectedEOF)
			}
			if len(got) < 5000 || o.XZProgram == "" && len(got) == 5000 || !bytes.HasPrefix(plain, got) {
				t.Errorf("%d bytes, want a half of %d", len(got), len(plain))
			}
		})
	}
}

func TestALongFrameOfMoreThanIsHeldInMemory(t *testing.T) {
	plain := make([]byte, MaxFramePlain+1)
	copy(plain, text(1, 1<<20))
	copy(plain[len(plain)-1<<20:], text(1, 1<<20))
	file := longFile(t, MaxWindow, text(1, 5000), plain)
	got, err := scanAll(file, Zstd, ReaderOptions{})
	if err != nil || !bytes.Equal(got[5000:], plain) {
		t.Errorf("Scanner: %d bytes, %v", len(got), err)
	}
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{})
	if got, err := readRange(r, 5000, int64(len(plain))); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Reader: %d bytes, %v", len(got), err)
	}
}

// readBytes counts the bytes that are read.
type readBytes struct {
	io.ReaderAt
	n int64
}

func (c *readBytes) ReadAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.ReaderAt.ReadAt(p, off)
}

func TestMembersOfALongFrameInOrderCostOneDecoding(t *testing.T) {
	lowerLong(t, 1<<20)
	parts := longParts()
	file := longFile(t, 1<<20, parts...)
	want := bytes.Join(parts, nil)
	disk := &readBytes{ReaderAt: bytes.NewReader(file)}
	r := NewReader(disk, readTable(t, file), ReaderOptions{Jobs: 1})
	for at := 0; at < len(want); at += 10_000 {
		// A header first, then what follows it, as a bundle is read.
		for _, part := range [][2]int{{at, 512}, {at + 512, 9000}} {
			n := min(part[1], max(0, len(want)-part[0]))
			off := min(part[0], len(want))
			got, err := readRange(r, int64(off), int64(n))
			if err != nil || !bytes.Equal(got, want[off:off+n]) {
				t.Fatalf("%d bytes at %d: %d bytes, %v", n, off, len(got), err)
			}
		}
	}
	if most := int64(len(file)); disk.n > most {
		t.Errorf("%d bytes were read of a file of %d", disk.n, most)
	}
}

func TestManyReadersOfLongFramesShareOneDecoder(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 1<<20)
	parts := longParts()
	file := longFile(t, 1<<20, parts...)
	want := bytes.Join(parts, nil)
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{MaxMemory: 1})
	var g errgroup.Group
	for i := range 16 {
		g.Go(func() error {
			off := i * 400_000
			got, err := readRange(r, int64(off), 300_000)
			if err == nil && !bytes.Equal(got, want[off:off+300_000]) {
				err = errors.New("other bytes")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(r.runs.idle); n != 1 {
		t.Errorf("%d decoders, want 1", n)
	}
}

// damaged is a file of three frames of which the second is long, and damaged.
type damaged struct {
	name  string
	hurt  func(f Frame, file []byte)
	given int64 // how many plain bytes of the frame are there at least
}

func longDamages() []damaged {
	return []damaged{
		{"magic", func(f Frame, b []byte) { b[f.Offset] ^= 1 }, 0},
		{"claims more", func(f Frame, b []byte) { b[f.Offset+6]++ }, 0},
		{"claims less", func(f Frame, b []byte) { b[f.Offset+6]-- }, 0},
		{"checksum", func(f Frame, b []byte) { b[f.end()-1] ^= 1 }, f2MiB},
		{"content of the last block", func(f Frame, b []byte) { b[f.end()-9] ^= 1 }, f2MiB - 256<<10},
		{"content in the middle", func(f Frame, b []byte) { clear(b[f.Offset+f.Size/2:][:100]) }, f2MiB/2 - 256<<10},
	}
}

const f2MiB = 2 << 20

func TestOfADamagedLongFrameTheBeginIsRead(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 1<<20)
	parts := [][]byte{text(1, 5000), random(2, f2MiB), text(3, 6000)}
	whole := longFile(t, 1<<20, parts...)
	table := readTable(t, whole)
	f := table.Frames[1]
	for _, tt := range longDamages() {
		t.Run(tt.name, func(t *testing.T) {
			file := bytes.Clone(whole)
			tt.hurt(f, file)
			check := func(how string, got []byte, err error) {
				t.Helper()
				var bad *FrameError
				if !errors.As(err, &bad) || !errors.Is(err, ErrCorrupt) || bad.Number != 1 || bad.Offset != f.Offset {
					t.Fatalf("%s: %v, want that frame 1 at byte %d is damaged", how, err, f.Offset)
				}
				if n := int64(len(got)); n < tt.given || bad.PlainOffset != f.PlainOffset+n {
					t.Errorf("%s: %d bytes of the frame, at least %d are whole: %v at plain byte %d", how, n, tt.given, err, bad.PlainOffset)
				}
				// What is damaged may have been given, but not what was before it.
				if !bytes.HasPrefix(got, parts[1][:tt.given]) {
					t.Errorf("%s: other bytes", how)
				}
			}
			r := NewReader(bytes.NewReader(file), table, ReaderOptions{})
			got, err := readRange(r, f.PlainOffset, f.PlainSize+6000)
			check("Reader", got, err)
			got, err = readRange(r, f.PlainOffset, f.PlainSize+6000)
			check("Reader, once more", got, err)
			if got, err := readRange(r, f.plainEnd(), 6000); err != nil || !bytes.Equal(got, parts[2]) {
				t.Errorf("the frame after it: %d bytes, %v", len(got), err)
			}
			rc := NewDecoder(Zstd, ReaderOptions{}).Stream(t.Context(), f, bytes.NewReader(file[f.Offset:f.end()]))
			got, err = io.ReadAll(rc)
			rc.Close()
			check("Decoder", got, err)
			got, err = scanAll(file, Zstd, ReaderOptions{})
			check("Scanner", got[min(5000, len(got)):], err)
			if bad, err := Check(t.Context(), bytes.NewReader(file), table, ReaderOptions{}); err != nil || len(bad) != 1 || bad[0].Number != 1 {
				t.Errorf("Check: %v, %v", bad, err)
			}
		})
	}
}

func TestStreamRefusesFramesBeyondTheLimits(t *testing.T) {
	for name, f := range map[string]Frame{
		"no size":                  {PlainSize: 10},
		"no plain bytes":           {Size: 10},
		"too many plain bytes":     {Size: 10, PlainSize: MaxLongFrame + 1},
		"negative":                 {Size: -1, PlainSize: -1},
		"more bytes than it needs": {Size: 5000, PlainSize: 1},
	} {
		for _, format := range []Format{Zstd, XZ} {
			rc := NewDecoder(format, ReaderOptions{}).Stream(t.Context(), f, endless{t})
			if _, err := io.ReadAll(rc); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v: %s: %v, want %v", format, name, err, ErrCorrupt)
			}
			rc.Close()
		}
	}
}

// endless fails the test when it is read.
type endless struct{ t *testing.T }

func (e endless) Read([]byte) (int, error) {
	e.t.Error("the frame was read")
	return 0, io.EOF
}

func TestAReaderThatWaitsForADecoderCanBeCanceled(t *testing.T) {
	lowerLong(t, 1<<20)
	parts := longParts()
	file := longFile(t, 1<<20, parts...)
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{MaxMemory: 1})
	holder, err := r.Open(t.Context(), 6000, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting, err := r.Open(ctx, 9000, 100)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := io.ReadAll(waiting)
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	waiting.Close()
	// The frames that are not long are no matter of the decoders.
	if got, err := readRange(r, 0, 5000); err != nil || !bytes.Equal(got, parts[0]) {
		t.Errorf("a short frame meanwhile: %d bytes, %v", len(got), err)
	}
	holder.Close()
	if got, err := readRange(r, 5000, 3<<20); err != nil || !bytes.Equal(got, parts[1]) {
		t.Errorf("after it was given back: %d bytes, %v", len(got), err)
	}
}

// standing is a run that stands at the offset pos of frame n.
func standing(n int, pos int64) *longRun {
	return &longRun{ahead: newReadAhead(nil), frame: Frame{Number: n}, pos: pos}
}

func TestWhichDecoderIsTaken(t *testing.T) {
	tests := []struct {
		name     string
		idle     []*longRun // the longest idle first
		room     int
		n        int
		at, want int64 // want is where the run stands; -1 for a new one, -2 for none
	}{
		{"the nearest before it", []*longRun{standing(1, 0), standing(1, 50), standing(1, 20), standing(1, 51)}, 1, 1, 50, 50},
		{"a new one rather than one behind it", []*longRun{standing(1, 60)}, 1, 1, 50, -1},
		{"a new one rather than that of another frame", []*longRun{standing(2, 40)}, 1, 1, 50, -1},
		{"the longest idle when there is no room", []*longRun{standing(2, 40), standing(1, 60)}, 0, 1, 50, 40},
		{"none", nil, 0, 1, 50, -2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &longRuns{idle: tt.idle, room: tt.room, fresh: func() *longRun { return standing(0, -1) }}
			got := int64(-2)
			if r := l.free(Frame{Number: tt.n}, tt.at); r != nil {
				got = r.pos
			}
			if got != tt.want {
				t.Errorf("it stands at %d, want %d", got, tt.want)
			}
		})
	}
}

func TestWhoGetsADecoderThatIsGivenBack(t *testing.T) {
	wait := func(n int, at int64) *waiter { return &waiter{Frame{Number: n}, at, make(chan *longRun, 1)} }
	tests := []struct {
		name    string
		waiting []*waiter // the longest waiting first
		want    int
	}{
		{"the longest waiting", []*waiter{wait(2, 0), wait(1, 10), wait(3, 0)}, 0},
		{"the next ahead of it", []*waiter{wait(2, 0), wait(1, 90), wait(1, 60), wait(1, 40)}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := standing(1, 50)
			l := &longRuns{waiting: slices.Clone(tt.waiting), taken: []*longRun{r}}
			r.mu.Lock()
			l.give(r)
			select {
			case got := <-tt.waiting[tt.want].run:
				if got != r || len(l.waiting) != len(tt.waiting)-1 || len(l.idle) > 0 {
					t.Errorf("%d still wait, %d are idle", len(l.waiting), len(l.idle))
				}
			default:
				t.Error("another one got it, or none")
			}
		})
	}
}

// onceBroken cannot be read the first time.
type onceBroken struct {
	io.ReaderAt
	broken atomic.Bool
}

func (d *onceBroken) ReadAt(p []byte, off int64) (int, error) {
	if off > 100_000 && d.broken.CompareAndSwap(true, false) {
		return 0, errDisk
	}
	return d.ReaderAt.ReadAt(p, off)
}

func TestALongFrameIsReadAgainAfterAnErrorOfTheDisk(t *testing.T) {
	lowerLong(t, 1<<20)
	plain := random(1, 3<<20)
	file := longFile(t, 1<<20, plain)
	disk := &onceBroken{ReaderAt: bytes.NewReader(file)}
	disk.broken.Store(true)
	r := NewReader(disk, readTable(t, file), ReaderOptions{})
	if _, err := readRange(r, 0, 3<<20); !errors.Is(err, errDisk) {
		t.Errorf("%v, want %v", err, errDisk)
	}
	if got, err := readRange(r, 0, 3<<20); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("the second time: %d bytes, %v", len(got), err)
	}
}

func TestWhatIsNotReadOfALongFrameIsPassedOver(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 30_000)
	for name, o := range engines(t) {
		if o.Format == None {
			continue
		}
		o.FrameSize = 1 << 16
		file := write(t, o, mix())
		want := readTable(t, file)
		for _, n := range []int64{0, 1, 40_000} {
			s := NewScanner(bytes.NewReader(file), o.Format, ReaderOptions{XZProgram: o.XZProgram})
			frames := 0
			for {
				f, _, err := s.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || f.Offset != want.Frames[frames].Offset || f.PlainOffset != want.Frames[frames].PlainOffset {
					t.Fatalf("%s: frame %+v, %v, want %+v", name, f, err, want.Frames[frames])
				}
				frames++
				if f.Long() {
					_, _ = io.CopyN(io.Discard, s.Stream(), n)
				}
			}
			if frames != len(want.Frames) {
				t.Errorf("%s: %d frames, want %d", name, frames, len(want.Frames))
			}
			s.Close()
		}
	}
}

func TestAScannerIsClosedInsideOfALongFrame(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 30_000)
	for name, o := range engines(t) {
		if o.Format == None {
			continue
		}
		o.FrameSize = 1 << 20
		file := write(t, o, []part{{false, append(random(1, 600_000), text(1, 400_000)...)}})
		pipe, in := io.Pipe()
		s := NewScanner(pipe, o.Format, ReaderOptions{XZProgram: o.XZProgram})
		// The rest of the file never comes.
		go in.Write(file[:len(file)/2])
		if _, _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s.Stream(), make([]byte, 100_000)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
		if _, _, err := s.Next(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: after Close: %v, want %v", name, err, ErrClosed)
		}
		in.Close()
		pipe.Close()
	}
}

func TestWhoHoldsADecoderMayWaitForAnother(t *testing.T) {
	checkNoGoroutines(t)
	lowerLong(t, 1<<20)
	parts := longParts()
	file := longFile(t, 1<<20, parts...)
	want := bytes.Join(parts, nil)
	r := NewReader(bytes.NewReader(file), readTable(t, file), ReaderOptions{MaxMemory: 1})
	r.runs.patience = time.Millisecond
	// A tree of ranges, each opened while all before it are half read.
	var read func(off int) error
	read = func(off int) error {
		if off >= len(want) {
			return nil
		}
		rc, err := r.Open(t.Context(), int64(off), int64(len(want)-off))
		if err != nil {
			return err
		}
		defer rc.Close()
		begin := make([]byte, 1000)
		if _, err := io.ReadFull(rc, begin); err != nil {
			return err
		}
		if err := read(off + 1_500_000); err != nil {
			return err
		}
		rest, err := io.ReadAll(rc)
		if err == nil && !bytes.Equal(append(begin, rest...), want[off:]) {
			err = errors.New("other bytes")
		}
		return err
	}
	if err := read(6000); err != nil {
		t.Error(err)
	}
	if n := len(r.runs.idle); n != 1 || len(r.runs.taken) > 0 {
		t.Errorf("%d decoders are idle and %d taken, want 1 and none", n, len(r.runs.taken))
	}
}

// bomb returns a zstd frame of n plain bytes, all zero, with a window of 128 MiB.
func bomb(n int64) []byte {
	b := []byte("\x28\xb5\x2f\xfd\x84\x88")
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	sum, zeros := newXXSum(), make([]byte, zstdBlockSize)
	for ; n > 0; n -= zstdBlockSize {
		block := uint32(min(n, zstdBlockSize))<<3 | 1<<1
		if n <= zstdBlockSize {
			block |= 1
		}
		b = append(b, byte(block), byte(block>>8), byte(block>>16), 0)
		sum.Write(zeros[:min(n, zstdBlockSize)])
	}
	return binary.LittleEndian.AppendUint32(b, sum.Sum32())
}

func TestABombTakesTheMemoryOfAWindow(t *testing.T) {
	frame := bomb(MaxLongFrame)
	file := joinFrames([][]byte{frame, frame}, []int64{MaxLongFrame, MaxLongFrame})
	before := allocated()
	s := NewScanner(bytes.NewReader(file), Zstd, ReaderOptions{})
	defer s.Close()
	for range 2 {
		if _, _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, s.Stream()); n != MaxLongFrame || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if _, _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want %v", err, io.EOF)
	}
	// The second frame may have found the decoder of the first one gone.
	if got := allocated() - before; got > 2*longMemory {
		t.Errorf("%d bytes were allocated", got)
	}
	// What is claimed is not allocated before something of it is there.
	before = allocated()
	for n := 10; n < 14; n++ { // the header, and less than a block
		short := NewScanner(bytes.NewReader(frame[:n]), Zstd, ReaderOptions{})
		if _, _, err := short.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, short.Stream()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
		short.Close()
	}
	if got := allocated() - before; got > 10<<20 {
		t.Errorf("%d bytes were allocated for a header", got)
	}
}

// allocated returns how many bytes were allocated so far.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}
