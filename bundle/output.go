package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/ferry-oci/ferry/oci/durable"
)

// partialSuffix marks an output that is not whole.
const partialSuffix = ".partial"

// Output is the file of a bundle while it is written. It lies beside its final name, with the suffix .partial, until
// Commit; what had the name before stays untouched until then.
type Output struct {
	path    string
	file    *os.File
	sum     hash.Hash
	written int64
	flushed int64 // how far the system was asked to write to the disk
}

// CreateOutput begins the file that is to become path. An unfinished one of an earlier run is overwritten.
func CreateOutput(path string) (*Output, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.OpenFile(path+partialSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &Output{path: path, file: f, sum: sha256.New()}, nil
}

// Write appends to the file. It hashes and writes piece by piece, so that each piece is read from memory once.
func (o *Output) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), outputPiece)]
		o.sum.Write(piece)
		var n int
		n, err = o.file.Write(piece)
		written += n
		p = p[n:]
	}
	o.written += int64(written)
	if o.written-o.flushed >= writebackStep {
		durable.StartWriteback(o.file, o.flushed, o.written-o.flushed)
		o.flushed = o.written
	}
	return written, err
}

// outputPiece is how much is hashed and written at once: what fits into a processor's cache.
const outputPiece = 256 << 10

// writebackStep is how many bytes gather before the system is asked to begin writing them, so that the sync at the
// end finds little left to do.
const writebackStep = 16 << 20

// Size returns the number of bytes written.
func (o *Output) Size() int64 { return o.written }

// Sum returns the sha256 of all that was written, in hex.
func (o *Output) Sum() string { return hex.EncodeToString(o.sum.Sum(nil)) }

// Sync returns when all that was written before is on the disk.
func (o *Output) Sync() error { return o.file.Sync() }

// Restart empties the file, for a bundle that has to be written anew.
func (o *Output) Restart() error {
	if err := o.file.Truncate(0); err != nil {
		return err
	}
	if _, err := o.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	o.sum.Reset()
	o.written, o.flushed = 0, 0
	return nil
}

// Commit syncs the file, gives it its name and writes NAME.sha256. When it returns nil, all is on the disk.
func (o *Output) Commit() (err error) {
	defer func() {
		if err != nil {
			os.Remove(o.file.Name())
		}
	}()
	if err := errors.Join(o.file.Sync(), o.file.Close()); err != nil {
		return err
	}
	// An old list must not stand beside the new bundle, nor the new list beside an old bundle.
	if err := os.Remove(SumFile(o.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		return err
	}
	list := sumsText(filepath.Base(o.path), 0, nil, o.Sum())
	return durable.WriteFile(SumFile(o.path), list) // which syncs the folder, for the bundle's name too
}

// Abort removes the unfinished file.
func (o *Output) Abort() {
	o.file.Close()
	os.Remove(o.file.Name())
}
