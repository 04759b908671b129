//go:build linux

package oci_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/ferry-oci/ferry/oci"
)

// TestStoreFullDisk has a part that lies on a full device.
func TestStoreFullDisk(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := describe(randomBytes(1, 1000))
	if err := os.Symlink("/dev/full", partFile(s.Dir(), d)); err != nil {
		t.Fatal(err)
	}
	err := s.Push(t.Context(), here, d, (&given{raw: randomBytes(1, 1000)}).open)
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	push(t, s, d, randomBytes(1, 1000))
}
