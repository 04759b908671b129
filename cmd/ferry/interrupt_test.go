//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A run that the user stops while it waits ends at once, with its own exit code.
func TestInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.tar")
	if err := writeTestBundle(path, "big"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) { testInterrupted(t, signal, raw[:len(raw)-1000]) })
	}
}

// testInterrupted sends the signal to a ferry that waits for the rest of a bundle from a pipe.
func testInterrupted(t *testing.T, signal syscall.Signal, bundleStart []byte) {
	cmd := exec.Command("ferry", "unpack", "-", "oci:"+filepath.Join(t.TempDir(), "layout"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write(bundleStart); err != nil { // more than a pipe holds: it returns while ferry reads
		t.Errorf("%v; stderr %q", err, stderr.String())
	}
	if err := cmd.Process.Signal(signal); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", err, exitInterrupted)
	}
	if !strings.HasPrefix(stderr.String(), "ferry: interrupted\n") && !strings.Contains(stderr.String(), "\nferry: interrupted\n") {
		t.Errorf("stderr %q", stderr.String())
	}
}
