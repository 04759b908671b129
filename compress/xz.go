package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Constants of the .xz file format 1.1.0 and of LZMA2.
const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzHeaderSize  = 12 // of the stream header and of its footer
	xzCheckCRC32  = 1
	xzCheckCRC64  = 4
	xzCheckSHA256 = 10
	xzAlign       = 4
	xzFilterLZMA2 = 0x21
	xzHasSizes    = 0xC0 // block flags: compressed and uncompressed size present, one filter
	xzBlockHeader = 20   // size of the block headers that we write, room for sizes below 256 MiB
	xzCheckSize   = 4
	lzma2Chunk    = 64 << 10 // largest uncompressed chunk
	lzma2MinDict  = 4 << 10
)

// xzCheckSizes holds the size of the check, by its type.
var xzCheckSizes = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

// xzPad returns how many bytes bring n to a multiple of 4.
func xzPad(n int64) int64 { return -n & (xzAlign - 1) }

// appendXZHeader appends the header of a stream with CRC32 checks.
func appendXZHeader(dst []byte, check byte) []byte {
	dst = append(dst, xzMagic...)
	flags := []byte{0, check}
	dst = append(dst, flags...)
	return binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(flags))
}

// parseXZHeader returns the check type of the stream that begins with the 12 bytes p.
func parseXZHeader(p []byte) (check byte, err error) {
	if len(p) != xzHeaderSize || !bytes.HasPrefix(p, []byte(xzMagic)) {
		return 0, errors.New("not an xz stream")
	}
	check = p[7]
	if p[6] != 0 || check&0xF0 != 0 || !bytes.Equal(p, appendXZHeader(nil, check)) {
		return 0, errors.New("its flags are damaged")
	}
	return check, nil
}

// xzLayout is how stored xz blocks are laid out: uncompressed LZMA2 chunks.
type xzLayout struct{}

func (xzLayout) headSize() int    { return xzBlockHeader }
func (xzLayout) chunkSize() int   { return lzma2Chunk }
func (xzLayout) newSum() checksum { return newCRC32() }

func (l xzLayout) tailSize(plain int64) int {
	const endMark = 1
	return int(endMark + xzPad(chunksSize(l, plain)+endMark) + xzCheckSize)
}

func (l xzLayout) appendHead(dst []byte, plain int64) []byte {
	// The chunks refer to nothing before them; a small dictionary keeps readers small.
	return appendBlockHeader(dst, chunksSize(l, plain)+1, plain, lzma.EncodeDictCap(lzma2Chunk))
}

func (xzLayout) chunkHeader(n int, first, _ bool) (h [chunkHeaderSize]byte) {
	h[0] = 2 // uncompressed
	if first {
		h[0] = 1 // the same, and resets the dictionary
	}
	binary.BigEndian.PutUint16(h[1:], uint16(n-1))
	return h
}

