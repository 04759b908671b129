package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ferry-oci/ferry/oci/durable"
)

// partialSuffix marks an output that is not whole.
const partialSuffix = ".partial"

// Output is where a bundle goes while it is written: one file, or volumes. What has its name before stays untouched until
// Commit, but what OutputOptions.Replace speaks of.
type Output struct {
	path    string
	to      medium
	sum     hash.Hash
	written int64           // bytes of the bundle up to where it stands
	hashed  int64           // bytes of it that are in sum, which may be more when it goes on where another one has stopped
	beside  strings.Builder // lines of NAME.sha256 about other files
}

// medium is what an Output writes to.
type medium interface {
	// write takes the bytes of the bundle from offset at on, which is where the last ones ended.
	write(p []byte, at int64) (int, error)
	// sync returns when all that was written before is on the disk.
	sync() error
	// restart forgets what was written and is not finished.
	restart() error
	// commit finishes the bundle of size bytes, with list in NAME.sha256 behind the volumes. After an error there is none.
	commit(size int64, list string) error
	// abort leaves behind what another Output can go on with, and nothing else.
	abort()
}

// OutputOptions are how an output is written. The zero value writes one file.
type OutputOptions struct {
	// Volume is the size of the volumes in bytes, see FORMAT.md section 7; 0 writes one file.
	Volume int64
	// Folders are where volumes go beside the folder of the bundle, in turn: each is filled before the next one.
	Folders []string
	// Free returns how many bytes a folder has room for; nil takes all folders for large enough.
	Free func(folder string) (int64, error)
	// Writer is the program that writes, with its version: another one does not go on with what this one leaves.
	Writer string
	// Replace removes what Old returns: volumes when the first byte is written, those of a bundle in one file when that is whole.
	Replace bool
}

// CreateOutput begins the bundle that is to become path. What is unfinished of an earlier run is overwritten, but whole
// volumes, with which Begin goes on.
func CreateOutput(path string, o OutputOptions) (*Output, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	out := &Output{path: path, sum: sha256.New()}
	var err error
	if o.Volume > 0 {
		out.to, err = newVolumes(path, o)
	} else {
		out.to, err = newSingleFile(path, o)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Write appends to the bundle. It hashes and writes piece by piece, so that each piece is read from memory once.
func (o *Output) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), outputPiece)]
		if end := o.written + int64(len(piece)); end > o.hashed {
			o.sum.Write(piece[max(0, o.hashed-o.written):])
			o.hashed = end
		}
		var n int
		n, err = o.to.write(piece, o.written)
		written += n
		o.written += int64(n)
		p = p[n:]
	}
	return written, err
}

// outputPiece is how much is hashed and written at once: what fits into a processor's cache.
const outputPiece = 256 << 10

// Size returns the number of bytes written.
func (o *Output) Size() int64 { return o.written }

// Sum returns the sha256 of all that was written, in hex.
func (o *Output) Sum() string { return hex.EncodeToString(o.sum.Sum(nil)) }

// Sync returns when all that was written before is on the disk.
func (o *Output) Sync() error { return o.to.sync() }

// Restart prepares for a bundle that has to be written anew.
func (o *Output) Restart() error {
	if err := o.to.restart(); err != nil {
		return err
	}
	o.stand(0, 0, sha256.New())
	return nil
}

// stand says where the output stands, and how many bytes are in sum.
func (o *Output) stand(at, hashed int64, sum hash.Hash) { o.written, o.hashed, o.sum = at, hashed, sum }

// Beside adds a file that lies beside the bundle to NAME.sha256: its name, and its sha256 in hex.
func (o *Output) Beside(name, sum string) { o.beside.WriteString(sumLine(sum, name)) }

// Commit syncs the bundle, gives it its name and writes NAME.sha256. When it returns nil, all is on the disk.
func (o *Output) Commit() error {
	return o.to.commit(o.written, o.beside.String()+sumLine(o.Sum(), filepath.Base(o.path)))
}

// Abort removes what is not finished.
func (o *Output) Abort() { o.to.abort() }

// outFile is a file that is written from its begin to its end.
type outFile struct {
	*os.File
	written int64
	flushed int64 // how far the system was asked to write to the disk
}

// createFile makes an empty file, over one that has the name.
func createFile(path string) (*outFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &outFile{File: f}, nil
}

// writebackStep is how many bytes gather before the system is asked to begin writing them, so that the sync at the
// end finds little left to do.
const writebackStep = 16 << 20

func (f *outFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if f.written-f.flushed >= writebackStep {
		durable.StartWriteback(f.File, f.flushed, f.written-f.flushed)
		f.flushed = f.written
	}
	return n, err
}

// empty makes the file empty again.
func (f *outFile) empty() error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	f.written, f.flushed = 0, 0
	return err
}

// end closes the file, all of which is on the disk then.
func (f *outFile) end() error { return errors.Join(f.Sync(), f.Close()) }

// drop closes the file and removes it.
func (f *outFile) drop() {
	f.Close()
	os.Remove(f.Name())
}

// singleFile is a bundle in one file. It lies beside its final name, with the suffix .partial, until it is whole.
type singleFile struct {
	path    string
	file    *outFile
	replace bool
}

func newSingleFile(path string, o OutputOptions) (*singleFile, error) {
	f, err := createFile(path + partialSuffix)
	return &singleFile{path, f, o.Replace}, err
}

func (w *singleFile) write(p []byte, _ int64) (int, error) { return w.file.Write(p) }

func (w *singleFile) sync() error { return w.file.Sync() }

func (w *singleFile) restart() error { return w.file.empty() }

func (w *singleFile) abort() { w.file.drop() }

func (w *singleFile) commit(_ int64, list string) (err error) {
	defer func() {
		if err != nil {
			os.Remove(w.file.Name())
		}
	}()
	if err := w.file.end(); err != nil {
		return err
	}
	// An old list must not stand beside the new bundle, nor the new list beside an old bundle.
	if err := removeAll(SumFile(w.path)); err != nil {
		return err
	}
	if w.replace {
		_, err := removeVolumes(w.path, nil)
		if err := errors.Join(err, removeAll(w.path+journalSuffix)); err != nil {
			return err
		}
	}
	if err := os.Rename(w.file.Name(), w.path); err != nil {
		return err
	}
	return durable.WriteFile(SumFile(w.path), []byte(list)) // which syncs the folder, for the bundle's name too
}

// removeAll removes files, of which some need not be there.
func removeAll(files ...string) error {
	var errs []error
	for _, file := range files {
		if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
