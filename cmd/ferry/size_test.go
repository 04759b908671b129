package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "1.0 kB", 1049: "1.0 kB", 1051: "1.1 kB",
		999_949: "999.9 kB", 999_950: "1.0 MB", 999_999: "1.0 MB", 1_000_000: "1.0 MB",
		1_234_567_890: "1.2 GB", 27_000_000_000: "27.0 GB", 999_999_999_999: "1.0 TB", 4_000_000_000: "4.0 GB",
		math.MaxInt64: "9.2 EB", math.MinInt64: "-9.2 EB", -5: "-5 B", -1500: "-1.5 kB",
	} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestFormatBinary(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 10 << 30: "10 GiB", 1<<40 - 1: "1 TiB", math.MaxInt64: "8 EiB",
	} {
		if got := formatBinary(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                   "0.0s",
		340 * time.Millisecond:              "0.3s",
		9940 * time.Millisecond:             "9.9s",
		9960 * time.Millisecond:             "10s",
		42 * time.Second:                    "42s",
		59400 * time.Millisecond:            "59s",
		59600 * time.Millisecond:            "1m00s",
		185 * time.Second:                   "3m05s",
		time.Hour - 600*time.Millisecond:    "59m59s",
		time.Hour - 400*time.Millisecond:    "1h00m",
		time.Hour + 2*time.Minute:           "1h02m",
		24*time.Hour - 40*time.Second:       "23h59m",
		24*time.Hour - time.Second:          "1d00h",
		76*time.Hour + 10*time.Minute:       "3d04h",
		-42 * time.Second:                   "-42s",
		time.Duration(math.MinInt64):        "-106751d23h",
		time.Duration(math.MaxInt64) / 1000: "106d18h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
		err  string
	}{
		{"0", 0, ""},
		{"4000000000", 4_000_000_000, ""},
		{"812 B", 812, ""},
		{"4GB", 4_000_000_000, ""},
		{"4gb", 4_000_000_000, ""},
		{" 4 G ", 4_000_000_000, ""},
		{"1.5M", 1_500_000, ""},
		{"0.1kB", 100, ""},
		{".5k", 500, ""},
		{"512MiB", 512 << 20, ""},
		{"1Ki", 1024, ""},
		{"2TiB", 2 << 40, ""},
		{"1.1GB", 1_100_000_000, ""},
		{"9223372036854775807", math.MaxInt64, ""},

		{"9223372036854775808", 0, "too large"},
		{"8388608TiB", 0, "too large"},
		{"1.5", 0, "not a whole number"},
		{"0.3KiB", 0, "not a whole number"},
		{"", 0, "want a number"},
		{"GB", 0, "want a number"},
		{"-1GB", 0, "less than nothing"},
		{"1e9", 0, `unit "e9"`},
		{"1/2k", 0, `unit "/2k"`},
		{"20Mbit", 0, `unit "mbit"`},
		{"1.2.3", 0, "1.2.3 is not a number"},
		{".", 0, "is not a number"},
		{strings.Repeat("9", 41), 0, "too many digits"},
	} {
		got, err := parseSize(tc.in)
		if got != tc.want || (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: got %d, %v; want %d, %q", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func TestParseRate(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
		err  string
	}{
		{"20Mbit", 2_500_000, ""},
		{"20mbit/s", 2_500_000, ""},
		{"2.5MB", 2_500_000, ""},
		{"2.5 MB/s", 2_500_000, ""},
		{"1.5 Gbit", 187_500_000, ""},
		{"8 bit", 1, ""},
		{"64kbit", 8000, ""},
		{"1MiB/s", 1 << 20, ""},
		{"1000", 1000, ""},
		{"10M", 10_000_000, ""},

		{"20", 0, "of what?"},
		{"20Mb", 0, "bits or bytes?"},
		{"20 kb/s", 0, "bits or bytes?"},
		{"20Mbps", 0, "bits or bytes?"},
		{"4bit", 0, "not a whole number"},
		{"0MB", 0, "less than a byte"},
		{"Mbit", 0, "want a number"},
		{"-1Mbit", 0, "want a number"},
		{"-1MB", 0, "less than nothing"},
		{"", 0, "want a number"},
		{"fast", 0, "want a number"},
	} {
		got, err := parseRate(tc.in)
		if got != tc.want || (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: got %d, %v; want %d, %q", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func TestFormatRate(t *testing.T) {
	for n, want := range map[int64]string{
		1: "8 bit/s (1 B/s)", 2_500_000: "20 Mbit/s (2.5 MB/s)", 8000: "64 kbit/s (8.0 kB/s)",
		187_500_000: "1.5 Gbit/s (187.5 MB/s)", 125: "1 kbit/s (125 B/s)",
	} {
		if got := formatRate(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func FuzzParseSizeIsExactOrAnError(f *testing.F) {
	for _, s := range []string{"4GB", "1.5 m", "0.001kB", "9223372036854775807", "..1", "1ki"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if n < 0 || (err != nil && n != 0) {
			t.Errorf("%q: got %d, %v", s, n, err)
		}
	})
}
