package bundle

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the system to begin writing a range of f to the disk, without waiting for it. It only hurries
// what Sync does, so an error does not matter.
func startWriteback(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
