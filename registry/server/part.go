package server

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// part is a range of a blob, in bytes.
type part struct{ offset, length int64 }

// requestedPart returns which part of d is asked for, and whether that is to be answered as a part. A Range that is not one
// range of bytes is passed over, as RFC 9110 has it, and so is one for another version of d. An error is a range that has
// nothing of d.
func requestedPart(r *http.Request, d oci.Descriptor) (p part, partial bool, err error) {
	whole := part{0, d.Size}
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || r.Method == http.MethodHead { // which has no ranges
		return whole, false, nil
	}
	if version := r.Header.Get("If-Range"); version != "" && version != eTag(d) {
		return whole, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, false, nil
	}
	p, ok = parsePart(first, last, d.Size)
	switch {
	case !ok:
		return whole, false, nil
	case p.length <= 0:
		return p, false, &failure{
			status: http.StatusRequestedRangeNotSatisfiable, code: codeRangeInvalid,
			message: fmt.Sprintf("range %.100q has nothing of the %d bytes of %s", spec, d.Size, d.Digest),
		}
	}
	return p, true, nil
}

// parsePart reads the two numbers of a range of size bytes; ok is false when they make none. A length of 0 or less is a range
// that lies outside.
func parsePart(first, last string, size int64) (p part, ok bool) {
	if first == "" {
		n, ok := parseNumber(last)
		n = min(n, size)
		return part{size - n, n}, ok
	}
	from, ok := parseNumber(first)
	if !ok {
		return part{}, false
	}
	to := size - 1
	if last != "" {
		n, ok := parseNumber(last)
		if !ok || n < from {
			return part{}, false
		}
		to = min(n, to)
	}
	return part{from, to - from + 1}, true
}

// parseNumber reads a number that is not negative; one that is too large for an int64 is the largest.
func parseNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseInt(s, 10, 64) // out of range gives the largest
	return n, true
}

// eTag returns the entity tag of d.
func eTag(d oci.Descriptor) string { return `"` + d.Digest.String() + `"` }

// matchesETag reports whether the value of If-None-Match names d.
func matchesETag(value string, d oci.Descriptor) bool {
	for tag := range strings.SplitSeq(value, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == eTag(d) {
			return true
		}
	}
	return false
}
