package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci/durable"
)

// Names in the folder of a store, beside those of the OCI image layout.
const (
	partialDir = "partial" // blobs that are not whole yet, by the hex of their digest
	plansDir   = "plans"   // journals
	lockFile   = "lock"    // held while the store is open
	spoolDir   = "spool"   // in partialDir

	unsyncedFile = "unsynced" // there while blobs have names and may not be on the disk yet
)

// Store keeps blobs in a folder: an OCI image layout, whose names are in index.json, and beside it what a run that was
// cut off has left: parts of blobs and journals; and recipes, see [Store.PutRecipe]. It is a [Source], a [Sink], a
// [Mounter] and a [Tagger]; having only one place, it looks at the Repository only for names.
//
// A blob takes its name only after size and digest have been checked, so the end of a process, however hard, leaves
// no half blob under a name. To sync each blob before that would cost as much time as the fetching, so the store
// writes them out in groups, see [Store.Sync]; after a run that did not reach Close, Has hashes the blobs of that run
// before it answers for them. Beyond that, what an earlier run left is there by name and size alone, and is to be
// hashed by whoever uses it, see [Store.Fresh] and [Store.Recheck].
//
// All methods may be called from many goroutines. No file name is longer than 128 characters or other than lower case
// letters, digits and `-._`, except those of journals, which the caller chooses; there are no links.
type Store struct {
	dir     string
	lock    *flock.Flock
	sync    *syncer
	scratch bool // what it holds is soon removed

	mu       sync.Mutex
	fresh    map[digest.Digest]bool          // whole and proven in this run
	pushing  map[digest.Digest]chan struct{} // closed when the push that it stands for has ended
	journals map[string]*Journal

	marked       bool      // unsyncedFile is there
	suspectSince time.Time // blobs since then are to be hashed; zero when the last run ended with Close

	syncing sync.Mutex // one Sync at a time
	names   *nameIndex
}

var (
	_ Source   = (*Store)(nil)
	_ Sink     = (*Store)(nil)
	_ Mounter  = (*Store)(nil)
	_ Tagger   = (*Store)(nil)
	_ Attacher = (*Store)(nil)
)

// OpenStore opens the store in the folder dir, which it creates when there is none, and locks it until Close. An OCI
// image layout that another tool has made serves too.
//
// Errors: [ErrLocked] when another run holds the store. A folder that holds other files and is no OCI image layout is
// refused and left as it is.
func OpenStore(dir string) (*Store, error) { return openStore(dir, false) }

// OpenScratch is OpenStore for a store that is removed when its run has ended well: nothing hurries its blobs to the
// disk, which mostly never see it. A run that is cut off finds them all the same.
func OpenScratch(dir string) (*Store, error) { return openStore(dir, true) }

