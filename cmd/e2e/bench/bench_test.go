//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []int64
		want   int64
	}{
		{"none", nil, 0},
		{"one", []int64{7}, 7},
		{"odd, unsorted", []int64{9, 1, 5}, 5},
		{"even", []int64{4, 1, 9, 2}, 3},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

func TestRatio(t *testing.T) {
	for _, test := range []struct {
		a, b float64
		want string
	}{
		{1, 2, "0.50"},
		{1, 1.05, "0.95 tie"},
		{1.2, 1, "1.20"},
		{3, 3, "-"},
		{1, 0, "-"},
	} {
		if got := ratio(test.a, test.b); got != test.want {
			t.Errorf("%v / %v: got %q, want %q", test.a, test.b, got, test.want)
		}
	}
}

func TestRunScript(t *testing.T) {
	// tail keeps what it is asked for in memory, in a process below the shell.
	const script = "head -c 80000000 /dev/zero | tail -c 60000000 | (sleep 0.2; cat >/dev/null)"
	u, err := runScript(t.Context(), t.TempDir(), os.Environ(), script)
	if err != nil {
		t.Fatal(err)
	}
	if u.Memory < 40e6 || u.Memory > 400e6 {
		t.Errorf("peak memory %d, want some 60 MB", u.Memory)
	}
	if u.Wall < 0.2 || u.CPU <= 0 {
		t.Errorf("wall %v s, CPU %v s", u.Wall, u.CPU)
	}
}

func TestRunScriptThatFails(t *testing.T) {
	_, err := runScript(t.Context(), t.TempDir(), os.Environ(), "echo the reason >&2\nfalse\necho not reached")
	if err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("got %v, want the output", err)
	}
}

// rows makes measurements of ferry, of a peer and of curl, with these times.
func rows(ferry, peer, curl float64) []row {
	return []row{
		{Tool: ferryTool(), Median: sample{usage: usage{Wall: ferry, Memory: 50e6}}},
		{Tool: tool{Name: "peer", Gate: true}, Median: sample{usage: usage{Wall: peer}}},
		{Tool: tool{Name: "broken", Gate: true}, Failed: "yes"},
		{Tool: tool{Name: "floor: push"}, Median: sample{usage: usage{Wall: curl}}},
	}
}

// copyRows makes measurements of a copy: of ferry, of a peer that takes 1 s of processor time and 20 requests, and of
// curl, which takes 1 s.
func copyRows(cpu float64, requests int64, wall float64) []row {
	return []row{
		{Tool: ferryTool(), Median: sample{usage: usage{Wall: wall, CPU: cpu}, Requests: requests}},
		{Tool: tool{Name: "peer", Gate: true}, Median: sample{usage: usage{Wall: 9, CPU: 1}, Requests: 20}},
		{Tool: tool{Name: "floor: pipe"}, Median: sample{usage: usage{Wall: 1}}},
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name   string
		report report
		missed string // the first word of the goals that are missed
	}{
		{"all reached", report{Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1)}, ""},
		{"ties", report{Save: rows(1.05, 1, 0), Load: rows(0.65, 1, 0.1)}, ""},
		{"pack too slow", report{Save: rows(1.2, 1, 0), Load: rows(0.6, 1, 0.1)}, "pack"},
		{"unpack too slow", report{Save: rows(1, 1, 0), Load: rows(0.8, 1, 0.1)}, "unpack"},
		{"unpack as fast as curl", report{Save: rows(1, 1, 0), Load: rows(0.8, 1, 0.7)}, ""},
		{
			"memory grows with the images",
			report{
				Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1),
				Ferry: ferryFacts{ManyPack: sample{usage: usage{Memory: 300e6}}},
			},
			"pack",
		},
		{
			"second unpack uploads",
			report{
				Corpus: corpusFacts{Images: 2, Blobs: 5}, Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1),
				Ferry: ferryFacts{SecondUnpack: sample{Counts: distribution.Counts{Requests: map[string]int{"PUT upload": 1}}}},
			},
			"a",
		},
		{
			"copy takes more processor time than a peer",
			report{Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1), Copy: copyRows(2, 10, 1)},
			"copy",
		},
		{
			"copy takes as many requests as a peer",
			report{Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1), Copy: copyRows(0.5, 20, 1)},
			"copy",
		},
		{
			"copy takes longer than curl",
			report{Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1), Copy: copyRows(0.5, 10, 2)},
			"copy",
		},
		{
			"copy reaches all",
			report{Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1), Copy: copyRows(0.5, 10, 1.1)},
			"",
		},
		{
			"a long line half used",
			report{
				Corpus: corpusFacts{Bytes: 20 * lineRate}, Save: rows(1, 1, 0), Load: rows(0.6, 1, 0.1),
				Line: lineFacts{Rate: lineRate, Pack: sample{usage: usage{Wall: 40}}, Copy: sample{usage: usage{Wall: 22}}},
			},
			"pack",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.report.judge()
			var missed []string
			for _, g := range test.report.Goals {
				if g.Result == "MISSED" {
					first, _, _ := strings.Cut(g.What, " ")
					missed = append(missed, first)
				}
			}
			if got := strings.Join(missed, " "); got != test.missed || test.report.missed() != (got != "") {
				t.Errorf("missed %q, want %q: %+v", got, test.missed, test.report.Goals)
			}
		})
	}
}

func TestFileSystem(t *testing.T) {
	if got := fileSystem("/proc/self"); got != "proc (/proc)" {
		t.Errorf("got %q, want that of /proc", got)
	}
	if got := fileSystem(filepath.Dir("/procession/x")); strings.HasPrefix(got, "proc") {
		t.Errorf("got %q for a folder whose name begins alike", got)
	}
}
