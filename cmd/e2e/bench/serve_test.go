//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

func TestJudgeServe(t *testing.T) {
	facts := func(ferry, distribution, first float64, memory int64) serveFacts {
		f := serveFacts{First: []float64{first}, ManyMemory: memory}
		for _, client := range []string{clientCrane, clientCurl} {
			f.Rows = append(f.Rows,
				serveRow{Server: serverFerry, Client: client, Median: serveSample{usage: usage{Wall: ferry}}},
				serveRow{Server: serverDistribution, Client: client, Median: serveSample{usage: usage{Wall: distribution}}})
		}
		return f
	}
	for _, test := range []struct {
		name   string
		facts  serveFacts
		missed int
	}{
		{"nothing was measured", serveFacts{}, 0},
		{"all reached", facts(1.25, 1, 0.19, 200e6), 0},
		{"too slow", facts(1.3, 1, 0.1, 1), 1},
		{"the first manifest is late", facts(1, 1, 0.2, 1), 1},
		{"too much memory", facts(1, 1, 0.1, 201e6), 1},
	} {
		r := report{Serve: test.facts}
		r.judgeServe()
		missed := 0
		for _, g := range r.Goals {
			if g.Result == "MISSED" {
				missed++
			}
		}
		if missed != test.missed {
			t.Errorf("%s: %d missed, want %d: %+v", test.name, missed, test.missed, r.Goals)
		}
	}
}

func TestProcessorTime(t *testing.T) {
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; read wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // the work is done
		t.Fatal(err)
	}
	seconds, err := processorTime(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid)))
	if err != nil || seconds <= 0 || seconds > 20 {
		t.Errorf("%v s, %v", seconds, err)
	}
	in.Close()
	_ = cmd.Wait() // read ends without a line
	if _, err := processorTime(t.TempDir()); !os.IsNotExist(err) {
		t.Errorf("of no process: %v", err)
	}
}

func TestServedAt(t *testing.T) {
	for _, line := range []string{
		"5 images in 5 repositories at http://127.0.0.1:4321, read-only; Ctrl-C ends", "2026/11/26 05:13:19 serving on port 4321",
	} {
		if m := servedAt.FindStringSubmatch(line); m == nil || m[1] != "4321" {
			t.Errorf("%s: %v", line, m)
		}
	}
}
