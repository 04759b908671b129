//go:build linux || darwin

package main

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// setDevice sets d.device.
func (d *disk) setDevice() error {
	var s unix.Stat_t
	if err := unix.Stat(d.dir, &s); err != nil {
		return err
	}
	d.device = strconv.FormatUint(uint64(s.Dev), 16)
	return nil
}
