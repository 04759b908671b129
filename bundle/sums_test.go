package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hexSum returns 64 digits that are all the same.
func hexSum(digit string) string { return strings.Repeat(digit, 64) }

func TestReadSums(t *testing.T) {
	volumes := hexSum("1") + "  k8s.tar.zst.001\n" + hexSum("2") + "  k8s.tar.zst.002\n"
	whole := hexSum("a") + "  k8s.tar.zst\n"
	for _, tc := range []struct {
		name, list, damage string
		volumes            int
	}{
		{"one file", whole, "", 0},
		{"renamed", hexSum("a") + "  other.tar.zst\n", "", 0},
		{"binary mode, CRLF", hexSum("a") + " *k8s.tar.zst\r\n", "", 0},
		{"volumes", volumes + whole, "", 2},
		{"the whole before its volumes", whole + volumes, "", 2},
		{"other files", hexSum("b") + "  README.txt\n" + volumes + hexSum("b") + "  other.tar.zst.007\n" + whole, "", 2},
		{"no whole", volumes, "does not name", 0},
		{"a volume is missing", hexSum("2") + "  k8s.tar.zst.002\n" + whole, "volume 1 is to come", 0},
		{"a volume twice", volumes + hexSum("2") + "  k8s.tar.zst.002\n" + whole, "volume 3 is to come", 0},
		{"other digits", volumes + hexSum("3") + "  k8s.tar.zst.0003\n" + whole, "volume 3 is to come", 0},
		{"the whole twice", whole + whole, "twice", 0},
		{"no sum", "sum  k8s.tar.zst\n" + volumes, "no sha256", 0},
		{"a short sum", hexSum("a")[1:] + "  k8s.tar.zst\n", "no sha256", 0},
		{"empty", "", "no sha256", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k8s.tar.zst")
			if err := os.WriteFile(SumFile(path), []byte(tc.list), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := ReadSums(path)
			if tc.damage != "" {
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.damage) {
					t.Errorf("got %+v, %v; want damage with %q", s, err, tc.damage)
				}
				return
			}
			if err != nil || s.Whole[0] != 0xaa || len(s.Volumes) != tc.volumes {
				t.Fatalf("got %+v, %v", s, err)
			}
			for i, sum := range s.Volumes {
				if want := byte(0x11 * (i + 1)); sum[31] != want || s.Digits != 3 {
					t.Errorf("volume %d: sum %x of %d digits", i+1, sum, s.Digits)
				}
			}
		})
	}
	if _, err := ReadSums(filepath.Join(t.TempDir(), "k8s.tar.zst")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no list: %v", err)
	}
}
