package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

const (
	folderVersion     = "version"
	folderVersionText = "Directory Transport Version: 1."
	maxTreeEntries    = 2_000_000
)

// blobFile is the name of a blob, or of a manifest that an index lists, in a folder of skopeo's.
var blobFile = regexp.MustCompile(`^([0-9a-f]{64})(\.manifest\.json)?$`)

// isFolder reports whether dir is a folder that skopeo has written an image into.
func isFolder(dir string) bool { return isFolderIn(os.DirFS(dir), ".") }

func isFolderIn(files fs.FS, dir string) bool {
	if info, err := fs.Stat(files, path.Join(dir, manifestName)); err != nil || !info.Mode().IsRegular() {
		return false
	}
	raw, err := readSmall(files, path.Join(dir, folderVersion), 1<<10)
	return err == nil && strings.HasPrefix(string(raw), folderVersionText)
}

// readSmall returns the content of a regular file of at most limit bytes.
func readSmall(files fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(files, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, corruptf("%s: no regular file", name)
	case info.Size() > limit:
		return nil, corruptf("%s has %d bytes, at most %d are read", name, info.Size(), limit)
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// openFolder returns the images in the folder dir: that which it is itself, or those of all folders below it. The name of an
// image in a tree is that of its folder, below dir: HOST/PATH:TAG, as skopeo sync --scoped makes it. Where the folder has no
// host, the name belongs to home, a registry or a namespace of it, and a path of one segment below root/, as scripts put it
// there, to home itself; without home the image has no full name.
func openFolder(dir, home string) (*oci.Layout, error) {
	place := string(Folder) + ":" + dir
	t := &tree{files: os.DirFS(dir), home: home}
	t.blobs = newCollection(t.files)
	if isFolderIn(t.files, ".") {
		abs, err := filepath.Abs(dir)
		if err == nil {
			err = t.addImage(".", oci.LayoutImage{Name: filepath.Base(abs)})
		}
		return oci.NewLayout(t.blobs, place, t.images), err
	}
	if err := fs.WalkDir(t.files, ".", t.visit); err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	if len(t.images) == 0 {
		return nil, fmt.Errorf("%s: no folder that skopeo has written an image into (with %s and %s): %w",
			place, folderVersion, manifestName, fs.ErrNotExist)
	}
	return oci.NewLayout(t.blobs, place, t.images), nil
}

// tree collects the images of a tree of folders.
type tree struct {
	files   fs.FS
	home    string
	blobs   *collection
	images  []oci.LayoutImage
	entries int
}

func (t *tree) visit(name string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if t.entries++; t.entries > maxTreeEntries {
		return corruptf("more than %d files", maxTreeEntries)
	}
	if !entry.IsDir() || !isFolderIn(t.files, name) {
		return nil
	}
	image := oci.LayoutImage{Name: name}
	if image.Ref, err = t.reference(name); err != nil {
		return err
	}
	if err := t.addImage(name, image); err != nil {
		return err
	}
	return fs.SkipDir
}

// reference returns the full name of the image in the folder name, zero when it has none.
func (t *tree) reference(name string) (oci.Reference, error) {
	first, rest, deep := strings.Cut(name, "/")
	last := path.Base(name)
	switch {
	case !strings.ContainsAny(last, ":@"):
		return oci.Reference{}, nil
	case deep && (strings.ContainsAny(first, ".:") || first == "localhost"): // the host
	case t.home == "":
		return oci.Reference{}, nil
	case first == "root" && rest == last:
		name = t.home + "/" + rest
	default:
		name = t.home + "/" + name
	}
	ref, err := oci.ParseReference(name)
	if err != nil {
		err = fmt.Errorf("%w: folder %s: %w", ErrNaming, name, err)
	}
	return ref, err
}

// addImage adds the image in a folder, and its blobs.
func (t *tree) addImage(dir string, image oci.LayoutImage) error {
	raw, err := readSmall(t.files, path.Join(dir, manifestName), oci.MaxManifestSize)
	if err != nil {
		return err
	}
	image.Root = oci.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if m, err := oci.ParseManifest("", raw); err == nil { // what is wrong with it shows in the plan
		image.Root.MediaType = m.MediaType
	}
	if want := image.Ref.Digest; want != "" && want != image.Root.Digest {
		return corruptf("%s: its manifest is %s", dir, image.Root.Digest)
	}
	t.images = append(t.images, image)
	t.blobs.names[blobName(image.Root.Digest)] = path.Join(dir, manifestName)
	list, err := fs.ReadDir(t.files, dir)
	if err != nil {
		return err
	}
	if t.entries += len(list); t.entries > maxTreeEntries {
		return corruptf("more than %d files", maxTreeEntries)
	}
	for _, entry := range list {
		if m := blobFile.FindStringSubmatch(entry.Name()); m != nil {
			t.blobs.names[blobName(digest.NewDigestFromEncoded(digest.SHA256, m[1]))] = path.Join(dir, entry.Name())
		}
	}
	return nil
}

// checkHome returns an error for what can be no registry or namespace.
func checkHome(home string) error {
	if _, err := oci.ParseReference(home + "/x:1"); err != nil {
		return errors.New("not a registry, or a namespace of one")
	}
	return nil
}
