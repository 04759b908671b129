//go:build unix

package registry

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSaveCredentialKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	path := filepath.Join(t.TempDir(), "config.json")
	save(t, path, "h.io", "a", "x")
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	save(t, path, "o.io", "b", "x")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 12345 || owner.Gid != 23456 || info.Mode().Perm() != 0o600 {
		t.Errorf("owner %d:%d, mode %v", owner.Uid, owner.Gid, info.Mode())
	}
}
