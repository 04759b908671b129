package main

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// formatSize returns n bytes as people read them, in powers of 1000 as disks are sold: `812 B`, `1.2 GB`.
func formatSize(n int64) string {
	const units = "kMGTPE"
	if n > -1000 && n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1000, 0
	for (size >= 999.95 || size <= -999.95) && unit < len(units)-1 { // what would be printed as 1000.0
		size /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", size, units[unit])
}

// formatDuration returns d as people read it, with two units at most: `0.3s`, `42s`, `3m05s`, `1h02m`, `3d04h`.
func formatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + formatDuration(-max(d, -1<<63+1))
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute-time.Second/2:
		return fmt.Sprintf("%ds", d.Round(time.Second)/time.Second)
	case d < time.Hour-time.Second/2:
		return twoUnits(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour-time.Minute/2:
		return twoUnits(d, time.Hour, "h", time.Minute, "m")
	}
	return twoUnits(d, 24*time.Hour, "d", time.Hour, "h")
}

func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	d = d.Round(small)
	return fmt.Sprintf("%d%s%02d%s", d/large, largeName, d%large/small, smallName)
}

// sizeUnits are the units that parseSize knows, in lower case.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseSize reads a number of bytes as `4000000000`, `4GB`, `1.5 g` or `512MiB`: k, M, G and T are powers of 1000, Ki,
// Mi, Gi and Ti of 1024, whatever their case. It is the exact number, or an error.
func parseSize(s string) (int64, error) {
	n, err := parseBytes(s)
	if err != nil {
		return 0, fmt.Errorf("size %.40q: %w", s, err)
	}
	return n, nil
}

func parseBytes(s string) (int64, error) {
	s = strings.TrimSpace(s)
	unitAt := len(s) - len(strings.TrimLeft(s, "0123456789."))
	digits, unit := s[:unitAt], strings.ToLower(strings.TrimSpace(s[unitAt:]))
	factor, known := sizeUnits[unit]
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, errors.New("less than nothing")
	case digits == "":
		return 0, errors.New("want a number and a unit, as 4GB or 512MiB")
	case !known:
		return 0, fmt.Errorf("unit %.20q is not one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB", unit)
	case len(digits) > 40:
		return 0, errors.New("too many digits")
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, fmt.Errorf("%s is not a number", digits)
	}
	n.Mul(n, new(big.Rat).SetInt64(factor))
	switch {
	case !n.IsInt():
		return 0, errors.New("not a whole number of bytes")
	case !n.Num().IsInt64():
		return 0, errors.New("too large")
	}
	return n.Num().Int64(), nil
}
