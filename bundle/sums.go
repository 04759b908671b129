package bundle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ferry-oci/ferry/oci/durable"
)

// sumSuffix is what NAME.sha256 adds to the bundle's name.
const sumSuffix = ".sha256"

// maxSumFile is the largest checksum file that is read, in bytes: of as many volumes as there can be.
const maxSumFile = 32 << 20

// SumFile returns the name of the checksum file of the bundle path.
func SumFile(path string) string { return path + sumSuffix }

// Sums is what NAME.sha256 says.
type Sums struct {
	Whole   [32]byte
	Volumes [][32]byte // from the first; none when the bundle is one file
	Digits  int        // in the names of the volumes; 0 without
}

// ReadSums reads NAME.sha256 of the bundle path, or returns an error that is os.ErrNotExist when there is no such file. A list made by
// sha256sum, in text or binary mode, with LF or CRLF, is taken, and lines about other files are passed over; a list of one line is that of
// the bundle even when both were renamed. Errors: ErrCorrupt for a list that lacks the bundle or one of its volumes, or has one twice.
func ReadSums(path string) (*Sums, error) {
	raw, err := durable.ReadFile(SumFile(path), maxSumFile)
	if errors.Is(err, durable.ErrTooLarge) {
		err = corrupt(filepath.Base(SumFile(path)), "%v", err)
	}
	if err != nil {
		return nil, err
	}
	sums, err := parseSums(filepath.Base(path), string(raw))
	if err != nil {
		return nil, corrupt(filepath.Base(SumFile(path)), "%v", err)
	}
	return sums, nil
}

// ReadSum returns the sha256 of the whole that ReadSums reads.
func ReadSum(path string) (sum [32]byte, err error) {
	sums, err := ReadSums(path)
	if err != nil {
		return sum, err
	}
	return sums.Whole, nil
}

// parseSums reads the list of the bundle name.
func parseSums(name, list string) (*Sums, error) {
	s := &Sums{}
	lines := strings.Split(strings.TrimRight(list, "\r\n"), "\n")
	whole := false
	for _, line := range lines {
		digits, file, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		file = strings.TrimLeft(file, " *")
		if len(lines) == 1 {
			file = name
		}
		of, n, width, isVolume := parseVolumeName(file)
		isVolume = isVolume && of == name
		if !isVolume && file != name {
			continue
		}
		raw, err := hex.DecodeString(digits)
		if err != nil || len(raw) != len(s.Whole) {
			return nil, fmt.Errorf("%.80q is no sha256", digits)
		}
		switch {
		case isVolume && (n != len(s.Volumes)+1 || s.Digits != 0 && width != s.Digits):
			return nil, fmt.Errorf("it has %.300q where volume %d is to come", file, len(s.Volumes)+1)
		case isVolume:
			s.Volumes, s.Digits = append(s.Volumes, [32]byte(raw)), width
		case whole:
			return nil, fmt.Errorf("it names %s twice", name)
		default:
			s.Whole, whole = [32]byte(raw), true
		}
	}
	if !whole {
		return nil, fmt.Errorf("it does not name %s", name)
	}
	return s, nil
}
