package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ferry-oci/ferry/oci/durable"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.json")
	for _, content := range []string{"first", "second, and longer", ""} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := durable.ReadFile(path, int64(len(content))); err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
	}
	if _, err := os.Stat(path + durable.TempSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was temporary is left: %v", err)
	}
	if err := durable.WriteFile(filepath.Join(path, "below"), nil); err == nil {
		t.Error("a file below a file was written")
	}
}

func TestReadFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.ReadFile(path, 4); !errors.Is(err, durable.ErrTooLarge) {
		t.Errorf("5 bytes with a limit of 4: %v", err)
	}
	if got, err := durable.ReadFile(path, 5); err != nil || string(got) != "12345" {
		t.Errorf("%q, %v", got, err)
	}
}