func (l xzLayout) appendTail(dst []byte, plain int64, sum uint32) []byte {
	var zeros [xzAlign]byte
	dst = append(dst, zeros[:l.tailSize(plain)-xzCheckSize]...)
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// appendBlockHeader appends a block header of always the same size for data bytes of LZMA2 with plain plain bytes.
func appendBlockHeader(dst []byte, data, plain int64, dict byte) []byte {
	start := len(dst)
	dst = append(dst, xzBlockHeader/4-1, xzHasSizes)
	dst = binary.AppendUvarint(dst, uint64(data))
	dst = binary.AppendUvarint(dst, uint64(plain))
	dst = append(dst, xzFilterLZMA2, 1, dict)
	for len(dst)-start < xzBlockHeader-crc32.Size {
		dst = append(dst, 0)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}

// xzBlock is what the header of a block says.
type xzBlock struct {
	header int64 // size of the header
	data   int64 // size of the LZMA2 data
	plain  int64
	dict   byte
}

// size returns the size of the whole block in the file.
func (b xzBlock) size(check byte) int64 {
	return b.header + b.data + xzPad(b.header+b.data) + xzCheckSizes[check]
}

// walkXZHeader reads the header of a block whose first byte was read already.
func walkXZHeader(c cursor, first byte) (xzBlock, error) {
	if first == 0 {
		return xzBlock{}, errors.New("no block begins here")
	}
	rest, err := c.next(int(first)*4 + 3)
	if err != nil {
		return xzBlock{}, unexpected(err)
	}
	return parseBlockHeader(append([]byte{first}, rest...))
}

// walkXZ goes through a block whose first byte was read already.
func walkXZ(c cursor, first, check byte) (xzBlock, error) {
	b, err := walkXZHeader(c, first)
	if err != nil {
		return b, err
	}
	if err := c.skip(b.size(check) - b.header); err != nil {
		return b, unexpected(err)
	}
	return b, nil
}

// parseBlockHeader reads a whole block header. It refuses what this package does not read: other filters than LZMA2,
// headers without sizes, and sizes beyond the limits.
func parseBlockHeader(p []byte) (b xzBlock, err error) {
	b.header = int64(len(p))
	body := p[:len(p)-crc32.Size]
	if binary.LittleEndian.Uint32(p[len(body):]) != crc32.ChecksumIEEE(body) {
		return b, errors.New("its header is damaged")
	}
	if body[1] != xzHasSizes {
		return b, fmt.Errorf("block flags %#x: only blocks with sizes and one filter are read", body[1])
	}
	rest := body[2:]
	var data, plain uint64
	if data, rest, err = xzVarint(rest); err != nil {
		return b, err
	}
	if plain, rest, err = xzVarint(rest); err != nil {
		return b, err
	}
	if plain == 0 || plain > MaxLongFrame || data == 0 || data > uint64(maxEncoded(int64(plain))) {
		return b, fmt.Errorf("it claims %d bytes with %d plain bytes, the limit is %d", data, plain, MaxLongFrame)
	}
	if len(rest) < 3 || rest[0] != xzFilterLZMA2 || rest[1] != 1 {
		return b, errors.New("its filter is not LZMA2")
	}
	if dict, err := lzma.DecodeDictCap(rest[2]); err != nil || dict > maxDictionary {
		return b, fmt.Errorf("dictionary size code %d is beyond the limit of %d bytes", rest[2], maxDictionary)
	}
	for _, v := range rest[3:] {
		if v != 0 {
			return b, errors.New("the padding of its header is not zero")
		}
	}
	b.data, b.plain, b.dict = int64(data), int64(plain), rest[2]
	return b, nil
}

// xzVarint reads a number of at most 63 bits in its shortest form.
func xzVarint(p []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(p)
	if n <= 0 || n > 9 || n > 1 && p[n-1] == 0 {
		return 0, nil, errors.New("a number is damaged")
	}
	return v, p[n:], nil
}

// xzPart is the LZMA2 data of one block and what must come out of it.
type xzPart struct {
	xzBlock
	lzma2 []byte
	check []byte // stored check
	kind  byte   // check type
}

// splitBlock takes the whole block raw apart.
func splitBlock(raw []byte, check byte) (p xzPart, err error) {
	if len(raw) == 0 || raw[0] == 0 || len(raw) < (int(raw[0])+1)*4 {
		return p, io.ErrUnexpectedEOF
	}
	b, err := parseBlockHeader(raw[:(int(raw[0])+1)*4])
	if err != nil {
		return p, err
	}
	if b.size(check) != int64(len(raw)) {
		return p, fmt.Errorf("its header is that of a block of %d bytes, want %d", b.size(check), len(raw))
	}
	p = xzPart{xzBlock: b, kind: check}
	p.lzma2 = raw[b.header : b.header+b.data]
	p.check = raw[int64(len(raw))-xzCheckSizes[check]:]
	for _, v := range raw[b.header+b.data : len(raw)-len(p.check)] {
		if v != 0 {
			return p, errors.New("its padding is not zero")
		}
	}
	return p, nil
}
