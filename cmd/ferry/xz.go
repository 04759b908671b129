package main

import (
	"os/exec"

	"github.com/ferry-oci/ferry/compress"
)

// xzProgram returns the path of the xz program, which is faster than what ferry has built in, and packs smaller; empty
// where there is none, and ferry does the work itself.
func xzProgram() string {
	path, err := exec.LookPath("xz")
	if err != nil {
		return ""
	}
	return path
}

// reading returns how bundles are read.
func reading() compress.ReaderOptions { return compress.ReaderOptions{XZProgram: xzProgram()} }
