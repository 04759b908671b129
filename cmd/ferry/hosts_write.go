package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ferry-oci/ferry/registry/nodes"
)

// writeHosts writes the files below dir and prints where they go. Files that ferry hosts did not make stay, unless force;
// then nothing is written at all. Nothing outside of dir is touched, whatever links are in it.
func writeHosts(dir string, configs []nodes.Config, force bool, std *stdio) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var files []nodes.File
	for _, c := range configs {
		files = append(files, c.Files...)
	}
	if !force {
		if err := checkForeign(root, files); err != nil {
			return err
		}
	}
	t := newTable("FILE", "ON A NODE")
	for _, f := range files {
		if err := writeInside(root, f.Path, f.Text); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, filepath.FromSlash(f.Path)), bareError(err))
		}
		t.add(path.Join(filepath.ToSlash(dir), f.Path), f.Place)
	}
	return t.writeTo(std.Out)
}

// checkForeign returns an error that names the files which are there and were not made by ferry hosts.
func checkForeign(root *os.Root, files []nodes.File) error {
	var foreign []string
	for _, f := range files {
		old, err := root.ReadFile(f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("%s: %w", f.Path, bareError(err))
		case !isOwn(old) && !bytes.Equal(old, f.Text):
			foreign = append(foreign, filepath.Join(root.Name(), filepath.FromSlash(f.Path)))
		}
	}
	if len(foreign) > 0 {
		return fmt.Errorf("nothing was written, since these were not made by ferry hosts (--force replaces them):\n  %s",
			strings.Join(foreign, "\n  "))
	}
	return nil
}

// writeInside writes a file below root, whose name appears when it is whole.
func writeInside(root *os.Root, name string, text []byte) (err error) {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := name + ".partial"
	defer func() {
		if err != nil {
			_ = root.Remove(tmp) // it may not be there
		}
	}()
	if err := root.WriteFile(tmp, text, 0o644); err != nil {
		return err
	}
	return root.Rename(tmp, name)
}
