package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"path/filepath"
)

// fatMaxFile is the size of the largest file that a FAT file system takes, in bytes.
const fatMaxFile = 1<<32 - 1

// disk is the file system that a folder lies on, or will when it is made.
type disk struct {
	dir    string // the folder that was looked at: the nearest one that exists
	free   int64  // bytes that this user can still write
	fsType string // its name in the system's words, as ext4, vfat, NTFS; in hex where it has none here
	fat    bool   // no file above fatMaxFile fits
	device string // equal for two folders of one file system
}

// diskOf returns the disk of path, a file or folder that need not exist yet.
func diskOf(path string) (disk, error) {
	dir, err := nearestFolder(path)
	if err != nil {
		return disk{}, err
	}
	d := disk{dir: dir}
	if err := d.stat(); err != nil {
		return disk{}, fmt.Errorf("disk of %s: %w", dir, err)
	}
	return d, nil
}

// nearestFolder returns path if it is a folder, and else the first above it that exists.
func nearestFolder(path string) (string, error) {
	at, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for first := true; ; first = false {
		info, err := os.Stat(at)
		switch {
		case err == nil && info.IsDir():
			return at, nil
		case err == nil && !first:
			return "", &fs.PathError{Op: "stat", Path: at, Err: errors.New("not a folder")}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		case at == filepath.Dir(at):
			return "", &fs.PathError{Op: "stat", Path: at, Err: fs.ErrNotExist}
		}
		at = filepath.Dir(at)
	}
}

// blocks returns the bytes in n blocks of this size, or as many as an int64 holds.
func blocks(n, size uint64) int64 {
	high, low := bits.Mul64(n, size)
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}
