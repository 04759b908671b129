package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestDiskOfNearestFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	if here.dir != dir || here.free <= 0 || here.fsType == "" || here.device == "" {
		t.Errorf("%s: got %+v", dir, here)
	}
	for name, path := range map[string]string{
		"a file":                  file,
		"a file that is to be":    filepath.Join(dir, "new"),
		"folders that are to be":  filepath.Join(dir, "a", "b", "c", "k8s.tar.zst"),
		"a folder, slash at end":  dir + string(filepath.Separator),
		"dots on the way":         filepath.Join(dir, "a") + string(filepath.Separator) + "..",
		"twice dots, not cleaned": dir + "/a/b/../../c",
	} {
		got, err := diskOf(path)
		if err != nil || got.dir != dir || got.device != here.device || got.fsType != here.fsType {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, here)
		}
	}
	if got, err := diskOf(filepath.Join(file, "below", "it")); err == nil {
		t.Errorf("below a file: got %+v", got)
	}
	t.Chdir(dir)
	if got, err := diskOf("k8s.tar.zst"); err != nil || got.device != here.device {
		t.Errorf("a name alone: got %+v, %v", got, err)
	}
}

func TestBlocks(t *testing.T) {
	for _, tc := range []struct {
		n, size uint64
		want    int64
	}{
		{0, 4096, 0},
		{3, 4096, 12288},
		{math.MaxInt64, 1, math.MaxInt64},
		{math.MaxInt64, 2, math.MaxInt64},
		{math.MaxUint64, 1, math.MaxInt64},
		{math.MaxUint64, 4096, math.MaxInt64},
	} {
		if got := blocks(tc.n, tc.size); got != tc.want {
			t.Errorf("%d of %d: got %d, want %d", tc.n, tc.size, got, tc.want)
		}
	}
}
