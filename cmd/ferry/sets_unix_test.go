//go:build unix

package main

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ferry-oci/ferry/bundle"
)

// Opening a named pipe would wait for ever, and no signal ends that.
func TestFindBundleDoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k8s.tar.zst")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := findBundle([]string{path}); !errors.Is(err, bundle.ErrNotRegular) {
		t.Errorf("got %v, want %v", err, bundle.ErrNotRegular)
	}
}
