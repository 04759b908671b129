package corpus

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a layer in a [Layout]: the gzip blob, and the digest of the tar in it.
type Layer struct {
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest
	Story      string // how it came to be, for the history of an image
	// URLs make it a foreign layer, which is also to be had there.
	URLs []string
	// MediaType is that of the layer where it is not the one of the image's flavour.
	MediaType string
}

// File is a file of a layer.
type File struct {
	Name    string // slash-separated, without a slash in front
	Mode    fs.FileMode
	Content []byte
}

// Layer stores a layer of files, and of the folders that they lie in.
func (l Layout) Layer(story string, files ...File) (Layer, error) {
	return l.layer(story, func(w *tar.Writer) error {
		made := map[string]bool{}
		for _, f := range files {
			if err := writeParents(w, f.Name, made); err != nil {
				return err
			}
			header := tar.Header{
				Typeflag: tar.TypeReg, Name: f.Name, Mode: int64(f.Mode), Size: int64(len(f.Content)),
				ModTime: created, Format: tar.FormatUSTAR,
			}
			if err := w.WriteHeader(&header); err != nil {
				return err
			}
			if _, err := w.Write(f.Content); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeParents writes the folders above name that are not in made yet.
func writeParents(w *tar.Writer, name string, made map[string]bool) error {
	for i, c := range name {
		if c != '/' || made[name[:i]] {
			continue
		}
		made[name[:i]] = true
		header := tar.Header{
			Typeflag: tar.TypeDir, Name: name[:i+1], Mode: 0o755, ModTime: created, Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(&header); err != nil {
			return err
		}
	}
	return nil
}

// LayerOf stores a layer of everything under the folder root: files, folders and symbolic links, owned by root.
func (l Layout) LayerOf(story, root string) (Layer, error) {
	return l.layer(story, func(w *tar.Writer) error {
		return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			return writeEntry(w, root, path, entry)
		})
	})
}

func writeEntry(w *tar.Writer, root, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	var target string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil // sockets and devices have no place in a package
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	header.Name = filepath.ToSlash(name)
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	header.ModTime, header.Format = created, tar.FormatPAX
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// layer stores the gzip of the tar that write fills.
func (l Layout) layer(story string, write func(*tar.Writer) error) (Layer, error) {
	digester := digest.SHA256.Digester()
	compress := l.Gzip
	if compress == nil {
		compress = func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }
	}
	d, err := l.PutStream(OCI.Layer, func(out io.Writer) error {
		zip, err := compress(out)
		if err != nil {
			return err
		}
		w := tar.NewWriter(io.MultiWriter(zip, digester.Hash()))
		return errors.Join(write(w), w.Close(), zip.Close())
	})
	return Layer{Descriptor: d, DiffID: digester.Digest(), Story: story}, err
}
