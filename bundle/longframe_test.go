package bundle

import (
	"bytes"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
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
