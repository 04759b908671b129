//go:build !linux

package durable

import "os"

// StartWriteback is a hint that this system has no call for.
func StartWriteback(*os.File, int64, int64) {}
