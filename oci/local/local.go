// Package local reads images that lie on this machine: OCI image layouts, archives that docker save and its like have
// written, and the folders of `skopeo copy` and `skopeo sync` to dir.
//
// [ParseSource] reads what a user writes, such as docker-archive:app.tar, and [Source.Open] looks into it; each becomes an
// [oci.Layout]. [Images.Select] gives the images that the user means, with their full names.
//
// Nothing of it is trusted. Members of archives have names inside of the archive, once; links lead to other members; sizes are
// held against the file and against limits before anything is read; what is read of a blob is for the copy to prove.
package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// ErrCorrupt comes back for an archive or a folder that is damaged, or is not made as it has to be: nothing of it is to be
// trusted.
var ErrCorrupt = errors.New("damaged or malformed")

// ErrNaming comes back when it is not clear which images a source stands for, or what they are called. The text says what
// to write instead.
var ErrNaming = errors.New("names are not clear")

// Kind says how images lie on the disk. Its value is what stands before the colon of a source.
type Kind string

const (
	Layout        Kind = "oci"            // an OCI image layout in a folder
	OCIArchive    Kind = "oci-archive"    // an OCI image layout in a tar
	DockerArchive Kind = "docker-archive" // what docker save writes
	Folder        Kind = "dir"            // a folder of skopeo's, or a tree of such folders
)

var kinds = []Kind{Layout, OCIArchive, DockerArchive, Folder}

// Source is a place of images as a user names it.
type Source struct {
	Kind Kind
	Path string // of the folder or the file; - is stdin. Of archives it may be a folder of them, see Expand
	Ref  string // which image: a name, a tag, @N or @sha256:...; empty: all of them
	Name string // what to call it; for a tree of folders, the registry or namespace that it was made of
}

// IsSource reports whether s is meant as a source, and no reference of an image. An image of Docker Hub that is called oci or
// dir is docker.io/library/oci:TAG in full.
func IsSource(s string) bool {
	kind, rest, ok := strings.Cut(s, ":")
	return ok && rest != "" && slices.Contains(kinds, Kind(kind))
}

// ParseSource reads KIND:PATH[:REF][=NAME]; a folder of skopeo's has no REF. Colons and equals signs may stand in PATH: what
// is there on the disk tells where it ends.
//
// A PATH that is not there is [os.ErrNotExist].
func ParseSource(s string) (Source, error) {
	kind, rest, _ := strings.Cut(s, ":")
	src := Source{Kind: Kind(kind)}
	if !IsSource(s) {
		return src, fmt.Errorf("%.100q: not of the form oci:DIR, oci-archive:FILE, docker-archive:FILE or dir:FOLDER", s)
	}
	src.Path = rest
	if exists(rest) {
		return src, nil
	}
	if i := strings.LastIndexByte(rest, '='); i >= 0 {
		src.Path, src.Name = rest[:i], rest[i+1:]
		if src.Name == "" {
			return src, fmt.Errorf("%.100q: a name has to follow the equals sign", s)
		}
	}
	if src.Kind != Folder && !exists(src.Path) {
		src.Path, src.Ref = cutRef(src.Path)
	}
	if !exists(src.Path) {
		return src, fmt.Errorf("%.100q: %s: %w", s, src.Path, os.ErrNotExist)
	}
	if src.Name != "" && (src.Kind != Folder || isFolder(src.Path)) {
		if _, err := oci.ParseReference(src.Name); err != nil {
			return src, fmt.Errorf("%.100q: %w", s, err)
		}
	}
	return src, nil
}

// archiveEndings are those of the files that are taken of a folder of archives.
var archiveEndings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".txz", ".tar.bz2"}

// Expand returns s, or, where its path is a folder of archives, as scripts leave it that save one image a file, a source for
// each of them, sorted.
func (s Source) Expand() ([]Source, error) {
	info, err := os.Stat(s.Path)
	if s.Kind != OCIArchive && s.Kind != DockerArchive || s.Path == "-" || err != nil || !info.IsDir() {
		return []Source{s}, nil
	}
	if s.Ref != "" || s.Name != "" {
		return nil, fmt.Errorf("%s: %w: it is a folder of archives; name one of them", s, ErrNaming)
	}
	entries, err := os.ReadDir(s.Path)
	if err != nil {
		return nil, err
	}
	var list []Source
	for _, entry := range entries {
		name := strings.ToLower(entry.Name())
		ends := func(ending string) bool { return strings.HasSuffix(name, ending) }
		if !strings.HasPrefix(name, ".") && !entry.IsDir() && slices.ContainsFunc(archiveEndings, ends) {
			list = append(list, Source{Kind: s.Kind, Path: filepath.Join(s.Path, entry.Name())})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no file in it ends in %s: %w", s, strings.Join(archiveEndings, ", "), os.ErrNotExist)
	}
	return list, nil
}

// cutRef splits at the first colon before which a path stands that is there, else at the first one that is not a drive's.
func cutRef(s string) (path, ref string) {
	first := -1
	for i := range len(s) {
		if s[i] != ':' || i == 1 && runtime.GOOS == "windows" {
			continue
		}
		if exists(s[:i]) {
			return s[:i], s[i+1:]
		}
		if first < 0 {
			first = i
		}
	}
	if first < 0 {
		return s, ""
	}
	return s[:first], s[first+1:]
}

func exists(path string) bool {
	if path == "-" {
		return true
	}
	_, err := os.Stat(path)
	return err == nil
}

// String returns the source as it is written.
func (s Source) String() string {
	text := string(s.Kind) + ":" + s.Path
	if s.Ref != "" {
		text += ":" + s.Ref
	}
	if s.Name != "" {
		text += "=" + s.Name
	}
	return text
}

// place returns the source without which image is meant.
func (s Source) place() string { return string(s.Kind) + ":" + s.Path }
