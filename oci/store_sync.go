package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci/durable"
)

// syncWidth is how many files are written out to the disk at once.
const syncWidth = 4

// syncer knows which blobs have taken their names and may not be on the disk yet. They are written out in groups,
// because a sync for each of a thousand small blobs, and of the folder after each, takes longer than fetching them; the
// kernel carries most of them to the disk in the meantime.
type syncer struct {
	mu    sync.Mutex
	paths []string
}

func newSyncer() *syncer { return &syncer{} }

func (s *syncer) add(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, path)
}

// flush returns when all blobs that were added are on the disk under their names.
func (s *syncer) flush() error {
	s.mu.Lock()
	paths := s.paths
	s.paths = nil
	s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(syncWidth)
	folders := map[string]bool{}
	for _, path := range paths {
		folders[filepath.Dir(path)] = true
		g.Go(func() error { return syncFile(path) })
	}
	err := g.Wait()
	for dir := range folders {
		err = errors.Join(err, durable.SyncDir(dir))
	}
	if err != nil {
		s.mu.Lock()
		s.paths = append(s.paths, paths...)
		s.mu.Unlock()
	}
	return err
}

// mark leaves the file `unsynced` in the folder, on the disk, before the first blob of this run takes its name.
func (s *Store) mark() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marked {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(s.dir, unsyncedFile), nil); err != nil {
		return err
	}
	s.marked = true
	return nil
}

// loadMark looks for the mark of a run that did not end with Close. Blobs since then may have lost bytes with the
// power: they are suspects until they have been hashed.
func (s *Store) loadMark() error {
	fi, err := os.Stat(filepath.Join(s.dir, unsyncedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.marked, s.suspectSince = true, fi.ModTime().Add(-suspectMargin)
	return nil
}

// suspectMargin is for clocks that are set and for file systems with coarse times.
const suspectMargin = time.Minute

// suspect reports whether the file of the blob is one that a loss of power may have hurt.
func (s *Store) suspect(dgst digest.Digest, fi fs.FileInfo) bool {
	if s.suspectSince.IsZero() || fi.ModTime().Before(s.suspectSince) {
		return false
	}
	return !s.Fresh(Descriptor{Digest: dgst})
}

// unmark removes the mark after all is on the disk, unless suspects are left that nobody has looked at.
func (s *Store) unmark() error {
	left, err := s.suspectsLeft()
	if err != nil || left || !s.marked {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, unsyncedFile)); err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

func (s *Store) suspectsLeft() (bool, error) {
	if s.suspectSince.IsZero() {
		return false, nil
	}
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		entries, err := os.ReadDir(filepath.Join(s.dir, blobFolder(alg)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, e := range entries {
			fi, err := e.Info()
			if err != nil {
				return false, err
			}
			if s.suspect(digest.NewDigestFromEncoded(alg, e.Name()), fi) {
				return true, nil
			}
		}
	}
	return false, nil
}

// syncFile writes the file out to the disk. One that was removed meanwhile is no error.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // Windows syncs only what may be written
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
