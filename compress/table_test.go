package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"testing"
)

// sparse is a file of size bytes, all zero but its end.
type sparse struct {
	size int64
	end  []byte
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	start := s.size - int64(len(s.end))
	if off+int64(len(p)) > start {
		from := max(0, off-start)
		copy(p[max(0, start-off):], s.end[min(from, int64(len(s.end))):])
	}
	if off+int64(len(p)) > s.size {
		return int(max(0, s.size-off)), io.EOF
	}
	return len(p), nil
}

// rawSeekTable returns a seek table of these numbers: size, plain size and checksum for each entry.
func rawSeekTable(numbers ...uint32) []byte {
	t := &seekTable{}
	for i := 0; i < len(numbers); i += 3 {
		t.entry(numbers[i], numbers[i+1], numbers[i+2])
	}
	return t.finish()
}

// claim sets the number of entries in the footer of a seek table, and its size to go with it.
func claim(table []byte, n uint32) []byte {
	binary.LittleEndian.PutUint32(table[len(table)-seekFooterSize:], n)
	binary.LittleEndian.PutUint32(table[4:], n*seekEntrySize+seekFooterSize)
	return table
}

// rawIndex returns an index and footer of these numbers: the count, then unpadded size and plain size for each block.
func rawIndex(numbers ...uint64) []byte {
	b := []byte{0}
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, make([]byte, xzPad(int64(len(b))))...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return (&xzIndex{check: xzCheckCRC32}).appendFooter(b, len(b))
}

func TestHostileTables(t *testing.T) {
	tests := []struct {
		name string
		size int64 // of the file; 0 is that of the table
		end  []byte
	}{
		{"zstd: more entries than the file has bytes", 0, claim(rawSeekTable(), 1<<20|1)},
		{"zstd: four billion entries", 1 << 50, claim(rawSeekTable(), math.MaxUint32)},
		{"zstd: more frames than the limit", 1 << 50, claim(rawSeekTable(), 2*MaxFrames+1)},
		{"zstd: even number of entries", 1000, rawSeekTable(100, 100, 1, 100, 100, 1)},
		{"zstd: frame of four gigabytes", 1 << 40, rawSeekTable(100, math.MaxUint32, 1)},
		{"zstd: frame past the limit", 1 << 40, rawSeekTable(100, MaxLongFrame+1, 1)},
		{"zstd: bytes without end for one plain byte", 1 << 40, rawSeekTable(math.MaxUint32, 1, 1)},
		{"zstd: first entry is a stamp", 1000, rawSeekTable(stampSize, 0, 0)},
		{"zstd: two data frames in a row", 1000, rawSeekTable(100, 100, 1, 100, 100, 1, 100, 100, 1)},
		{"zstd: stamp of another size", 1000, rawSeekTable(100, 100, 1, 65, 0, 0, 100, 100, 1)},
		{"zstd: stamp with a checksum", 1000, rawSeekTable(100, 100, 1, stampSize, 0, 1, 100, 100, 1)},
		{"zstd: frame of no bytes", 1000, rawSeekTable(0, 100, 1)},
		{"zstd: frames too long for the file", 200, rawSeekTable(300, 300, 1)},
		{"zstd: frames too short for the file", 1000, rawSeekTable(300, 300, 1)},
		{"xz: 2^62 blocks", 1000, rawIndex(1 << 62)},
		{"xz: more blocks than the index has room for", 1000, rawIndex(3, 100, 100)},
		{"xz: size of 2^62", 1000, rawIndex(1, 1<<62, 100)},
		{"xz: plain size of 2^62", 1000, rawIndex(1, 100, 1<<62)},
		{"xz: sizes that overflow to the right sum", 1000, rawIndex(2, 1<<62+400, 100, 1<<62+400, 100)},
		{"xz: block past the limit", 1 << 40, rawIndex(1, 100, MaxLongFrame+1)},
		{"xz: bytes without end for one plain byte", 1 << 40, rawIndex(1, 1<<40-100, 1)},
		{"xz: block of no bytes", 1000, rawIndex(1, 0, 100)},
		{"xz: blocks too long for the file", 200, rawIndex(1, 300, 300)},
		{"xz: blocks too short for the file", 1000, rawIndex(1, 300, 300)},
		{"xz: index longer than the file", 100, (&xzIndex{check: 1}).appendFooter(nil, 1<<20)},
		{"xz: index of 16 gigabytes", 1 << 50, (&xzIndex{check: 1}).appendFooter(nil, 1<<34)},
		{"xz: no stream header", 0, append(make([]byte, xzHeaderSize), rawIndex(0)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := sparse{max(tt.size, int64(len(tt.end))), tt.end}
			table, err := ReadTable(file, file.size)
			var bad *FrameError
			if !errors.Is(err, ErrCorrupt) || !errors.As(err, &bad) {
				t.Errorf("%v, %v, want %v", table, err, ErrCorrupt)
			}
		})
	}
}

