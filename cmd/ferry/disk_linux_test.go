package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDiskOfTmpfs(t *testing.T) {
	mounted := func(line string) bool { return strings.HasPrefix(line, "tmpfs /dev/shm tmpfs ") }
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !anyLine(string(mounts), mounted) {
		t.Skip("no tmpfs at /dev/shm")
	}
	shm, err := diskOf("/dev/shm")
	if err != nil || shm.fsType != "tmpfs" || shm.fat {
		t.Errorf("got %+v, %v", shm, err)
	}
	proc, err := diskOf("/proc/self")
	if err != nil || proc.device == shm.device || !strings.HasPrefix(proc.fsType, "0x") {
		t.Errorf("got %+v, %v", proc, err)
	}
}

// TestDiskOfFAT looks at a real FAT file system, for which it has to be root on a machine with mkfs.vfat.
func TestDiskOfFAT(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.vfat")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and mkfs.vfat")
	}
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	if err := errors.Join(os.Mkdir(mount, 0o755), os.WriteFile(image, make([]byte, 40<<20), 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-F", "32", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.vfat: %v\n%s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", mount).Run(); err != nil {
			t.Error(err)
		}
	})
	got, err := diskOf(filepath.Join(mount, "new", "k8s.tar.zst"))
	if err != nil || got.dir != mount || !got.fat || got.fsType != "vfat" || got.free <= 0 || got.free > 40<<20 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func anyLine(text string, fits func(string) bool) bool {
	for line := range strings.Lines(text) {
		if fits(line) {
			return true
		}
	}
	return false
}

func TestDropCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("ferry"), 1<<20)
	if err := os.WriteFile(path, content, 0o644); err != nil { // not synced: that is for dropCache
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d, err := diskOf(path); err != nil || d.fsType == "tmpfs" || d.fsType == "overlay" {
		t.Skipf("files in memory have no other place: %+v, %v", d, err)
	}
	if err := dropCache(f); err != nil {
		t.Fatal(err)
	}
	if inMemory(t, f, int64(len(content)/2)) {
		t.Error("the middle of the file is in memory still")
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the content has changed, or %v", err)
	}
	f.Close()
	if err := dropCache(f); err == nil {
		t.Error("a closed file was dropped")
	}
}

// inMemory reports whether the byte at offset can be had without the disk.
func inMemory(t *testing.T, f *os.File, offset int64) bool {
	t.Helper()
	_, err := unix.Preadv2(int(f.Fd()), [][]byte{make([]byte, 1)}, offset, unix.RWF_NOWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false
	case err != nil:
		t.Skipf("this file system does not tell what is in memory: %v", err)
	}
	return true
}
