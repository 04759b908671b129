//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir writes the names in a folder out to the disk. File systems that have no sync of a folder, as some network and
// FUSE ones, say EINVAL or ENOTSUP; there is nothing more to be done then.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
