//go:build !linux && !darwin && !windows

package main

import "errors"

// stat knows nothing of disks here.
func (d *disk) stat() error { return errors.ErrUnsupported }
