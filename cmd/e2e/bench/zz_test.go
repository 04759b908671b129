//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestZZ(t *testing.T) {
	u, _ := os.UserCacheDir()
	s, err := chooseVersions(t.Context(), filepath.Join(u, "ferry-bench"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(s.Images), len(s.Blobs), s.Bytes)
	few, err := part(s, partBytes)
	t.Log(len(few.Images), few.Bytes, err)
}