func TestNumbersOfXZMustBeShort(t *testing.T) {
	for name, p := range map[string][]byte{
		"empty": {}, "no end": {0x80}, "zero at the end": {0x80, 0}, "ten bytes": bytes.Repeat([]byte{0xFF}, 10),
	} {
		if v, _, err := xzVarint(p); err == nil {
			t.Errorf("%s: %d", name, v)
		}
	}
}

func TestHostileFrames(t *testing.T) {
	// A header with content size in 4 bytes, single segment and checksum, as zstdLayout writes it.
	head := func(plain uint32) []byte { return zstdLayout{}.appendHead(nil, int64(plain)) }
	endless := head(10)
	for range 2000 {
		endless = append(endless, 0, 0, 0) // empty raw blocks that are not the last
	}
	tests := []struct {
		name   string
		format Format
		file   []byte
	}{
		{"zstd: content of four gigabytes", Zstd, head(math.MaxUint32)},
		{"zstd: empty content", Zstd, head(0)},
		{"zstd: endless frame", Zstd, endless},
		{"zstd: block of two megabytes", Zstd, append(head(10), 0xF8, 0xFF, 0xFF)},
		{"zstd: reserved block type", Zstd, append(head(10), 6, 0, 0)},
		{"zstd: dictionary", Zstd, []byte("\x28\xb5\x2f\xfd\xa5\x01\x0a\x00\x00\x00")},
		{"zstd: no content size", Zstd, []byte("\x28\xb5\x2f\xfd\x04\x58")},
		{"zstd: no checksum", Zstd, []byte("\x28\xb5\x2f\xfd\xa0\x0a\x00\x00\x00")},
		{"zstd: window of terabytes", Zstd, []byte("\x28\xb5\x2f\xfd\x84\xff\x0a\x00\x00\x00")},
		{"zstd: long frame without an end", Zstd, append(head(MaxFramePlain+1), 0xF8, 0xFF, 0xFF)},
		{"zstd: window of 256 MiB", Zstd, []byte("\x28\xb5\x2f\xfd\x84\x90\x00\x00\x00\x10")},
		{"zstd: single segment of 128 MiB and one byte", Zstd, head(MaxWindow + 1)},
		{"zstd: content past the limit", Zstd, []byte("\x28\xb5\x2f\xfd\x84\x88\x01\x00\x00\x20")},
		{"zstd: other magic", Zstd, []byte("\x50\x2a\x4d\x18\x00\x00\x00\x00")},
		{"xz: other magic", XZ, []byte("not an xz stream at all")},
		{"xz: block of a gigabyte", XZ, append(appendXZHeader(nil, 1), appendBlockHeader(nil, 1<<27, 1<<30, 0)...)},
		{"xz: more bytes than the content needs", XZ, append(appendXZHeader(nil, 1), appendBlockHeader(nil, 1<<27, 1, 0)...)},
		{"xz: dictionary of four gigabytes", XZ, append(appendXZHeader(nil, 1), appendBlockHeader(nil, 10, 10, 40)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := scanAll(tt.file, tt.format, ReaderOptions{})
			// What is refused for what it says is not merely short.
			if !errors.Is(err, ErrCorrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Scanner: %v, want %v", err, ErrCorrupt)
			}
			_, damage, err := ScanTable(bytes.NewReader(tt.file), int64(len(tt.file)), tt.format)
			if len(damage) == 0 || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("ScanTable: %v, %v, want %v", damage, err, ErrCorrupt)
			}
		})
	}
}
