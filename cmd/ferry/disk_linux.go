package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// stat fills in what the system knows of d.dir.
func (d *disk) stat() error {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return err
	}
	size := s.Frsize // as statvfs(3) counts; Bsize is the size of a good transfer
	if size <= 0 {
		size = s.Bsize
	}
	d.free = blocks(s.Bavail, uint64(size))
	magic := uint32(s.Type)
	d.fsType = fsNames[magic]
	if d.fsType == "" {
		d.fsType = fmt.Sprintf("%#x", magic)
	}
	d.fat = magic == unix.MSDOS_SUPER_MAGIC
	return d.setDevice()
}

// fsNames are the file systems that bundles lie on, by the magic number of statfs(2).
var fsNames = map[uint32]string{
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.CEPH_SUPER_MAGIC:      "ceph",
	unix.CIFS_SUPER_MAGIC:      "cifs",
	unix.EXFAT_SUPER_MAGIC:     "exfat",
	unix.EXT4_SUPER_MAGIC:      "ext4", // and ext2, ext3
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	unix.ISOFS_SUPER_MAGIC:     "iso9660",
	unix.MSDOS_SUPER_MAGIC:     "vfat",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.SMB2_SUPER_MAGIC:      "smb2",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.UDF_SUPER_MAGIC:       "udf",
	unix.V9FS_MAGIC:            "9p",
	unix.XFS_SUPER_MAGIC:       "xfs",
	0x2fc12fc1:                 "zfs",
	0x482b:                     "hfsplus",
	0x5346544e:                 "ntfs",
	0x7366746e:                 "ntfs3",
}
