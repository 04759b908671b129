package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// maxIndexSize bounds the index of an xz file: two numbers below 32 GiB a frame, and what stands around them.
const maxIndexSize = MaxFrames*10 + 32

// An xzIndex gathers the records of the index at the end of an xz stream.
type xzIndex struct {
	check   byte
	frames  int
	records []byte
}

func (x *xzIndex) start() []byte { return appendXZHeader(nil, x.check) }

func (*xzIndex) lead(dst []byte, _ int, _ int64, _ [32]byte) []byte { return dst }

// add appends the record of the next block, whose header has been made or read here.
func (x *xzIndex) add(frame []byte, plain int64) (size int64, sum uint32) {
	header := (int64(frame[0]) + 1) * 4
	data, _ := binary.Uvarint(frame[2:header])
	return x.addBlock(xzBlock{header: header, data: int64(data), plain: plain}), 0
}

// addBlock appends the record of the next block and returns its size.
func (x *xzIndex) addBlock(b xzBlock) int64 {
	size := b.header + b.data + xzCheckSizes[x.check]
	x.addSizes(size, b.plain, 0)
	return size
}

func (x *xzIndex) addSizes(size, plain int64, _ uint32) {
	x.records = binary.AppendUvarint(x.records, uint64(size))
	x.records = binary.AppendUvarint(x.records, uint64(plain))
	x.frames++
}

// finish returns the index and the footer.
func (x *xzIndex) finish() []byte {
	b := []byte{0}
	b = binary.AppendUvarint(b, uint64(x.frames))
	b = append(b, x.records...)
	b = append(b, make([]byte, xzPad(int64(len(b))))...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return x.appendFooter(b, len(b))
}

// appendFooter appends the footer of a stream with an index of size bytes.
func (x *xzIndex) appendFooter(dst []byte, size int) []byte {
	body := binary.LittleEndian.AppendUint32(nil, uint32(size/4-1))
	body = append(body, 0, x.check)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(body))
	dst = append(dst, body...)
	return append(dst, xzFooterMagic...)
}

// readXZIndex reads the index at the end of an xz file of one stream.
func readXZIndex(r io.ReaderAt, size int64) (*Table, error) {
	raw, check, err := readXZFooter(r, size)
	if err != nil {
		return nil, err
	}
	limit := size - xzHeaderSize - int64(len(raw)) // where the index begins
	t := &Table{Format: XZ, FileSize: size}
	body := raw[:len(raw)-crc32.Size]
	if body[0] != 0 || binary.LittleEndian.Uint32(raw[len(body):]) != crc32.ChecksumIEEE(body) {
		return nil, tableError(limit, "the index is damaged")
	}
	count, rest, err := xzVarint(body[1:])
	if err != nil || count > MaxFrames || count > uint64(len(rest)/2) {
		return nil, tableError(limit, "the index claims %d blocks in %d bytes", count, len(body))
	}
	t.Frames = make([]Frame, 0, count)
	off := int64(xzHeaderSize)
	for range count {
		if off, rest, err = t.addRecord(rest, off, limit, check); err != nil {
			return nil, err
		}
	}
	if off != limit {
		return nil, tableError(limit, "the blocks of the index end at byte %d", off)
	}
	if len(rest) >= xzAlign || !bytes.Equal(rest, make([]byte, len(rest))) {
		return nil, tableError(limit, "the padding of the index is damaged")
	}
	if count > 0 {
		return t, nil // the header of the stream is the lead of the first block
	}
	var header [xzHeaderSize]byte
	if err := readFullAt(r, header[:], 0); err != nil {
		return nil, readError(0, "header of the stream", err)
	}
	if got, err := parseXZHeader(header[:]); err != nil || got != check {
		return nil, tableError(0, "the header of the stream is damaged")
	}
	return t, nil
}

// readXZFooter checks the footer and returns the raw index before it and the check type of the stream.
func readXZFooter(r io.ReaderAt, size int64) (raw []byte, check byte, err error) {
	if size < 2*xzHeaderSize+8 {
		return nil, 0, tableError(0, "%d bytes are too few for an xz stream", size)
	}
	start := size - xzHeaderSize
	var p [xzHeaderSize]byte
	if err := readFullAt(r, p[:], start); err != nil {
		return nil, 0, readError(start, "end of the index", err)
	}
	if !bytes.HasSuffix(p[:], []byte(xzFooterMagic)) {
		return nil, 0, tableError(size, "the file does not end in an index (was it cut short?)")
	}
	if binary.LittleEndian.Uint32(p[:]) != crc32.ChecksumIEEE(p[4:10]) || p[8] != 0 || p[9]&0xF0 != 0 {
		return nil, 0, tableError(start, "the footer is damaged")
	}
	n := (int64(binary.LittleEndian.Uint32(p[4:])) + 1) * 4
	if n < 8 || n > start-xzHeaderSize || n > maxIndexSize {
		return nil, 0, tableError(start, "it claims an index of %d bytes in a file of %d", n, size)
	}
	raw = make([]byte, n)
	if err := readFullAt(r, raw, start-n); err != nil {
		return nil, 0, readError(start-n, "index", err)
	}
	return raw, p[9], nil
}

// addRecord takes the next record of the index, of the block at byte off of the file, and returns where that ends,
// which is not past limit.
func (t *Table) addRecord(p []byte, off, limit int64, check byte) (int64, []byte, error) {
	n := len(t.Frames)
	unpadded, p, err := xzVarint(p)
	if err != nil {
		return 0, nil, tableError(limit, "record %d of the index: %v", n, err)
	}
	plain, p, err := xzVarint(p)
	if err != nil {
		return 0, nil, tableError(limit, "record %d of the index: %v", n, err)
	}
	if plain == 0 || plain > MaxLongFrame || unpadded < 8 || unpadded > uint64(maxEncoded(int64(plain))) {
		return 0, nil, tableError(limit, "it claims %d bytes with %d plain bytes for block %d", unpadded, plain, n)
	}
	f := Frame{
		Number: n, Offset: off, Size: int64(unpadded) + xzPad(int64(unpadded)),
		PlainOffset: t.PlainSize, PlainSize: int64(plain), check: check,
	}
	if n == 0 {
		f.Lead = xzHeaderSize
	}
	if f.end() > limit {
		return 0, nil, tableError(limit, "block %d ends at byte %d, past the begin of the index", n, f.end())
	}
	t.Frames = append(t.Frames, f)
	t.PlainSize += f.PlainSize
	return f.end(), p, nil
}
