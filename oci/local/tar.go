package local

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	maxMembers    = 1_000_000
	maxMemberName = 1 << 10 // bytes
	maxLinks      = 8       // from one to the next
)

// tarFiles are the members of a plain tar, read where they lie. It is a file system of regular files: links are followed
// inside of the archive, and folders are not listed.
type tarFiles struct {
	r       io.ReaderAt
	members map[string]member
}

var (
	_ fs.FS     = (*tarFiles)(nil)
	_ fs.StatFS = (*tarFiles)(nil)
)

// member is a regular file, or a link to another member.
type member struct {
	offset, size int64
	link         string
}

// readTar finds the members of the tar r, without reading them. What no loader needs is refused: names that lead out, a name
// twice, sparse files. Errors are [ErrCorrupt], or those of r.
func readTar(r io.ReaderAt, size int64) (*tarFiles, error) {
	t := &tarFiles{r: r, members: map[string]member{}}
	section := io.NewSectionReader(r, 0, size)
	for tr := tar.NewReader(section); ; {
		h, err := tr.Next()
		switch {
		case err == io.EOF && len(t.members) == 0:
			return nil, corruptf("an empty tar, or none")
		case err == io.EOF:
			return t, nil
		case (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)) && len(t.members) == 0:
			return nil, corruptf("no tar")
		case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, corruptf("the tar breaks off, or is damaged, behind member %d", len(t.members))
		case err != nil:
			return nil, err
		}
		if len(t.members) == maxMembers {
			return nil, corruptf("more than %d members", maxMembers)
		}
		at, err := section.Seek(0, io.SeekCurrent)
		if err == nil {
			err = t.add(h, at, size)
		}
		if err != nil {
			return nil, err
		}
	}
}

// add takes the member whose content begins at byte at of a file of that size.
func (t *tarFiles) add(h *tar.Header, at, size int64) error {
	name, err := memberName(h.Name)
	if err != nil {
		return err
	}
	m := member{offset: at, size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return corruptf("member %.100q is sparse", name)
			}
		}
		if h.Size < 0 || h.Size > size-at {
			return corruptf("member %.100q of %d bytes goes past the end of the file", name, h.Size)
		}
	case tar.TypeSymlink:
		m.link, err = memberName(path.Join(path.Dir(name), h.Linkname))
		if path.IsAbs(h.Linkname) {
			m.link, err = memberName(h.Linkname)
		}
	case tar.TypeLink:
		m.link, err = memberName(h.Linkname)
	case tar.TypeGNUSparse:
		return corruptf("member %.100q is sparse", name)
	default: // folders, devices
		return nil
	}
	if err != nil {
		return err
	}
	if _, ok := t.members[name]; ok {
		return corruptf("member %.100q is there twice", name)
	}
	t.members[name] = m
	return nil
}

// memberName returns the name of a member without what only a shell would write there.
func memberName(s string) (string, error) {
	clean := path.Clean(s)
	switch {
	case len(s) > maxMemberName:
		return "", corruptf("a name of %d bytes, at most %d are read", len(s), maxMemberName)
	case path.IsAbs(s) || clean == ".." || strings.HasPrefix(clean, "../"):
		return "", corruptf("member or link %.100q leads out of the archive", s)
	}
	return clean, nil
}

// lookup returns the regular file that name is or leads to.
func (t *tarFiles) lookup(name string) (member, error) {
	for range maxLinks {
		m, ok := t.members[name]
		switch {
		case !ok:
			return member{}, fs.ErrNotExist
		case m.link == "":
			return m, nil
		}
		name = m.link
	}
	return member{}, corruptf("links go round in a circle, or through more than %d others", maxLinks)
}

// Open returns the content of a member, which can be read from the middle.
func (t *tarFiles) Open(name string) (fs.File, error) {
	m, err := t.lookup(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &file{SectionReader: io.NewSectionReader(t.r, m.offset, m.size), name: path.Base(name)}, nil
}

// Stat tells the size of a member.
func (t *tarFiles) Stat(name string) (fs.FileInfo, error) {
	m, err := t.lookup(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return fileInfo{name: path.Base(name), size: m.size}, nil
}

// file is a regular file of an archive.
type file struct {
	*io.SectionReader
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return fileInfo{f.name, f.Size()}, nil }
func (f *file) Close() error               { return nil }

type fileInfo struct {
	name string
	size int64
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return 0o444 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
