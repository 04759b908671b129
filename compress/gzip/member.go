package gzip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// The header of a member, RFC 1952, 2.3.1.
const (
	fixedHeader = 10
	trailerSize = 8

	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagsReserved = 0xe0
)

var (
	errNoMember    = errors.New("no header of a member")
	errHeaderCut   = errors.New("the header of a member is cut short")
	errHeaderLarge = errors.New("the header of a member is too large")
)

// headerSize returns how many bytes the header has that p begins with. errHeaderCut says that p has not all of it.
func headerSize(p []byte) (int, error) {
	for i, want := range []byte{0x1f, 0x8b, 8} {
		if i < len(p) && p[i] != want {
			return 0, errNoMember
		}
	}
	if len(p) < fixedHeader {
		return 0, errHeaderCut
	}
	flags := p[3]
	if flags&flagsReserved != 0 {
		return 0, errNoMember
	}
	n := fixedHeader
	if flags&flagExtra != 0 {
		if len(p) < n+2 {
			return 0, errHeaderCut
		}
		n += 2 + int(binary.LittleEndian.Uint16(p[n:]))
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		for {
			if n >= len(p) {
				return 0, errHeaderCut
			}
			n++
			if p[n-1] == 0 {
				break
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		n += 2
	}
	if n > len(p) {
		return 0, errHeaderCut
	}
	return n, nil
}

// readHeader reads the header of a member from src, which has room for one in its buffer. If there is none, nothing is read.
func readHeader(src *bufio.Reader) ([]byte, error) {
	for size := fixedHeader; ; size *= 2 {
		p, err := src.Peek(min(size, MaxHeader))
		n, headerErr := headerSize(p)
		switch {
		case headerErr == nil:
			header := append([]byte(nil), p[:n]...)
			_, _ = src.Discard(n) // of what Peek gave
			return header, nil
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case len(p) == 0:
			return nil, io.EOF
		case errors.Is(headerErr, errNoMember) || err != nil:
			return nil, headerErr
		case size >= MaxHeader:
			return nil, errHeaderLarge
		}
	}
}

// appendTrailer appends the trailer of a member to b.
func appendTrailer(b []byte, crc uint32, size int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, crc)
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}