func openStore(dir string, scratch bool) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("store %s: lock: %w", dir, err)
	}
	if !held {
		return nil, fmt.Errorf("store %s: %w", dir, ErrLocked)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := initLayout(dir); err != nil {
		return nil, err
	}
	names, err := openNames(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	s := &Store{
		dir: dir, lock: lock, sync: newSyncer(), scratch: scratch, names: names,
		fresh:    map[digest.Digest]bool{},
		pushing:  map[digest.Digest]chan struct{}{},
		journals: map[string]*Journal{},
	}
	if err := s.loadMark(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkFolder refuses a folder that is neither empty nor an image layout of the version that we know.
func checkFolder(dir string) error {
	raw, err := durable.ReadFile(filepath.Join(dir, ocispec.ImageLayoutFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return checkEmpty(dir)
	}
	if err != nil {
		return err
	}
	var l ocispec.ImageLayout
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("store %s: %s: %w", dir, ocispec.ImageLayoutFile, err)
	}
	if l.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("store %s: image layout version %q, want %q", dir, l.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// checkEmpty refuses a folder with anything in it but the traces of a store that was never finished, and what file
// systems put into the root of a volume.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case lockFile, ocispec.ImageLayoutFile + durable.TempSuffix, "lost+found", "System Volume Information", ".DS_Store":
		default:
			return fmt.Errorf("store %s: the folder holds other files (%s) and is not an OCI image layout", dir, e.Name())
		}
	}
	return nil
}

// initLayout creates what a store consists of; oci-layout comes first, because checkEmpty goes by it.
func initLayout(dir string) error {
	layout := filepath.Join(dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(layout); errors.Is(err, fs.ErrNotExist) {
		if err := durable.WriteFile(layout, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for _, sub := range []string{blobFolder(digest.SHA256), partialDir, plansDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Dir returns the folder of the store.
func (s *Store) Dir() string { return s.dir }

// Spool returns an empty folder of that name for what a run has to put aside for a while. Close and Remove delete it with all
// that is in it, as does the next call with the name; a run that was killed leaves it to the next run.
func (s *Store) Spool(name string) (dir string, err error) {
	dir = filepath.Join(s.spoolDir(), name)
	return dir, errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
}

func (s *Store) spoolDir() string { return filepath.Join(s.dir, partialDir, spoolDir) }

// Close writes the names and all blobs out to the disk and releases the lock.
func (s *Store) Close() error {
	err := s.Sync()
	if err == nil {
		err = s.unmark()
	}
	err = errors.Join(err, s.closeJournals(), os.RemoveAll(s.spoolDir()))
	for _, sub := range []string{partialDir, plansDir, recipesDir} {
		_ = os.Remove(filepath.Join(s.dir, sub)) // stays unless it is empty
	}
	return errors.Join(err, s.lock.Close())
}

// Remove closes the store and deletes what it holds: blobs, names, journals. The folder itself goes with it unless
// something else lies there.
func (s *Store) Remove() error {
	errs := []error{s.closeJournals()}
	for _, sub := range []string{ocispec.ImageBlobsDir, partialDir, plansDir, recipesDir, ocispec.ImageIndexFile, unsyncedFile} {
		errs = append(errs, os.RemoveAll(filepath.Join(s.dir, sub)))
	}
	// From here on it is an empty folder, that another run may take: what it holds then is not touched.
	errs = append(errs, os.Remove(filepath.Join(s.dir, ocispec.ImageLayoutFile)), s.lock.Close())
	if err := os.Remove(filepath.Join(s.dir, lockFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	_ = os.Remove(s.dir) // stays when it is not empty
	return errors.Join(errs...)
}

// Empty reports whether the store holds nothing: no blob, no part of one, no journal. Recipes alone are nothing, nor is what
// lies in the folder of [Store.Spool].
func (s *Store) Empty() (bool, error) {
	for _, sub := range []string{ocispec.ImageBlobsDir, partialDir, plansDir} {
		err := filepath.WalkDir(filepath.Join(s.dir, sub), func(path string, e fs.DirEntry, err error) error {
			switch {
			case err == nil && path == s.spoolDir():
				return fs.SkipDir
			case err == nil && !e.IsDir():
				return errNotEmpty
			}
			return err
		})
		switch {
		case errors.Is(err, errNotEmpty):
			return false, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	return true, nil
}

var errNotEmpty = errors.New("not empty")

// Sync writes the blobs that came since the last Sync, and the names, out to the disk, so that they survive a loss of
// power.
func (s *Store) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	names, err := s.names.snapshot() // first: no name goes out before what it names
	if err != nil {
		return err
	}
	if err := s.sync.flush(); err != nil {
		return err
	}
	return s.names.write(names)
}

// Fresh reports whether the blob d was proven to be whole in this run, by Push or Recheck. A blob that an earlier run
// left is there by its name and size alone.
func (s *Store) Fresh(d Descriptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh[d.Digest]
}

func (s *Store) setFresh(d Descriptor, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh[d.Digest] = fresh
}

// Has reports whether the blob d is there, by its name and size; a blob of a run that did not reach Close is hashed.
func (s *Store) Has(ctx context.Context, _ Repository, d Descriptor) (bool, error) {
	path, err := s.path(d)
	if err != nil {
		return false, err
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != d.Size {
		return false, err
	}
	if !s.suspect(d.Digest, fi) {
		return true, nil
	}
	err = s.Recheck(ctx, d)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Part returns how many bytes of d an earlier try has left, where the next Push goes on; whether they are right shows
// only then. It is 0 for a blob that is whole.
func (s *Store) Part(d Descriptor) int64 {
	if _, err := s.path(d); err != nil {
		return 0
	}
	fi, err := os.Stat(s.partPath(d))
	if err != nil || fi.Size() > d.Size {
		return 0
	}
	return fi.Size()
}

// OpenPart opens what there is of d while a Push of it is under way, for reading; the caller closes it. What is read is not
// proven yet. It comes back with [ErrNotFound] when nothing has come, and when the blob is whole: see OpenBlob.
func (s *Store) OpenPart(d Descriptor) (*os.File, error) {
	if _, err := s.path(d); err != nil {
		return nil, err
	}
	// Unlike os.Open, this lets the file be renamed on Windows while it is open.
	f, err := os.OpenInRoot(s.dir, filepath.Join(partialDir, d.Digest.Encoded()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("part of blob %s: %w in %s", d.Digest, ErrNotFound, s.dir)
	}
	return f, err
}

// DropPart removes what an earlier Push has left of d, if it has. None may be under way.
func (s *Store) DropPart(d Descriptor) error {
	if _, err := s.path(d); err != nil {
		return err
	}
	return removeIfThere(s.partPath(d))
}

// DropParts removes what earlier runs have left of any blob. No Push may be under way.
func (s *Store) DropParts() error {
	dir := filepath.Join(s.dir, partialDir)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// Mount reports whether the blob d is there: a store has only one place.
func (s *Store) Mount(ctx context.Context, _, to Repository, d Descriptor) (bool, error) {
	return s.Has(ctx, to, d)
}

// Open returns the content of the blob d from byte offset on. What comes from a blob that is not [Store.Fresh] is for
// the caller to prove, see [Verify].
func (s *Store) Open(_ context.Context, _ Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)
	}
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenBlob opens the file of the blob d for reading; the caller closes it. It comes back with [ErrNotFound] unless the
// whole blob is there, by its name and size.
func (s *Store) OpenBlob(d Descriptor) (*os.File, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w in %s", d.Digest, ErrNotFound, s.dir)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() != d.Size {
		err = fmt.Errorf("blob %s: %w in %s: the file has %d bytes, want %d", d.Digest, ErrNotFound, s.dir, fi.Size(), d.Size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Recheck hashes the blob d, unless this run has proven it already. A blob that is not what its name says is removed,
// and the error is a [*DigestError]; one that is not there is [ErrNotFound].
func (s *Store) Recheck(ctx context.Context, d Descriptor) error {
	if s.Fresh(d) {
		return nil
	}
	err := s.hashBlob(ctx, d)
	if errors.Is(err, ErrCorrupt) {
		return errors.Join(err, s.Drop(d))
	}
	if err != nil {
		return err
	}
	s.setFresh(d, true)
	if !s.suspectSince.IsZero() {
		path, err := s.path(d)
		s.sync.add(path)
		return err
	}
	return nil
}

func (s *Store) hashBlob(ctx context.Context, d Descriptor) error {
	c, err := newChecker(d)
	if err != nil {
		return err
	}
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.copyFrom(ctx, f, d.Size, nil); err != nil {
		return err
	}
	return c.result()
}

// Drop removes the blob d and its recipe, as one does when its reader has proven it wrong. A blob that is not there is no
// error.
func (s *Store) Drop(d Descriptor) error {
	return errors.Join(s.dropBlob(d), s.dropRecipe(d))
}

func (s *Store) dropBlob(d Descriptor) error {
	path, err := s.path(d)
	if err != nil {
		return err
	}
	s.setFresh(d, false)
	return removeIfThere(path)
}

func blobFolder(a digest.Algorithm) string { return filepath.Join(ocispec.ImageBlobsDir, a.String()) }

// path returns where the blob d lies. Digests come from outside: one that is malformed makes no path.
func (s *Store) path(d Descriptor) (string, error) {
	if _, err := NewHash(d); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, blobFolder(d.Digest.Algorithm()), d.Digest.Encoded()), nil
}

// partPath returns where a part of the blob d lies, whose digest has been checked.
func (s *Store) partPath(d Descriptor) string {
	return filepath.Join(s.dir, partialDir, d.Digest.Encoded())
}
