package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/ferry-oci/ferry/oci"
)

// Options say how sources are opened.
type Options struct {
	// Stdin is read for the path "-".
	Stdin io.Reader
	// Spool returns the folder for an archive that cannot be read where it lies, because it is compressed or comes through
	// a pipe: it is put there, uncompressed, until the source is closed. It is asked when there is such an archive.
	Spool func() (dir string, err error)
	// Spooling, unless nil, is told that a source is being put there.
	Spooling func(Source)
	// XZProgram is the path of the xz program, which is faster than what is built in; empty: that one.
	XZProgram string
}

// Images are the images of a source that is open.
type Images struct {
	*oci.Layout
	close func() error
}

// Close releases what the source holds. Nothing of it can be read then.
func (i *Images) Close() error { return i.close() }

// Key is equal for sources that can be opened as one: they choose from the same images.
func (s Source) Key() string {
	if s.Kind == Folder {
		return s.String()
	}
	return s.place()
}

// Open looks into the source. Close it when done.
//
// Errors: [ErrCorrupt], [oci.ErrUnsupported], [fs.ErrNotExist] for what is none of its kind.
func (s Source) Open(ctx context.Context, o Options) (*Images, error) {
	i := &Images{close: func() error { return nil }}
	var err error
	switch s.Kind {
	case Layout:
		i.Layout, err = oci.ReadLayout(os.DirFS(s.Path), s.place())
	case Folder:
		if s.Name != "" && !isFolder(s.Path) {
			if err := checkHome(s.Name); err != nil {
				return nil, fmt.Errorf("%s: %w: %w", s, ErrNaming, err)
			}
		}
		i.Layout, err = openFolder(s.Path, s.Name)
	default:
		return s.openArchive(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// openArchive opens an archive, and puts it aside where that is needed.
func (s Source) openArchive(ctx context.Context, o Options) (_ *Images, err error) {
	i := &Images{}
	var f *os.File
	if f, i.close, err = s.plainFile(ctx, o); err != nil {
		return nil, fmt.Errorf("%s: %w", s.place(), err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	files, err := readTar(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.place(), err)
	}
	if s.Kind == DockerArchive {
		i.Layout, err = readDocker(ctx, files, s.place())
	} else {
		i.Layout, err = oci.ReadLayout(files, s.place())
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w%s", err, s.otherKind(files))
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// otherKind tells of the kind that an archive looks like which is none of the kind of s.
func (s Source) otherKind(files *tarFiles) string {
	for kind, name := range map[Kind]string{OCIArchive: "oci-layout", DockerArchive: manifestName} {
		if _, err := files.lookup(name); err == nil && kind != s.Kind {
			return fmt.Sprintf("; it looks like %s:%s", kind, s.Path)
		}
	}
	return ""
}

// plainFile returns the tar as a file that can be read from the middle, and what to call when done: the archive itself, or
// its plain bytes in the spool.
func (s Source) plainFile(ctx context.Context, o Options) (_ *os.File, done func() error, err error) {
	in, done := o.Stdin, func() error { return nil }
	if s.Path != "-" {
		f, err := os.Open(s.Path)
		if err != nil {
			return nil, nil, err
		}
		in, done = f, f.Close
	}
	f, regular := regularFile(in)
	if regular { // its position must not move
		in = io.NewSectionReader(f, 0, math.MaxInt64)
	}
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(sniffSize)
	if err != nil && err != io.EOF {
		return nil, nil, errors.Join(err, done())
	}
	how := sniff(head)
	if regular && how == plainTar {
		return f, done, nil
	}
	tmp, err := s.spool(ctx, o, r, how)
	if err = errors.Join(err, done()); err != nil {
		return nil, nil, err
	}
	return tmp, func() error { return errors.Join(tmp.Close(), os.Remove(tmp.Name())) }, nil
}

// regularFile returns r as a regular file that is read from its beginning, when it is one.
func regularFile(r io.Reader) (*os.File, bool) {
	f, ok := r.(*os.File)
	if !ok {
		return nil, false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return f, err == nil && at == 0
}

// spool puts the plain bytes of r into a file.
func (s Source) spool(ctx context.Context, o Options, r *bufio.Reader, how compression) (_ *os.File, err error) {
	if o.Spooling != nil {
		o.Spooling(s)
	}
	dir, err := o.Spool()
	if err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(dir, "archive-*.tar")
	if err != nil {
		return nil, err
	}
	err = unzip(ctx, &limitedFile{tmp, oci.MaxBlobSize}, r, how, o.XZProgram)
	if err != nil {
		return nil, errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
	}
	return tmp, nil
}

// limitedFile refuses more bytes than an archive can sensibly have.
type limitedFile struct {
	f    *os.File
	left int64
}

func (l *limitedFile) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, corruptf("more than %d bytes of plain tar", int64(oci.MaxBlobSize))
	}
	l.left -= int64(len(p))
	return l.f.Write(p)
}
