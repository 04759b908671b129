package main

import (
	"errors"
	"io/fs"
	"os"
)

// openBundle opens the file of a bundle and returns its size, too. What is no regular file is refused without being
// opened, because opening a pipe waits for somebody who writes into it.
func openBundle(path string) (_ *os.File, size int64, err error) {
	info, err := os.Stat(path)
	switch {
	case path == "-" && errors.Is(err, fs.ErrNotExist):
		return nil, 0, errNoPipe
	case err != nil:
		return nil, 0, bareError(err)
	case info.IsDir():
		return nil, 0, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil, 0, errNoPipe
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, bareError(err)
	}
	if info, err = f.Stat(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

var errNoPipe = errors.New("not a regular file; a pipe can be read by `ferry unpack -` only")
