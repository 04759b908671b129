package compress

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Damage is a range of a file that ScanTable could not make sense of.
type Damage struct {
	Offset, Size int64 // in the file
	PlainOffset  int64
	PlainSize    int64 // plain bytes that are lost or in doubt; -1 when nothing tells how many
	Reason       string
}

// ScanTable finds the frames of a file of format f without its table, from header to header. A zstd file is taken up
// again at the next stamp after damage; frames whose place is known from the stamps around them are in the table, and
// in the damage too. An xz file is read up to the first damage. A long frame behind which nothing was found, as that in
// which a file was cut short, is in the table with what there is of it, and in the damage. The content of frames is not
// proved. Errors of r that have a method UnreadableTo() int64 tell up to which place nothing can be read, which is passed over in
// one go. An error comes back only when nothing was found.
func ScanTable(r io.ReaderAt, size int64, f Format) (*Table, []Damage, error) {
	s := &scan{cursor: fileCursor{r: r, size: size}, table: Table{Format: f, FileSize: size}}
	switch f {
	case None:
		t, err := plainTable(size)
		return t, nil, err
	case Zstd:
		s.zstd()
		s.checkIDs()
	case XZ:
		s.xz()
	}
	t := &s.table
	if n := len(t.Frames); n > 0 {
		t.PlainSize = t.Frames[n-1].plainEnd()
	} else if len(s.damage) > 0 {
		return nil, s.damage, tableError(0, "no frame was found: %s", s.damage[0].Reason)
	}
	return t, s.damage, nil
}

// scan is the state of ScanTable. The cursor stands before the next thing in the file, which is that of frame number
// at plain.
type scan struct {
	cursor fileCursor
	table  Table
	damage []Damage
	number int
	plain  int64
	lead   int64         // bytes before the next frame
	stamps []placedStamp // that were followed
	walked Frame         // the frame that was walked last, as far as its header tells
}

// placedStamp is a stamp and its place in the file.
type placedStamp struct {
	stamp
	off int64
}

// hurt notes that the file is damaged from start to the cursor.
func (s *scan) hurt(start, plainSize int64, err error) {
	s.damage = append(s.damage, Damage{
		Offset: start, Size: s.cursor.off - start, PlainOffset: s.plain, PlainSize: plainSize, Reason: err.Error(),
	})
}

// add appends the next frame.
func (s *scan) add(f Frame) {
	f.Number, f.PlainOffset, f.Lead = s.number, s.plain, s.lead
	s.table.Frames = append(s.table.Frames, f)
	s.number++
	s.plain += f.PlainSize
	s.lead = 0
}

// zstd goes through a zstd file.
func (s *scan) zstd() {
	for s.number < MaxFrames {
		start := s.cursor.off
		more, err := s.zstdNext()
		if err != nil {
			more = s.resync(start, err)
		}
		if !more {
			return
		}
	}
}

// zstdNext takes the stamp, frame or table at the cursor. It returns false after the table.
func (s *scan) zstdNext() (bool, error) {
	start := s.cursor.off
	p, err := s.cursor.next(zstdMagicSize)
	if err != nil {
		return false, fmt.Errorf("no seek table at the end: %w", unexpected(err))
	}
	switch binary.LittleEndian.Uint32(p) {
	case zstdMagic:
		if s.number > 0 && s.lead == 0 {
			return false, errors.New("no stamp before the frame")
		}
		z, err := walkZstd(&s.cursor)
		s.walked = Frame{Offset: start, PlainSize: z.plain}
		if err == nil {
			err = s.plausible()
		}
		if err != nil {
			return false, err
		}
		s.add(Frame{Offset: start, Size: z.size, PlainSize: z.plain, Sum: z.sum})
		return true, nil
	case stampMagic:
		if s.number == 0 || s.lead > 0 {
			return false, errors.New("a stamp where none belongs")
		}
		return true, s.takeStamp(start)
	case seekTableMagic:
		t, err := readSeekTable(s.cursor.r, s.cursor.size)
		if err == nil && t.end() != start {
			err = tableError(start, "its frames end at byte %d", t.end())
		}
		s.cursor.off = s.cursor.size
		if err != nil {
			s.hurt(start, 0, err)
		}
		return false, nil
	}
	return false, fmt.Errorf("neither frame nor stamp begins with %x", p)
}

