//go:build unix

package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// inputReady waits until something can be read from f, and reports whether it can be. It uses select, because poll knows no
// terminals on macOS.
func inputReady(f *os.File, wait time.Duration) bool {
	fd := int(f.Fd())
	var set unix.FdSet
	set.Zero()
	set.Set(fd)
	timeout := unix.NsecToTimeval(wait.Nanoseconds())
	n, err := unix.Select(fd+1, &set, nil, nil, &timeout)
	return err == nil && n > 0
}
