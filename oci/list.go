package oci

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const (
	maxListLine   = 4 << 10 // bytes, without the end of the line
	maxListLines  = 1_000_000
	maxListErrors = 1000 // a file with more bad lines is no list of images
)

// LineError tells which line of a list of images is not a reference, and why.
type LineError struct {
	File string
	Line int    // counted from 1
	Text string // the line without comment and surrounding space
	Err  error
}

func (e *LineError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d: %.100q: %v", e.File, e.Line, MaskUser(e.Text), e.Err)
}

func (e *LineError) Unwrap() error { return e.Err }

// ParseList reads a list of images: one reference a line, in UTF-8 with or without byte order mark, lines ended by LF
// or CRLF. Space around a reference is ignored, so are blank lines and comments, which `#` begins at the start of a line
// or after white space. Duplicates are kept, see [Unique].
//
// Bad lines are all reported at once, as the [errors.Join] of one *[LineError] each; file only names the list in them.
// Lines have at most 4 KiB, a list 1,000,000 of them; reading stops after 1000 bad ones.
func ParseList(file string, r io.Reader) ([]Reference, error) {
	lines, err := ParseListLines(file, r)
	if err != nil {
		return nil, err
	}
	refs := make([]Reference, len(lines))
	for i, l := range lines {
		refs[i] = l.Reference
	}
	return refs, nil
}

// ListLine is a reference of a list and its line, counted from 1.
type ListLine struct {
	Reference
	Line int
}

// ParseListLines reads a list as [ParseList] does and returns the lines of the references, too.
func ParseListLines(file string, r io.Reader) ([]ListLine, error) {
	lines := lineReader{r: bufio.NewReaderSize(r, maxListLine+len("\r\n"))}
	var refs []ListLine
	var bad []error
	for !lines.stopped && len(bad) < maxListErrors {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		entry := listEntry(line)
		if err == nil && entry == "" {
			continue
		}
		var ref Reference
		if err == nil {
			ref, err = parseReference(entry)
		}
		if err == nil {
			refs = append(refs, ListLine{ref, lines.n})
		} else {
			bad = append(bad, &LineError{File: file, Line: lines.n, Text: entry, Err: err})
		}
	}
	if len(bad) == maxListErrors {
		bad = append(bad, &LineError{File: file, Line: lines.n, Err: errManyErrors})
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return refs, nil
}

// Unique returns refs without the later ones of equal references.
func Unique(refs []Reference) []Reference {
	seen := make(map[Reference]bool, len(refs))
	var unique []Reference
	for _, r := range refs {
		if !seen[r] {
			seen[r] = true
			unique = append(unique, r)
		}
	}
	return unique
}

// listEntry strips the comment and the surrounding space.
func listEntry(line string) string {
	space := true
	for i, c := range line {
		if c == '#' && space {
			line = line[:i]
			break
		}
		space = unicode.IsSpace(c)
	}
	return strings.TrimSpace(line)
}

var (
	errLongLine   = fmt.Errorf("line of more than %d bytes", maxListLine)
	errManyLines  = fmt.Errorf("more than %d lines", maxListLines)
	errManyErrors = fmt.Errorf("%d bad lines, the rest is not read", maxListErrors)
	errUTF16      = errors.New("text in UTF-16, save it as UTF-8")
)

// lineReader reads lines of limited length.
type lineReader struct {
	r       *bufio.Reader
	n       int  // number of the line that next returned
	stopped bool // nothing can be read after the last error
}

// next returns the next line with its end, io.EOF after the last. After any other error next may be called again,
// unless stopped is set.
func (l *lineReader) next() (string, error) {
	line, err := l.r.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return "", io.EOF
	}
	l.n++
	first := l.n == 1
	utf16 := first && (bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")))
	long := len(bytes.TrimRight(line, "\r\n")) > maxListLine
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = l.r.ReadSlice('\n')
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", l.stop(err)
	case l.n > maxListLines:
		return "", l.stop(errManyLines)
	case utf16:
		return "", l.stop(errUTF16)
	case long:
		return "", errLongLine
	case first:
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return string(line), nil
}

func (l *lineReader) stop(err error) error {
	l.stopped = true
	return err
}
