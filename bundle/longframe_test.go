package bundle

import (
	"bytes"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

func TestLongFrames(t *testing.T) {
	raw := compactFixture(t, 4<<20).writeAll(compress.WriterOptions{Format: compress.Zstd, Level: compress.Fastest})
	b, err := openBytes(t, raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(b.table.Frames, compress.Frame.Long)
	if i < 0 {
		t.Fatalf("no frame of %v is long", b.table.Frames)
	}
	long := longBundle{raw, b, b.table.Frames[i]}
	t.Run("whole", long.testWhole)
	t.Run("damaged", long.testDamaged)
	t.Run("cut short", long.testCutShort)
	t.Run("without heads", long.testWithoutHeads)
	t.Run("read by two at once", long.testTwoReaders)
}

// longBundle is a compact bundle whose plain layers are in one long frame.
type longBundle struct {
	raw []byte
	b   *Bundle
	f   compress.Frame
}

func (l longBundle) testWhole(t *testing.T) {
	for _, m := range slices.Backward(l.b.Head().Members) { // the frame is decoded again for each
		if m.Offset < l.f.PlainOffset {
			break
		}
		whole, err := readBlob(t, l.b, m.Descriptor(), 0)
		if err != nil || digest.FromBytes(whole) != m.Digest {
			t.Errorf("%s: %d bytes, %v", m.Digest, len(whole), err)
		}
	}
	if err := drain(t, l.raw); err != nil {
		t.Errorf("from a pipe: %v", err)
	}
	l.verify(t, l.raw, func(Member) bool { return true })
}

// verify verifies raw and returns the damage. No member may be damaged of which whole holds.
func (l longBundle) verify(t *testing.T, raw []byte, whole func(Member) bool) []Damage {
	t.Helper()
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hit := map[digest.Digest]bool{}
	for _, d := range report.Damage {
		hit[d.Digest] = true
	}
	for _, m := range l.b.Head().Members {
		if whole(m) && hit[m.Digest] {
			t.Errorf("the member at %d is damaged, the frame has the plain bytes %d to %d", m.Offset, l.f.PlainOffset, l.f.PlainOffset+l.f.PlainSize)
		}
	}
	return report.Damage
}

// before reports whether the member ends before the middle of the frame.
func (l longBundle) before(m Member) bool {
	return m.Offset+span(m.Size) < l.f.PlainOffset+l.f.PlainSize/2
}

// behind reports whether the member lies behind the frame.
func (l longBundle) behind(m Member) bool { return m.Offset >= l.f.PlainOffset+l.f.PlainSize }

func (l longBundle) testDamaged(t *testing.T) {
	raw := bytes.Clone(l.raw)
	at := l.f.Offset + l.f.Size*2/3
	clear(raw[at : at+64])
	whole := func(m Member) bool { return l.before(m) || l.behind(m) }
	damage := l.verify(t, raw, whole)
	if len(damage) == 0 {
		t.Error("nothing is damaged")
	}
	for _, d := range damage {
		if d.Offset < l.f.Offset || d.Offset+d.Length > l.f.Offset+l.f.Size {
			t.Errorf("damage outside of the frame: %+v", d)
		}
	}
	b, err := openBytes(t, raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range b.Head().Members {
		if _, err := readBlob(t, b, m.Descriptor(), 0); whole(m) && err != nil {
			t.Errorf("the member at %d: %v", m.Offset, err)
		}
	}
	if err := drain(t, raw); err == nil {
		t.Error("from a pipe nothing is damaged")
	}
}

func (l longBundle) testCutShort(t *testing.T) {
	if damage := l.verify(t, l.raw[:l.f.Offset+l.f.Size*2/3], l.before); len(damage) == 0 {
		t.Error("nothing is damaged")
	}
}

func (l longBundle) testWithoutHeads(t *testing.T) {
	raw := bytes.Clone(l.raw)
	zero(t, raw, l.b, l.b.layout.segments[2])
	zero(t, raw, l.b, l.b.layout.segments[l.b.layout.tail+2])
	l.verify(t, raw, func(m Member) bool { return m.Offset >= l.f.PlainOffset })
}

// countedRange counts how many bytes are read of a range of the file.
type countedRange struct {
	io.ReaderAt
	from, to int64
	n        atomic.Int64
}

func (c *countedRange) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n.Add(max(0, min(off+int64(n), c.to)-max(off, c.from)))
	return n, err
}

// Two that open members of a frame, with one decoder for both, take turns: the frame is decoded once.
func (l longBundle) testTwoReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := &countedRange{ReaderAt: bytes.NewReader(l.raw), from: l.f.Offset, to: l.f.Offset + l.f.Size}
		b, err := Open(t.Context(), file, int64(len(l.raw)), Options{Reader: compress.ReaderOptions{MaxMemory: 1}})
		if err != nil {
			t.Fatal(err)
		}
		members := slices.DeleteFunc(slices.Clone(l.b.Head().Members), func(m Member) bool {
			return !l.b.inLongFrame(m)
		})
		first, last := members[0].Descriptor(), members[len(members)-1].Descriptor()
		const skip = 1000
		r, err := b.Open(t.Context(), oci.Repository{}, first, skip)
		if err != nil {
			t.Fatal(err)
		}
		other := make(chan error)
		go func() {
			raw, err := readBlob(t, b, last, 0)
			if err == nil && digest.FromBytes(raw) != last.Digest {
				err = oci.ErrCorrupt
			}
			other <- err
		}()
		synctest.Wait() // until the other one waits, too
		raw, err := io.ReadAll(r)
		if err != nil || int64(len(raw)) != first.Size-skip {
			t.Errorf("%d bytes of %d from %d: %v", len(raw), first.Size, skip, err)
		}
		r.Close()
		if err := <-other; err != nil {
			t.Error(err)
		}
		if n := file.n.Load(); n > l.f.Size {
			t.Errorf("%d bytes were read of a frame of %d", n, l.f.Size)
		}
	})
}