// plausible looks at what follows a frame: when that is no part of a file like ours, the frame's headers have led
// astray.
func (s *scan) plausible() error {
	c := s.cursor
	p, err := c.next(zstdMagicSize)
	if errors.Is(err, io.EOF) || unreadableTo(err) > c.off {
		return nil
	}
	if err == nil {
		switch binary.LittleEndian.Uint32(p) {
		case stampMagic, seekTableMagic:
			return nil
		}
		// The stamp alone may be damaged.
		if c.skip(stampSize-zstdMagicSize) == nil {
			if p, err := c.next(zstdMagicSize); err == nil && isZstdMagic(p) {
				return nil
			}
		}
	}
	return errors.New("its blocks do not lead to the next frame")
}

// takeStamp takes the stamp that begins at start.
func (s *scan) takeStamp(start int64) error {
	st, err := s.readStamp(start)
	if err == nil {
		err = st.matches(s.number, s.plain)
	}
	if err != nil {
		return err
	}
	s.follow(start, st)
	return nil
}

// readStamp reads the stamp at off.
func (s *scan) readStamp(off int64) (st stamp, err error) {
	var p [stampSize]byte
	if s.cursor.size-off < stampSize {
		return st, io.ErrUnexpectedEOF
	}
	if err := readFullAt(s.cursor.r, p[:], off); err != nil {
		return st, err
	}
	return parseStamp(p[:])
}

// follow puts the cursor behind the stamp st at off.
func (s *scan) follow(off int64, st stamp) {
	s.cursor.off = off + stampSize
	s.lead = stampSize
	s.stamps = append(s.stamps, placedStamp{st, off})
}

// commonID returns the content id that most stamps have so far.
func (s *scan) commonID() (id [32]byte, ok bool) {
	votes := map[[32]byte]int{}
	for _, st := range s.stamps {
		if votes[st.id]++; votes[st.id] > votes[id] {
			id = st.id
		}
	}
	return id, len(s.stamps) > 0
}

// checkIDs notes the stamps whose content id is not that of most.
func (s *scan) checkIDs() {
	id, _ := s.commonID()
	for _, st := range s.stamps {
		if st.id != id {
			s.damage = append(s.damage, Damage{
				Offset: st.off, Size: stampSize, PlainOffset: int64(st.plainOffset),
				Reason: fmt.Sprintf("stamp: content id %x, want %x", st.id, id),
			})
		}
	}
	slices.SortStableFunc(s.damage, func(a, b Damage) int { return cmp.Compare(a.Offset, b.Offset) })
}

// resync goes on after damage that begins at start: right behind a damaged stamp, else at the next stamp that
// continues the file, else at its table. It returns false when the file is at its end.
func (s *scan) resync(start int64, why error) bool {
	if s.number > 0 && s.lead == 0 && s.magicAt(start+stampSize) == zstdMagic {
		s.cursor.off = start + stampSize
		s.hurt(start, 0, fmt.Errorf("stamp: %w", why))
		s.lead = stampSize
		return true
	}
	id, hasID := s.commonID()
	for off := start + 1; ; off++ {
		off = s.search(off)
		if off < 0 {
			break
		}
		st, err := s.readStamp(off)
		if err == nil && (!hasID || st.id == id) && s.reachable(st) && s.magicAt(off+stampSize) == zstdMagic {
			s.jump(start, off, st, why)
			return true
		}
	}
	s.cursor.off = s.cursor.size
	s.hurtLast(start, why)
	return false
}

// hurtLast notes that all of the file from start on is damaged. A long frame that begins there can be read up to that.
func (s *scan) hurtLast(start int64, why error) {
	s.hurt(start, -1, why)
	f := s.walked
	if f.Size = s.cursor.size - start; f.Offset == start && f.Long() {
		f.Size = min(f.Size, maxEncoded(f.PlainSize))
		s.add(f)
	}
}

// magicAt returns the four bytes at off as a number, 0 when they cannot be read.
func (s *scan) magicAt(off int64) uint32 {
	c := s.cursor
	if c.off = off; off > c.size {
		return 0
	}
	p, err := c.next(zstdMagicSize)
	if err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(p)
}

// reachable reports whether st can come after what was found so far.
func (s *scan) reachable(st stamp) bool {
	return st.number > uint64(s.number) && st.number < MaxFrames &&
		st.plainOffset > uint64(s.plain) && st.plainOffset-uint64(s.plain) <= (st.number-uint64(s.number))*MaxLongFrame
}

