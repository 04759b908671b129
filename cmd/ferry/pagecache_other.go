//go:build !linux

package main

import (
	"errors"
	"os"
)

// dropCache does nothing: this system cannot be told to forget what it holds of a file in memory.
func dropCache(*os.File) error { return errors.ErrUnsupported }
