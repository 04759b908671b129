package main

import "golang.org/x/sys/unix"

// stat fills in what the system knows of d.dir.
func (d *disk) stat() error {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return err
	}
	d.free = blocks(s.Bavail, uint64(s.Bsize))
	d.fsType = unix.ByteSliceToString(s.Fstypename[:])
	d.fat = d.fsType == "msdos"
	return d.setDevice()
}
