package bundle

import (
	"bytes"
	"fmt"
	"time"
)

// The names of the members that are not blobs.
const (
	layoutName = "oci-layout"
	indexName  = "index.json"
	headName   = "ferry.json"
	sumsName   = "SHA256SUMS"
	tailPrefix = "tail/"
	blobPrefix = "blobs/sha256/"
)

// blockSize is the unit of a tar: headers take one block, content is padded to whole ones.
const blockSize = 512

// endSize is what ends a tar: two blocks of zeros.
const endSize = 2 * blockSize

var zeroBlock [blockSize]byte

// padding returns the number of zero bytes that follow size bytes of content.
func padding(size int64) int64 { return -size & (blockSize - 1) }

// span returns the bytes that a member of size bytes takes in the tar, header and padding included.
func span(size int64) int64 { return blockSize + size + padding(size) }

// tarHeader returns the one ustar header that a bundle has for a member: a pure function of its arguments, see
// FORMAT.md section 1. Sizes of 8 GiB and more are written in base-256 as GNU tar does. name has at most 100 bytes.
func tarHeader(name string, size int64, mtime time.Time) [blockSize]byte {
	var h [blockSize]byte
	copy(h[0:100], name)
	copy(h[100:108], "0000644\x00")
	copy(h[108:116], "0000000\x00")
	copy(h[116:124], "0000000\x00")
	putNumber(h[124:136], size)
	putNumber(h[136:148], max(0, mtime.Unix()))
	h[156] = '0'
	copy(h[257:265], "ustar\x0000")
	copy(h[148:156], "        ")
	var sum int64
	for _, b := range h {
		sum += int64(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// putNumber writes n as eleven octal digits and a NUL, or big-endian with the top bit set where that is too short.
func putNumber(field []byte, n int64) {
	if n < 1<<33 {
		copy(field, fmt.Sprintf("%011o\x00", n))
		return
	}
	for i := len(field) - 1; i >= 4; i-- {
		field[i] = byte(n)
		n >>= 8
	}
	field[0] = 0x80
}

// tarEntry is what a header says.
type tarEntry struct {
	name  string
	size  int64
	mtime time.Time
}

// parseTarHeader reads a header that a ferry wrote. Anything else, a link, a folder, an extended header, is not one.
func parseTarHeader(h []byte) (tarEntry, error) {
	name := h[:100]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	e := tarEntry{name: string(name)}
	var err error
	if e.size, err = parseNumber(h[124:136]); err != nil {
		return e, fmt.Errorf("size of %q: %w", name, err)
	}
	seconds, err := parseNumber(h[136:148])
	if err != nil {
		return e, fmt.Errorf("time of %q: %w", name, err)
	}
	e.mtime = time.Unix(seconds, 0).UTC()
	if want := tarHeader(e.name, e.size, e.mtime); !bytes.Equal(want[:], h[:blockSize]) {
		return e, fmt.Errorf("header of %q is not one of a bundle", name)
	}
	return e, nil
}

func parseNumber(field []byte) (int64, error) {
	var n int64
	if field[0] == 0x80 {
		for _, b := range field[4:] {
			n = n<<8 | int64(b)
		}
		if n < 0 {
			return 0, fmt.Errorf("number out of range")
		}
		return n, nil
	}
	for _, b := range field[:11] {
		if b < '0' || b > '7' {
			return 0, fmt.Errorf("bad octal digit %q", b)
		}
		n = n<<3 | int64(b-'0')
	}
	return n, nil
}
