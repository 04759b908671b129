package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dropCache makes the next reads of f come from the disk, not from what the system holds of it in memory. It writes out
// first what is not on the disk yet, since that cannot be dropped. Elsewhere than on Linux it is
// [errors.ErrUnsupported].
func dropCache(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var dropErr error
	err = conn.Control(func(fd uintptr) {
		if dropErr = unix.Fdatasync(int(fd)); dropErr == nil {
			dropErr = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED)
		}
	})
	return errors.Join(err, dropErr)
}
