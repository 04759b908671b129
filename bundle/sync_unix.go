//go:build !windows

package bundle

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes renames in dir last. File systems that cannot sync a folder (some network and FUSE ones) say
// EINVAL or ENOTSUP; there is nothing more to be done then.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
