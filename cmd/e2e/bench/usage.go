//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// usage is what a script took, with all processes that it started.
type usage struct {
	Wall    float64 `json:"wallSeconds"`
	CPU     float64 `json:"cpuSeconds"` // user and system
	Memory  int64   `json:"peakMemoryBytes"`
	Written int64   `json:"writtenBytes"` // to file systems, whether or not it has reached the disk
}

// sampling is how often the memory of a process tree is added up.
const sampling = 20 * time.Millisecond

// runScript runs a shell script in dir, which ends at the first command that fails.
func runScript(ctx context.Context, dir string, env []string, script string) (usage, error) {
	cmd := exec.CommandContext(ctx, "sh", "-ec", script)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	stop := make(chan struct{})
	var peak int64
	var sampler sync.WaitGroup
	sampler.Go(func() { peak = samplePeak(cmd.Process.Pid, stop) })
	err := cmd.Wait()
	wall := time.Since(start)
	close(stop)
	sampler.Wait()
	if err != nil {
		return usage{}, fmt.Errorf("%w\n%s\n%s", err, script, output.Bytes())
	}
	u := usage{Wall: wall.Seconds(), Memory: peak}
	u.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.Written = r.Oublock * 512
	}
	return u, nil
}

// samplePeak adds up the resident memory of a process and all below it until stop is closed, and returns the most. What
// processes share counts for each. (wait4's figure will not do: it holds that of this program, from before the exec.)
func samplePeak(pid int, stop <-chan struct{}) (peak int64) {
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return peak
		case <-ticker.C:
			now, single := treeMemory(pid)
			peak = max(peak, now, single)
		}
	}
}

// treeMemory returns the resident memory of a process and all below it, and the most that a single one of them has ever
// had, which may have been between two samples.
func treeMemory(pid int) (now, single int64) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	now, single = residentMemory(proc)
	tasks, err := os.ReadDir(filepath.Join(proc, "task"))
	if err != nil {
		return now, single
	}
	for _, task := range tasks {
		children, err := os.ReadFile(filepath.Join(proc, "task", task.Name(), "children"))
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				n, s := treeMemory(id)
				now, single = now+n, max(single, s)
			}
		}
	}
	return now, single
}

// residentMemory returns the resident memory of a process in bytes, now and at its most; 0 when it has ended.
func residentMemory(proc string) (now, most int64) {
	raw, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.ParseInt(kilobytes, 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			now = n << 10
		case "VmHWM":
			most = n << 10
		}
	}
	return now, most
}
