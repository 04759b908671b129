package compress

import (
	"encoding/binary"
	"io"
)

const (
	seekEntrySize  = 12 // size in the file, plain size, checksum
	seekFooterSize = 9  // number of entries, descriptor, magic
	seekDescriptor = 0x80
)

// seekTableEnd is the magic of the seekable format, the last bytes of the file.
var seekTableEnd = []byte{0xB1, 0xEA, 0x92, 0x8F}

// A seekTable gathers the entries of the table at the end of a zstd file.
type seekTable struct {
	frames  int
	entries []byte
}

func (t *seekTable) add(frame []byte, plain int64) (size int64, sum uint32) {
	size, sum = int64(len(frame)), sumOf(frame)
	t.addSizes(size, plain, sum)
	return size, sum
}

// addSizes appends the entries of the next data frame and, but for the first, of the stamp before it.
func (t *seekTable) addSizes(size, plain int64, sum uint32) {
	if t.frames > 0 {
		t.entry(stampSize, 0, 0)
	}
	t.entry(uint32(size), uint32(plain), sum)
	t.frames++
}

func (t *seekTable) entry(size, plain, sum uint32) {
	for _, v := range [...]uint32{size, plain, sum} {
		t.entries = binary.LittleEndian.AppendUint32(t.entries, v)
	}
}

// finish returns the whole table: a skippable frame.
func (t *seekTable) finish() []byte {
	n := len(t.entries)
	b := make([]byte, 0, skippableHead+n+seekFooterSize)
	b = binary.LittleEndian.AppendUint32(b, seekTableMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(n+seekFooterSize))
	b = append(b, t.entries...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n/seekEntrySize))
	b = append(b, seekDescriptor)
	return append(b, seekTableEnd...)
}

func (*seekTable) start() []byte { return nil }

// lead returns the stamp of frame n.
func (*seekTable) lead(dst []byte, n int, plainOffset int64, id [32]byte) []byte {
	if n == 0 {
		return dst
	}
	return stamp{id: id, number: uint64(n), plainOffset: uint64(plainOffset)}.appendTo(dst)
}

// readSeekTable reads the seek table at the end of a zstd file.
func readSeekTable(r io.ReaderAt, size int64) (*Table, error) {
	entries, err := readSeekFooter(r, size)
	if err != nil {
		return nil, err
	}
	t := &Table{Format: Zstd, FileSize: size}
	start := size - skippableHead - entries*seekEntrySize - seekFooterSize
	t.Frames = make([]Frame, 0, (entries+1)/2)
	// Piece by piece: the raw table need not be in memory beside what it becomes.
	buf := make([]byte, min(entries, 4096)*seekEntrySize)
	off, pos := int64(0), start+skippableHead
	for left := entries; left > 0; {
		n := min(left, 4096)
		p := buf[:n*seekEntrySize]
		if err := readFullAt(r, p, pos); err != nil {
			return nil, readError(pos, "entries of the seek table", err)
		}
		for ; len(p) > 0; p = p[seekEntrySize:] {
			if off, err = t.addEntry(p, off, start); err != nil {
				return nil, err
			}
		}
		pos += n * seekEntrySize
		left -= n
	}
	if off != start {
		return nil, tableError(start, "its frames end at byte %d", off)
	}
	return t, nil
}

// readSeekFooter checks what stands around the entries of the seek table and returns their number.
func readSeekFooter(r io.ReaderAt, size int64) (int64, error) {
	if size < skippableHead+seekFooterSize {
		return 0, tableError(0, "%d bytes are too few for a seek table", size)
	}
	var p [seekFooterSize]byte
	if err := readFullAt(r, p[:], size-seekFooterSize); err != nil {
		return 0, readError(size-seekFooterSize, "end of the seek table", err)
	}
	if string(p[5:]) != string(seekTableEnd) {
		return 0, tableError(size, "the file does not end in a seek table (was it cut short?)")
	}
	if p[4] != seekDescriptor {
		return 0, tableError(size-seekFooterSize, "descriptor %#x, want %#x", p[4], seekDescriptor)
	}
	n := int64(binary.LittleEndian.Uint32(p[:]))
	start := size - skippableHead - n*seekEntrySize - seekFooterSize
	switch {
	case n > 2*MaxFrames:
		return 0, tableError(size-seekFooterSize, "it claims %d entries, the limit is %d", n, 2*MaxFrames)
	case start < 0:
		return 0, tableError(size-seekFooterSize, "it claims %d entries in a file of %d bytes", n, size)
	case n > 0 && n%2 == 0:
		return 0, tableError(size-seekFooterSize, "%d entries cannot be frames with a stamp before each but the first", n)
	}
	var h [skippableHead]byte
	if err := readFullAt(r, h[:], start); err != nil {
		return 0, readError(start, "begin of the seek table", err)
	}
	if binary.LittleEndian.Uint32(h[:]) != seekTableMagic ||
		int64(binary.LittleEndian.Uint32(h[4:])) != n*seekEntrySize+seekFooterSize {
		return 0, tableError(start, "no seek table of %d entries begins here", n)
	}
	return n, nil
}

// addEntry takes the next entry of the seek table, of what stands at byte off of the file, and returns where it ends,
// which is not past limit.
func (t *Table) addEntry(p []byte, off, limit int64) (int64, error) {
	size := int64(binary.LittleEndian.Uint32(p))
	plain := int64(binary.LittleEndian.Uint32(p[4:]))
	sum := binary.LittleEndian.Uint32(p[8:])
	n := len(t.Frames)
	lead := int64(0)
	if n > 0 {
		lead = off - t.Frames[n-1].end()
	}
	if n > 0 && lead == 0 { // the stamp before the next frame
		if size != stampSize || plain != 0 || sum != 0 {
			return 0, tableError(limit, "the entry before frame %d is not that of a stamp", n)
		}
	} else {
		if plain == 0 || plain > MaxLongFrame || size == 0 || size > maxEncoded(plain) {
			return 0, tableError(limit, "it claims %d bytes with %d plain bytes for frame %d", size, plain, n)
		}
		t.Frames = append(t.Frames, Frame{
			Number: n, Offset: off, Size: size, Lead: lead,
			PlainOffset: t.PlainSize, PlainSize: plain, Sum: sum,
		})
		t.PlainSize += plain
	}
	if off+size > limit {
		return 0, tableError(limit, "frame %d ends at byte %d, past the begin of the table", n, off+size)
	}
	return off + size, nil
}
