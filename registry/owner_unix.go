//go:build unix

package registry

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives f the owner that the file path has, so that a root who logs in for a user does not take the file away
// from the user. Anybody else owns what is there, or may not give it to its owner: then there is nothing to be done.
func keepOwner(f *os.File, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || os.Geteuid() != 0 {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
