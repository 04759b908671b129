package local

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads an xz stream of any number of blocks where there is no xz program. It stops at the index: sizes and checks
// are not looked at, since digests prove what is in an archive. Unlike the xz package of the library it holds the size of
// each dictionary against a limit before it is allocated.
type xzReader struct {
	r     *countedBytes
	check int64 // bytes of the check behind each block
	block io.Reader
	ended bool
}

// xzCheckSizes are the sizes of the checks that streams have, by their number.
var xzCheckSizes = map[byte]int64{0: 0, 1: 4, 4: 8, 10: 32}

func newXZReader(r io.Reader) (*xzReader, error) {
	x := &xzReader{r: &countedBytes{r: bufio.NewReader(r)}}
	header := make([]byte, 12)
	if _, err := io.ReadFull(x.r, header); err != nil {
		return nil, err
	}
	var ok bool
	x.check, ok = xzCheckSizes[header[7]]
	if !ok || header[6] != 0 || binary.LittleEndian.Uint32(header[8:]) != crc32.ChecksumIEEE(header[6:8]) {
		return nil, errors.New("a header that is not known")
	}
	return x, nil
}

func (x *xzReader) Read(p []byte) (int, error) {
	for !x.ended {
		if x.block == nil {
			if err := x.begin(); err != nil {
				return 0, notEnd(err)
			}
			continue
		}
		n, err := x.block.Read(p)
		switch {
		case err == io.EOF:
			if err := x.finish(); err != nil {
				return n, notEnd(err)
			}
		case err != nil:
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// begin reads the header of the next block, or sees that there is none.
func (x *xzReader) begin() error {
	size, err := x.r.ReadByte()
	if err != nil {
		return err
	}
	if size == 0 { // the index
		x.ended = true
		return nil
	}
	header := make([]byte, (int(size)+1)*4)
	header[0] = size
	if _, err := io.ReadFull(x.r, header[1:]); err != nil {
		return err
	}
	end := len(header) - 4
	if binary.LittleEndian.Uint32(header[end:]) != crc32.ChecksumIEEE(header[:end]) {
		return errors.New("the header of a block is damaged")
	}
	dict, err := xzDictionary(header[1:end])
	if err != nil {
		return err
	}
	x.r.n = 0
	x.block, err = lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}.NewReader2(x.r)
	return err
}

// xzDictionary returns the size of the dictionary that a block header names, without its first byte and its checksum.
func xzDictionary(header []byte) (int64, error) {
	flags, rest := header[0], bytes.NewReader(header[1:])
	for _, flag := range []byte{0x40, 0x80} { // sizes, in whatever bytes
		if flags&flag != 0 {
			if _, err := binary.ReadUvarint(rest); err != nil {
				return 0, err
			}
		}
	}
	var filter [3]byte
	if _, err := io.ReadFull(rest, filter[:]); err != nil || flags&0x3f != 0 || filter[0] != 0x21 || filter[1] != 1 {
		return 0, errors.New("a filter that is not LZMA2; the xz program can read it where it is on PATH")
	}
	dict, err := lzma.DecodeDictCap(filter[2])
	if err == nil && dict > maxWindow {
		err = errors.New("a dictionary above 128 MiB")
	}
	return dict, err
}

// finish reads what stands behind the content of a block.
func (x *xzReader) finish() error {
	x.block = nil
	padding := (4 - x.r.n%4) % 4
	_, err := io.CopyN(io.Discard, x.r, padding+x.check)
	return err
}

// notEnd returns err, for what must not end there.
func notEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// countedBytes counts what is read.
type countedBytes struct {
	r *bufio.Reader
	n int64
}

func (c *countedBytes) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countedBytes) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
