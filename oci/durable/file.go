// Package durable puts files on a disk so that they are there whole, or not at all, whatever ends the process or the
// power. [WriteFile] does it for a small file; what writes a large one itself hurries it with [StartWriteback], and makes
// its name last with [SyncDir].
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// TempSuffix ends the name of a file that WriteFile has not finished.
const TempSuffix = ".tmp"

// WriteFile puts raw under the name path, whole or not at all, and out to the disk.
func WriteFile(path string, raw []byte) error {
	f, err := os.Create(path + TempSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// ErrTooLarge comes back from ReadFile for a file above its limit.
var ErrTooLarge = errors.New("the file is too large")

// ReadFile returns the content of a file of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s: more than %d bytes: %w", path, limit, ErrTooLarge)
	}
	return raw, err
}
