package compress

import (
	"bytes"
	"hash/crc32"
	"io"

	"github.com/cespare/xxhash/v2"
)

// chunkHeaderSize is the size of the header before each chunk of a stored frame, in zstd and in xz alike.
const chunkHeaderSize = 3

// A layout tells where the plain bytes of a stored frame stand: after a head of fixed size come chunks of plain
// bytes, all but the last of the same size, each after a header, and then a tail. So a stored frame can be built
// around bytes that lie in place already, and read from the middle.
type layout interface {
	headSize() int
	chunkSize() int
	tailSize(plain int64) int
	appendHead(dst []byte, plain int64) []byte
	// chunkHeader returns the header of a chunk of n bytes.
	chunkHeader(n int, first, last bool) [chunkHeaderSize]byte
	appendTail(dst []byte, plain int64, sum uint32) []byte
	// newSum returns the checksum that the tail carries.
	newSum() checksum
}

// checksum is a running checksum of plain bytes.
type checksum interface {
	io.Writer
	Sum32() uint32
}

// xxSum is the checksum of zstd: the low 32 bits of XXH64.
type xxSum struct{ xxhash.Digest }

func newXXSum() *xxSum {
	s := &xxSum{}
	s.Reset()
	return s
}

// Sum32 returns the checksum of what was written.
func (s *xxSum) Sum32() uint32 { return uint32(s.Sum64()) }

// newCRC32 returns the checksum of xz.
func newCRC32() checksum { return crc32.NewIEEE() }

// layoutOf returns how stored frames of a format are laid out, nil for None.
func layoutOf(f Format) layout {
	switch f {
	case Zstd:
		return zstdLayout{}
	case XZ:
		return xzLayout{}
	}
	return nil
}

// storedSize returns the size of a stored frame of plain bytes.
func storedSize(l layout, plain int64) int64 {
	return int64(l.headSize()) + chunksSize(l, plain) + int64(l.tailSize(plain))
}

// chunksSize returns the size of all chunks of plain bytes with their headers.
func chunksSize(l layout, plain int64) int64 {
	chunk := int64(l.chunkSize())
	return plain + (plain+chunk-1)/chunk*chunkHeaderSize
}

// chunkStart returns where, from the begin of a stored frame, the header of chunk n stands.
func chunkStart(l layout, n int64) int64 {
	return int64(l.headSize()) + n*(int64(l.chunkSize())+chunkHeaderSize)
}

// chunkAt returns the header and the bytes of the chunk of a stored frame that begins at plain offset off of it.
func chunkAt(l layout, frame []byte, off, plain int64) (header, body []byte) {
	start := chunkStart(l, off/int64(l.chunkSize()))
	n := min(int64(l.chunkSize()), plain-off)
	return frame[start:][:chunkHeaderSize], frame[start+chunkHeaderSize:][:n]
}

// headerOf returns the header that the chunk at plain offset off of a stored frame must have.
func headerOf(l layout, off, plain int64) [chunkHeaderSize]byte {
	n := min(int64(l.chunkSize()), plain-off)
	return l.chunkHeader(int(n), off == 0, off+n == plain)
}

// seal completes the stored frame whose plain bytes lie in place already. frame has the size of the whole frame.
func seal(l layout, frame []byte, plain int64) {
	sum := l.newSum()
	l.appendHead(frame[:0], plain)
	for off := int64(0); off < plain; off += int64(l.chunkSize()) {
		header, body := chunkAt(l, frame, off, plain)
		want := headerOf(l, off, plain)
		copy(header, want[:])
		sum.Write(body)
	}
	l.appendTail(frame[:len(frame)-l.tailSize(plain)], plain, sum.Sum32())
}

// appendStored appends the stored frame of plain to dst.
func appendStored(l layout, dst, plain []byte) []byte {
	size := storedSize(l, int64(len(plain)))
	start := len(dst)
	dst = grow(dst, int(size))
	frame := dst[start:]
	for off := int64(0); off < int64(len(plain)); off += int64(l.chunkSize()) {
		_, body := chunkAt(l, frame, off, int64(len(plain)))
		copy(body, plain[off:])
	}
	seal(l, frame, int64(len(plain)))
	return dst
}

// isStored reports whether raw is a stored frame of plain bytes, all but its tail to the byte.
func isStored(l layout, raw []byte, plain int64) bool {
	if l == nil || int64(len(raw)) != storedSize(l, plain) || !bytes.HasPrefix(raw, l.appendHead(nil, plain)) {
		return false
	}
	return storedHeaders(l, raw, plain) == chunks(l, plain)
}

// chunks returns the number of chunks of plain bytes.
func chunks(l layout, plain int64) int64 {
	return (plain + int64(l.chunkSize()) - 1) / int64(l.chunkSize())
}

// storedHeaders counts the chunks of raw whose header is what it is in a stored frame of plain bytes.
func storedHeaders(l layout, raw []byte, plain int64) int64 {
	good := int64(0)
	for off := int64(0); off < plain; off += int64(l.chunkSize()) {
		header, _ := chunkAt(l, raw, off, plain)
		if want := headerOf(l, off, plain); bytes.Equal(header, want[:]) {
			good++
		}
	}
	return good
}

// unstore appends the plain bytes of the stored frame raw to dst and reports whether the tail agrees with them.
func unstore(l layout, dst, raw []byte, plain int64) ([]byte, uint32, bool) {
	sum := l.newSum()
	for off := int64(0); off < plain; off += int64(l.chunkSize()) {
		_, body := chunkAt(l, raw, off, plain)
		dst = append(dst, body...)
		sum.Write(body)
	}
	tail := l.appendTail(nil, plain, sum.Sum32())
	return dst, sum.Sum32(), bytes.HasSuffix(raw, tail)
}

// grow returns b longer by n bytes of whatever content.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, len(b)+n), b...)
	}
	return b[:len(b)+n]
}
