package bundle

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of volumes, see FORMAT.md section 7.
const (
	MinVolumeSize = 1 << 20
	MaxVolumes    = 99_999

	minVolumeDigits = 3
	maxVolumeDigits = 5
)

// VolumeName returns the name of volume n, from 1, of the bundle path: digits are those of the set, which [VolumeDigits] gives.
func VolumeName(path string, n, digits int) string { return fmt.Sprintf("%s.%0*d", path, digits, n) }

// VolumeDigits returns how many digits the numbers of a set have that may come to so many volumes.
func VolumeDigits(volumes int) int { return max(minVolumeDigits, len(strconv.Itoa(volumes))) }

// parseVolumeName takes the name of a volume apart; path is that of the bundle. ok is false for other files.
func parseVolumeName(file string) (path string, n, digits int, ok bool) {
	dot := strings.LastIndexByte(file, '.')
	if dot < 1 {
		return "", 0, 0, false
	}
	path, number := file[:dot], file[dot+1:]
	digits = len(number)
	if digits < minVolumeDigits || digits > maxVolumeDigits || strings.Trim(number, "0123456789") != "" {
		return "", 0, 0, false
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || strings.HasSuffix(path, "/") || strings.HasSuffix(path, `\`) {
		return "", 0, 0, false
	}
	return path, n, digits, true
}
