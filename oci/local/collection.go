package local

import (
	"bytes"
	"io"
	"io/fs"
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// collection is a file system that looks like the blobs of a layout, made of files of another one and of small files in
// memory.
type collection struct {
	files  fs.FS
	names  map[string]string // blobs/... to the name in files
	memory map[string][]byte // by blobs/...
}

var (
	_ fs.FS     = (*collection)(nil)
	_ fs.StatFS = (*collection)(nil)
)

func newCollection(files fs.FS) *collection {
	return &collection{files: files, names: map[string]string{}, memory: map[string][]byte{}}
}

func blobName(d digest.Digest) string { return path.Join("blobs", d.Algorithm().String(), d.Encoded()) }

// put adds a blob that is in memory, and returns its descriptor.
func (c *collection) put(mediaType string, raw []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	c.memory[blobName(d.Digest)] = raw
	return d
}

func (c *collection) Open(name string) (fs.File, error) {
	if raw, ok := c.memory[name]; ok {
		return &file{SectionReader: io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))), name: path.Base(name)}, nil
	}
	if at, ok := c.names[name]; ok {
		return c.files.Open(at)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (c *collection) Stat(name string) (fs.FileInfo, error) {
	if raw, ok := c.memory[name]; ok {
		return fileInfo{path.Base(name), int64(len(raw))}, nil
	}
	if at, ok := c.names[name]; ok {
		return fs.Stat(c.files, at)
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}
