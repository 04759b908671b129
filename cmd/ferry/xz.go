package main

import (
	"os/exec"

	"github.com/ferry-oci/ferry/compress"
)

// program returns the path of the program xz, which is faster than what ferry has built in and packs smaller, or zstd, which
// packs smaller; empty where there is none, and ferry does the work itself.
func program(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

// reading returns how bundles are read.
func reading() compress.ReaderOptions { return compress.ReaderOptions{XZProgram: program("xz")} }
