package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Constants of RFC 8878 and of the zstd seekable format.
const (
	zstdMagic      = 0xFD2FB528
	stampMagic     = 0x184D2A57 // of our stamps: a skippable frame
	seekTableMagic = 0x184D2A5E // of the seek table: a skippable frame
	zstdMagicSize  = 4
	zstdSumSize    = 4
	zstdBlockSize  = 128 << 10 // largest block
	skippableHead  = 8         // magic and size
)

// Bits of the frame header descriptor.
const (
	zstdSingleSegment = 1 << 5
	zstdUnusedBits    = 3 << 3
	zstdHasSum        = 1 << 2
	zstdDictionary    = 3
	zstdSize4         = 2 << 6 // the content size takes 4 bytes
)

func isZstdMagic(p []byte) bool {
	return len(p) >= zstdMagicSize && binary.LittleEndian.Uint32(p) == zstdMagic
}

// zstdLayout is how stored zstd frames are laid out: a single segment of raw blocks with content size and checksum.
type zstdLayout struct{}

func (zstdLayout) headSize() int      { return zstdMagicSize + 1 + 4 }
func (zstdLayout) chunkSize() int     { return zstdBlockSize }
func (zstdLayout) tailSize(int64) int { return zstdSumSize }
func (zstdLayout) newSum() checksum   { return newXXSum() }

func (zstdLayout) appendHead(dst []byte, plain int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	dst = append(dst, zstdSize4|zstdSingleSegment|zstdHasSum)
	return binary.LittleEndian.AppendUint32(dst, uint32(plain))
}

func (zstdLayout) chunkHeader(n int, _, last bool) (h [chunkHeaderSize]byte) {
	v := uint32(n) << 3 // type 0, raw
	if last {
		v |= 1
	}
	h[0], h[1], h[2] = byte(v), byte(v>>8), byte(v>>16)
	return h
}

func (zstdLayout) appendTail(dst []byte, _ int64, sum uint32) []byte {
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// zstdFrame is what walkZstd learns of a frame.
type zstdFrame struct {
	size  int64 // in the file, magic included
	plain int64
	sum   uint32
}

// walkZstd goes through a data frame whose magic was read already, by its headers alone. It refuses what this package
// does not read: dictionaries, frames without size or checksum, and sizes beyond the limits.
func walkZstd(c cursor) (zstdFrame, error) {
	f, err := walkZstdHeader(c)
	if err != nil {
		return f, err
	}
	err = f.walkBody(c)
	return f, err
}

// walkBody goes through what follows the header.
func (f *zstdFrame) walkBody(c cursor) error {
	for last := false; !last; {
		var err error
		if last, err = f.walkBlock(c); err != nil {
			return err
		}
	}
	return f.walkSum(c)
}

// walkBlock goes through the next block.
func (f *zstdFrame) walkBlock(c cursor) (last bool, err error) {
	h, err := c.next(chunkHeaderSize)
	if err != nil {
		return false, unexpected(err)
	}
	v := int64(h[0]) | int64(h[1])<<8 | int64(h[2])<<16
	size := v >> 3
	if size > zstdBlockSize {
		return false, fmt.Errorf("a block of %d bytes", size)
	}
	switch v >> 1 & 3 {
	case 1: // one byte, repeated
		size = 1
	case 3:
		return false, errors.New("a block of the reserved type")
	}
	limit := maxEncoded(f.plain)
	if f.size += chunkHeaderSize + size; f.size > limit {
		return false, fmt.Errorf("more than %d bytes for a content of %d", limit, f.plain)
	}
	return v&1 != 0, unexpected(c.skip(size))
}

// walkSum reads the checksum at the end.
func (f *zstdFrame) walkSum(c cursor) error {
	sum, err := c.next(zstdSumSize)
	if err != nil {
		return unexpected(err)
	}
	f.size += zstdSumSize
	f.sum = binary.LittleEndian.Uint32(sum)
	return nil
}

// walkZstdHeader reads the frame header after the magic.
func walkZstdHeader(c cursor) (f zstdFrame, err error) {
	p, err := c.next(1)
	if err != nil {
		return f, unexpected(err)
	}
	descriptor := p[0]
	switch {
	case descriptor&zstdUnusedBits != 0:
		return f, errors.New("reserved bits in its header")
	case descriptor&zstdDictionary != 0:
		return f, errors.New("it needs a dictionary")
	case descriptor&zstdHasSum == 0:
		return f, errors.New("it has no checksum")
	}
	single := descriptor&zstdSingleSegment != 0
	n := 1 << (descriptor >> 6) // bytes of the content size
	if n == 1 && !single {
		return f, errors.New("it does not state its content size")
	}
	window := 0
	if !single {
		window = 1
	}
	if p, err = c.next(window + n); err != nil {
		return f, unexpected(err)
	}
	var le [8]byte
	copy(le[:], p[window:])
	plain := binary.LittleEndian.Uint64(le[:])
	if n == 2 {
		plain += 256
	}
	if plain == 0 || plain > MaxLongFrame {
		return f, fmt.Errorf("it claims %d plain bytes, must be 1 to %d", plain, MaxLongFrame)
	}
	wants := plain // a single segment has its content for a window
	if !single {
		wants = zstdWindow(p[0])
	}
	if wants > MaxWindow {
		return f, fmt.Errorf("it wants a window of %d bytes, the limit is %d", wants, MaxWindow)
	}
	f.plain = int64(plain)
	f.size = int64(zstdMagicSize + 1 + len(p))
	return f, nil
}

// zstdWindow returns the window size that a window descriptor stands for.
func zstdWindow(descriptor byte) uint64 {
	base := uint64(1) << (10 + descriptor>>3)
	return base + base/8*uint64(descriptor&7)
}

// A stamp is the skippable frame before each data frame but the first.
type stamp struct {
	id          [32]byte // content id
	number      uint64   // of the data frame that follows
	plainOffset uint64
}

const (
	stampPayload = 56
	stampSize    = skippableHead + stampPayload
)

// stampStart is what each stamp begins with: magic, size, name and version.
var stampStart = []byte("\x57\x2a\x4d\x18\x38\x00\x00\x00ferry\x00\x00\x01")

func (s stamp) appendTo(dst []byte) []byte {
	dst = append(dst, stampStart...)
	dst = append(dst, s.id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, s.number)
	return binary.LittleEndian.AppendUint64(dst, s.plainOffset)
}

// parseStamp reads a whole stamp.
func parseStamp(p []byte) (s stamp, err error) {
	if len(p) != stampSize || !bytes.HasPrefix(p, stampStart) {
		return s, errors.New("not a stamp")
	}
	p = p[len(stampStart):]
	copy(s.id[:], p)
	s.number = binary.LittleEndian.Uint64(p[len(s.id):])
	s.plainOffset = binary.LittleEndian.Uint64(p[len(s.id)+8:])
	return s, nil
}

// matches proves that s stands before frame number at plainOffset.
func (s stamp) matches(number int, plainOffset int64) error {
	if s.number != uint64(number) || s.plainOffset != uint64(plainOffset) {
		return fmt.Errorf("it is that of frame %d at plain byte %d, want frame %d at %d",
			s.number, s.plainOffset, number, plainOffset)
	}
	return nil
}
