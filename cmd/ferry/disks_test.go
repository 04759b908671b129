//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/bundle"
)

// newDisks returns who asks for volume 2 of a bundle of two, of which the first lies in a folder, and what is typed.
func newDisks(t *testing.T) (d *disks, folder string, typed *os.File, said *bytes.Buffer) {
	t.Helper()
	folder = t.TempDir()
	zeros := strings.Repeat("0", 64)
	for name, content := range map[string]string{
		"k8s.tar.001":    "some bytes",
		"k8s.tar.sha256": zeros + "  k8s.tar.001\n" + zeros + "  k8s.tar.002\n" + zeros + "  k8s.tar\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := findBundle([]string{folder})
	if err != nil {
		t.Fatal(err)
	}
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); typed.Close() })
	said = &bytes.Buffer{}
	return &disks{set: set, std: &stdio{In: in, Err: said}}, folder, typed, said
}

// A disk that is put in while nobody types is seen.
func TestDiskIsSeen(t *testing.T) {
	d, folder, _, _ := newDisks(t)
	done := make(chan error)
	go func() { done <- d.ask(t.Context(), 2) }()
	if err := os.WriteFile(filepath.Join(folder, "k8s.tar.002"), []byte("the rest"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if missing := d.set.Missing(); len(missing) > 0 {
		t.Errorf("%v are missing", missing)
	}
}

// Ctrl-C ends the waiting, and so does the end of what is typed.
func TestAskEnds(t *testing.T) {
	d, _, typed, said := newDisks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.ask(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	typed.Close()
	var missing *bundle.MissingError
	if err := d.ask(t.Context(), 2); !errors.As(err, &missing) {
		t.Errorf("nobody there: got %v", err)
	}
	if want := "k8s.tar.002, volume 2 of 2, is not in "; !strings.Contains(said.String(), want) {
		t.Errorf("got %q, want %q", said, want)
	}
}
