//go:build unix

package main

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a named pipe would wait for ever, and no signal ends that.
func TestOpenBundleDoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k8s.tar.zst")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, _, err := openBundle(path); !errors.Is(err, errNoPipe) {
		t.Errorf("got %v, want %v", err, errNoPipe)
	}
}
