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

// formatBinary returns n bytes in powers of 1024, as Harbor shows its quotas: `812 B`, `10 GiB`.
func formatBinary(n int64) string {
	const units = "KMGTPE"
	size, unit := float64(n), -1
	for size >= 1023.95 && unit < len(units)-1 { // what would be printed as 1024
		size /= 1024
		unit++
	}
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", size), ".0")
	if unit < 0 {
		return text + " B"
	}
	return text + " " + units[unit:unit+1] + "iB"
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

// formatRate returns n bytes a second as people read them, in bits and in bytes: `20 Mbit/s (2.5 MB/s)`.
func formatRate(n int64) string {
	const units = "kMGTPE"
	bits, unit := float64(n)*8, -1
	for bits >= 999.95 && unit < len(units)-1 { // what would be printed as 1000
		bits /= 1000
		unit++
	}
	name := "bit/s"
	if unit >= 0 {
		name = units[unit:unit+1] + name
	}
	return fmt.Sprintf("%s %s (%s/s)", strings.TrimSuffix(fmt.Sprintf("%.1f", bits), ".0"), name, formatSize(n))
}

// bitUnits are the units of bits that parseRate knows, in lower case.
var bitUnits = map[string]int64{"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}

// parseRate reads a number of bytes a second, at least 1: of bytes as parseSize knows them, `2.5MB`, or of bits,
// `20Mbit`, either with or without `/s`. `20Mb` is refused, because half of the world means the one by it and half the
// other.
func parseRate(s string) (int64, error) {
	text := strings.TrimSpace(s)
	if n := len(text) - len("/s"); n >= 0 && strings.EqualFold(text[n:], "/s") {
		text = strings.TrimSpace(text[:n])
	}
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := text[len(digits):]
	if len(unit) == 2 && unit[1] == 'b' || strings.HasSuffix(strings.ToLower(unit), "bps") {
		return 0, fmt.Errorf("rate %.40q: bits or bytes? want a unit as Mbit or MB", s)
	}
	var n int64
	var err error
	if factor, ok := bitUnits[strings.ToLower(unit)]; ok {
		n, err = parseNumber(strings.TrimSpace(digits), new(big.Rat).SetFrac64(factor, 8))
	} else {
		n, err = parseBytes(text)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("rate %.40q: %w", s, err)
	case n == 0:
		return 0, fmt.Errorf("rate %.40q: less than a byte a second", s)
	case unit == "" && n < 1000: // somebody thinks of megabytes
		return 0, fmt.Errorf("rate %.40q: of what? want a unit as Mbit or MB", s)
	}
	return n, nil
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
	}
	return parseNumber(digits, new(big.Rat).SetInt64(factor))
}

// parseNumber reads a decimal fraction and returns the whole number of bytes that it is times factor.
func parseNumber(digits string, factor *big.Rat) (int64, error) {
	switch {
	case digits == "" || strings.Trim(digits, "0123456789.") != "":
		return 0, errors.New("want a number and a unit, as 20Mbit or 2.5MB")
	case len(digits) > 40:
		return 0, errors.New("too many digits")
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, fmt.Errorf("%s is not a number", digits)
	}
	n.Mul(n, factor)
	switch {
	case !n.IsInt():
		return 0, errors.New("not a whole number of bytes")
	case !n.Num().IsInt64():
		return 0, errors.New("too large")
	}
	return n.Num().Int64(), nil
}
