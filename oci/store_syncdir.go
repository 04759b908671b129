//go:build !windows

package oci

import (
	"errors"
	"os"
)

// syncDir writes the names in a folder out to the disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
