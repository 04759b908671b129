package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFormat comes back when a name or the first bytes of a file belong to no format of this package.
var ErrFormat = errors.New("not a format that is known here")

// Format is how frames are carried in a file.
type Format uint8

// The formats. The zero value carries the plain bytes as they are.
const (
	None Format = iota
	Zstd
	XZ
)

// endings holds the endings of file names, by format.
var endings = [...]string{None: ".tar", Zstd: ".tar.zst", XZ: ".tar.xz"}

// String returns "none", "zstd" or "xz".
func (f Format) String() string {
	switch f {
	case None:
		return "none"
	case Zstd:
		return "zstd"
	case XZ:
		return "xz"
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// valid reports whether f is one of the formats.
func (f Format) valid() bool { return f <= XZ }

// FormatByName returns the format that the ending of a file name asks for: .tar.zst, .tar.xz or .tar.
func FormatByName(name string) (Format, error) {
	lower := strings.ToLower(name)
	for f, ending := range endings {
		if strings.HasSuffix(lower, ending) {
			return Format(f), nil
		}
	}
	return None, fmt.Errorf("%s: the name must end in %s, %s or %s: %w",
		name, endings[Zstd], endings[XZ], endings[None], ErrFormat)
}

// Sniff returns the format of the file that begins with head. A tar shows itself after [SniffSize] bytes.
func Sniff(head []byte) (Format, error) {
	switch {
	case isZstdMagic(head):
		return Zstd, nil
	case bytes.HasPrefix(head, []byte(xzMagic)):
		return XZ, nil
	case len(head) >= ustarOffset+len(ustarMagic) && string(head[ustarOffset:][:len(ustarMagic)]) == ustarMagic:
		return None, nil
	}
	if len(head) == 0 {
		return None, fmt.Errorf("it is empty: %w", ErrFormat)
	}
	return None, fmt.Errorf("first bytes %x: %w", head[:min(len(head), 8)], ErrFormat)
}

// SniffSize is how many of a file's first bytes [Sniff] wants to see.
const SniffSize = ustarOffset + len(ustarMagic)

// A tar of any age that concerns us says "ustar" at this place, followed by NUL or, in GNU's, by a space.
const (
	ustarOffset = 257
	ustarMagic  = "ustar"
)

// Detect returns the format of the file that r holds in size bytes. It looks at the end first, so a file whose first
// bytes are damaged is known too.
func Detect(r io.ReaderAt, size int64) (Format, error) {
	tail := make([]byte, min(size, 4))
	// A file whose end cannot be read may still show its format at the front.
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err == nil || errors.Is(err, io.EOF) {
		switch {
		case bytes.Equal(tail, seekTableEnd):
			return Zstd, nil
		case bytes.HasSuffix(tail, []byte(xzFooterMagic)):
			return XZ, nil
		}
	}
	head := make([]byte, min(size, int64(SniffSize)))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return None, fmt.Errorf("first bytes: %w", err)
	}
	return Sniff(head)
}

// compressedMagics are the first bytes of content that a compressor cannot shrink further.
var compressedMagics = []string{
	"\x1f\x8b\x08",         // gzip
	"\x28\xb5\x2f\xfd",     // zstd
	xzMagic,                // xz
	"BZh",                  // bzip2
	"\x04\x22\x4d\x18",     // lz4
	"7z\xbc\xaf\x27\x1c",   // 7z
	"PK\x03\x04",           // zip
	"\x89PNG\r\n\x1a\n",    // png
	"\xff\xd8\xff",         // jpeg
	"age-encryption.org/v", // age
}

// IsCompressed reports whether content that begins with head is compressed or encrypted already, going by the magic
// of gzip, zstd, xz, bzip2, lz4, 7z, zip, png, jpeg and age. Twenty bytes are enough.
func IsCompressed(head []byte) bool {
	for _, magic := range compressedMagics {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}
