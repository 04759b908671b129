package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/durable"
)

// partialSuffix marks an archive that is not whole.
const partialSuffix = ".partial"

// File is an archive that becomes a file. It lies beside its final name, with the suffix .partial, until Commit; what had
// the name before stays untouched until then. A blob that fails is dropped from it, and others can follow.
type File struct {
	*Writer
	path string
	file *os.File
}

var _ oci.Source = (*File)(nil)

// Create begins the archive that is to become path. An unfinished one of an earlier run is overwritten.
func Create(path string, f Format) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	file, err := os.OpenFile(path+partialSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	w := NewWriter(file, f)
	w.rewind = func(offset int64) error {
		_, err := file.Seek(offset, io.SeekStart)
		return errors.Join(err, file.Truncate(offset))
	}
	return &File{Writer: w, path: path, file: file}, nil
}

// Open returns the content of a blob that was written, or of a manifest with a name, from offset on.
func (f *File) Open(_ context.Context, _ oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)
	}
	if e, ok := f.at(d); ok {
		return io.NopCloser(io.NewSectionReader(f.file, e.offset+offset, e.size-offset)), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if raw, ok := f.roots[d.Digest]; ok && int64(len(raw)) == d.Size {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
	return nil, fmt.Errorf("blob %s: %w in %s", d.Digest, oci.ErrNotFound, f.path)
}

// Commit ends the archive and gives it its name. When it returns nil, all is on the disk; else nothing is left.
func (f *File) Commit() (err error) {
	if err := f.Close(); err != nil {
		f.Abort()
		return err
	}
	if err := errors.Join(f.file.Sync(), f.file.Close()); err != nil {
		return errors.Join(err, os.Remove(f.file.Name()))
	}
	if err := os.Rename(f.file.Name(), f.path); err != nil {
		return errors.Join(err, os.Remove(f.file.Name()))
	}
	return durable.SyncDir(filepath.Dir(f.path))
}

// Abort removes the unfinished file.
func (f *File) Abort() {
	f.file.Close()
	os.Remove(f.file.Name())
}