// jump goes on at the stamp st at off after damage that begins at start.
func (s *scan) jump(start, off int64, st stamp, why error) {
	lost := int64(st.plainOffset) - s.plain
	s.cursor.off = off
	s.hurt(start, lost, why)
	// Where one frame alone is hurt, its place is known for those who can use a part of it.
	one := st.number == uint64(s.number)+1 && (s.number == 0 || s.lead > 0)
	if size := off - start; one && size <= maxEncoded(lost) {
		s.add(Frame{Offset: start, Size: size, PlainSize: lost, Sum: s.sumBefore(off)})
	}
	s.number, s.plain = int(st.number), int64(st.plainOffset)
	s.follow(off, st)
}

// sumBefore returns the checksum of the frame that ends at off.
func (s *scan) sumBefore(off int64) uint32 { return s.magicAt(off - zstdSumSize) }

// Search steps: how much is looked at in one go, and how much is left out where the disk cannot be read.
const (
	searchStep = 1 << 20
	sectorSize = 4 << 10
)

// FindStamp returns the content id of the first stamp that lies between two places of a zstd file; ok is false when none
// does. What cannot be read is passed over.
func FindStamp(r io.ReaderAt, from, to int64) (id [32]byte, ok bool) {
	s := &scan{cursor: fileCursor{r: r, size: to}}
	for off := s.search(from); off >= 0; off = s.search(off + 1) {
		if st, err := s.readStamp(off); err == nil {
			return st.id, true
		}
	}
	return id, false
}

// search returns the place of the next bytes from off on that look like a stamp, or -1.
func (s *scan) search(off int64) int64 {
	buf := make([]byte, searchStep)
	for off < s.cursor.size {
		p := buf[:min(searchStep, s.cursor.size-off)]
		if readFullAt(s.cursor.r, p, off) != nil {
			p = p[:min(len(p), sectorSize)]
			if err := readFullAt(s.cursor.r, p, off); err != nil {
				off = max(off+int64(len(p)), unreadableTo(err))
				continue
			}
		}
		if i := bytes.Index(p, stampStart); i >= 0 {
			return off + int64(i)
		}
		off += int64(max(1, len(p)-len(stampStart)+1))
	}
	return -1
}

// unreadableTo returns what err says of how far nothing can be read, 0 when it does not.
func unreadableTo(err error) int64 {
	var hole interface{ UnreadableTo() int64 }
	if errors.As(err, &hole) {
		return hole.UnreadableTo()
	}
	return 0
}

// xz goes through an xz file up to the first damage.
func (s *scan) xz() {
	check := byte(xzCheckCRC32)
	p, err := s.cursor.next(xzHeaderSize)
	if err == nil {
		check, err = parseXZHeader(p)
	}
	if err != nil {
		check = xzCheckCRC32 // as this package writes it
		s.cursor.off = min(xzHeaderSize, s.cursor.size)
		s.hurt(0, 0, fmt.Errorf("header of the stream: %w", err))
	}
	index := &xzIndex{check: check}
	s.lead = xzHeaderSize
	for s.number < MaxFrames {
		start := s.cursor.off
		first, err := s.cursor.next(1)
		if err == nil && first[0] == 0 {
			s.xzEnd(index, start)
			return
		}
		var b xzBlock
		if err == nil {
			b, err = walkXZ(&s.cursor, first[0], check)
		}
		if err != nil {
			s.walked = Frame{Offset: start, PlainSize: b.plain, check: check}
			s.cursor.off = s.cursor.size
			s.hurtLast(start, unexpected(err))
			return
		}
		index.addBlock(b)
		s.add(Frame{Offset: start, Size: b.size(check), PlainSize: b.plain, check: check})
	}
}

// xzEnd compares the index at start with the blocks that were found.
func (s *scan) xzEnd(index *xzIndex, start int64) {
	want := index.finish()
	got := make([]byte, min(int64(len(want)), s.cursor.size-start))
	err := readFullAt(s.cursor.r, got, start)
	if err == nil && (!bytes.Equal(got, want) || start+int64(len(want)) != s.cursor.size) {
		err = errors.New("it does not agree with the blocks before it")
	}
	s.cursor.off = s.cursor.size
	if err != nil {
		s.hurt(start, 0, fmt.Errorf("index: %w", err))
	}
}
