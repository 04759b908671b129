package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// testStdio returns streams in memory and a clock that stands still until it is set.
func testStdio() (std *stdio, out, err *bytes.Buffer, now *time.Time) {
	out, err, now = new(bytes.Buffer), new(bytes.Buffer), new(time.Time)
	*now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	std = &stdio{
		In: strings.NewReader(""), Out: out, Err: err,
		Now: func() time.Time { return *now }, Getenv: func(string) string { return "" },
	}
	return std, out, err, now
}

func TestProgressLines(t *testing.T) {
	std, _, stderr, now := testStdio()
	p := std.progress("unpack", 100_000_000)
	for range 25 { // one million bytes a second
		*now = now.Add(time.Second)
		p.add(1_000_000)
	}
	p.end()
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	want := []string{
		"unpack: 10.0 MB of 100.0 MB, 1.0 MB/s, 1m30s left",
		"unpack: 20.0 MB of 100.0 MB, 1.0 MB/s, 1m20s left",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestProgressQuiet(t *testing.T) {
	std, _, stderr, now := testStdio()
	std.Quiet = true
	p := std.progress("unpack", 100)
	*now = now.Add(time.Hour)
	p.add(100)
	p.setTotal(200)
	p.end()
	if stderr.Len() > 0 {
		t.Errorf("printed %q", stderr)
	}
}

func TestMeter(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		steps []int64 // bytes of each second
		total int64
		rate  int64
		left  time.Duration
		known bool
	}{
		{"nothing yet", nil, 100, 0, 0, false},
		{"steady", []int64{10, 10, 10, 10}, 100, 10, 6 * time.Second, true},
		{"standing still", []int64{100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1000, 0, 0, false},
		{"slower than before", append(make([]int64, 30), 40, 40), 1000, 4, 230 * time.Second, true},
		{"more than there was", []int64{200}, 100, 200, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, now := meter{total: c.total}, start
			if len(c.steps) > 0 {
				m.add(0, now)
			}
			for _, n := range c.steps {
				now = now.Add(time.Second)
				m.add(n, now)
			}
			left, known := m.left(now)
			if m.rate(now) != c.rate || left != c.left || known != c.known {
				t.Errorf("rate %d, left %s %v; want %d, %s %v", m.rate(now), left, known, c.rate, c.left, c.known)
			}
		})
	}
}

func TestTable(t *testing.T) {
	table := newTable("IMAGE", ">SIZE", "NOTE")
	table.add("é", "1 B", "")
	table.add("longer:tag", "12.5 GB", "two\nlines \x1b[31m")
	var b strings.Builder
	if err := table.writeTo(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"IMAGE          SIZE  NOTE\n" +
		"é               1 B\n" +
		"longer:tag  12.5 GB  two lines \uFFFD[31m\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// What a bundle or a registry says must not move the cursor.
func TestTextForTheEyeHasNoControls(t *testing.T) {
	std, _, stderr, _ := testStdio()
	std.say("a\x1b[2Jb\rc\u202ed\te")
	if got, want := stderr.String(), "a\uFFFD[2Jb\uFFFDc\uFFFDd\te\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
