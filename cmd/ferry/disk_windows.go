package main

import (
	"strconv"

	"golang.org/x/sys/windows"
)

// stat fills in what the system knows of d.dir.
func (d *disk) stat() error {
	dir, err := windows.UTF16PtrFromString(d.dir)
	if err != nil {
		return err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, nil, nil); err != nil {
		return err
	}
	d.free = blocks(free, 1)
	volume := make([]uint16, windows.MAX_LONG_PATH)
	if err := windows.GetVolumePathName(dir, &volume[0], uint32(len(volume))); err != nil {
		return err
	}
	name := make([]uint16, windows.MAX_PATH+1)
	var serial uint32
	err = windows.GetVolumeInformation(&volume[0], nil, 0, &serial, nil, nil, &name[0], uint32(len(name)))
	if err != nil {
		return err
	}
	d.fsType = windows.UTF16ToString(name)
	d.fat = d.fsType == "FAT32" || d.fsType == "FAT"
	d.device = strconv.FormatUint(uint64(serial), 16)
	return nil
}
