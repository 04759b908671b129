package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeWhole writes a small file, which appears under its name only when it is whole. What is no regular file, such as
// /dev/stdout, is written to directly.
func writeWhole(path string, content []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, content, 0o644)
	}
	return createWhole(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// createWhole writes a file of that mode, which appears under its name only when fill has written all of it.
func createWhole(path string, mode fs.FileMode, fill func(w io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("%s: %w", path, bareError(err))
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	if err := errors.Join(fill(tmp), tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
