package builders

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tarOf returns a tar of what layers hold, of about so many bytes: this program and the sources of Go.
func tarOf(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, content []byte) {
		header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(1e9, 0)}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	add("etc/hostname", []byte("builder\n"))
	add("usr/bin/program", program(t, size/2))
	for name, content := range sources(t, size/2) {
		add("usr/src/"+name, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// program returns the first bytes of this program.
func program(t *testing.T, size int) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, int64(size)))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// sources yields source files of Go, up to so many bytes.
func sources(t *testing.T, size int) func(yield func(string, []byte) bool) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	return func(yield func(string, []byte) bool) {
		err := filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if size -= len(content); size < 0 || !yield(strings.TrimPrefix(path, src), content) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			t.Error(fmt.Errorf("sources of Go: %w", err))
		}
	}
}
