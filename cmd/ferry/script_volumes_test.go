package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/bundle"
)

// volumes FILE N FOLDER... cuts the bundle FILE into N volumes, which lie in the folders in turn, and writes NAME.sha256 into all
// of them. FILE is gone then.
func (s *story) volumes(ts *testscript.TestScript, args []string) error {
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	name, folders := filepath.Base(path), args[2:]
	var list strings.Builder
	size := (len(raw) + count - 1) / count
	for n := 1; n <= count; n++ {
		part := raw[min(len(raw), (n-1)*size):min(len(raw), n*size)]
		file := bundle.VolumeName(name, n, 3)
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(part), file)
		dir := ts.MkAbs(folders[(n-1)%len(folders)])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), part, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(raw), name)
	for _, dir := range folders {
		if err := os.WriteFile(bundle.SumFile(filepath.Join(ts.MkAbs(dir), name)), []byte(list.String()), 0o644); err != nil {
			return err
		}
	}
	os.Remove(bundle.SumFile(path))
	return os.Remove(path)
}

// damagevolume FILE flips a bit in the middle of a file.
func (s *story) damageVolume(ts *testscript.TestScript, args []string) error {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	raw[len(raw)/2] ^= 1
	return os.WriteFile(ts.MkAbs(args[0]), raw, 0o644)
}
