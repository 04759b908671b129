package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Set is the file or the volumes of one bundle where they lie, as one io.ReaderAt over the bytes of the whole. What cannot be
// read of it, because a volume is missing, is a *MissingError; all else of it can be read all the same. Volumes are opened
// when they are first read from. Its methods may be called from many goroutines, but none but Where and Place while Look is.
type Set struct {
	name    string   // path of the whole, as messages call it
	file    string   // last part of it
	folders []string // where volumes are looked for
	list    *Sums    // NAME.sha256; nil: none was found
	plain   bool     // one file that is no volume
	digits  int      // of the numbers of volumes

	volumes    map[int]volume
	count      int   // of volumes: by the list, else the highest number that was found
	volumeSize int64 // of each volume but the last; 0: the last alone was found, and of the others nothing is known
	size       int64 // of the whole; when the last volume is missing, what it is at most

	looking sync.RWMutex // held by Look, so that Where can be asked meanwhile
	open    openVolumes
}

// volume is one file of a set.
type volume struct {
	path string
	size int64
}

// VolumePlace is a place in a volume.
type VolumePlace struct {
	Name   string `json:"name"`   // of the file, without its folder
	Offset int64  `json:"offset"` // in it
}

// MissingError says which volumes of a bundle are not there.
type MissingError struct {
	Names []string // of their files
	Of    int      // how many volumes there are in all; 0 when that is not known

	end int64 // where in the whole the first of them ends
}

func (e *MissingError) Error() string {
	const named = 20 // of what may be thousands
	names := strings.Join(e.Names[:min(len(e.Names), named)], ", ")
	if more := len(e.Names) - named; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	switch {
	case e.Of > 1 && len(e.Names) == 1:
		return fmt.Sprintf("volume %s, one of %d, is missing", names, e.Of)
	case len(e.Names) == 1:
		return fmt.Sprintf("volume %s is missing", names)
	}
	return fmt.Sprintf("%d of %d volumes are missing: %s", len(e.Names), e.Of, names)
}

// UnreadableTo returns the place up to which nothing can be read, for those who look for what comes behind it.
func (e *MissingError) UnreadableTo() int64 { return e.end }

// Name returns the path of the bundle, as messages call it. For volumes it has not got their numbers.
func (s *Set) Name() string { return s.name }

// Size returns how many bytes the bundle has. It is too large when the last volume is missing.
func (s *Set) Size() int64 { return s.size }

// Volumes returns how many volumes the bundle has, and 0 for one file. Without its NAME.sha256 it is as many as were
// found; see Listed.
func (s *Set) Volumes() int {
	if s.plain {
		return 0
	}
	return s.count
}

// Listed reports whether there is a NAME.sha256 of the volumes, without which they are not known to be all.
func (s *Set) Listed() bool { return s.list != nil }

// VolumeName returns the name of the file of volume n, from 1, without its folder.
func (s *Set) VolumeName(n int) string {
	if s.plain {
		return s.file
	}
	return VolumeName(s.file, n, s.digits)
}

// Missing returns the numbers of the volumes that were not found.
func (s *Set) Missing() []int {
	var missing []int
	for n := 1; n <= s.count; n++ {
		if _, ok := s.volumes[n]; !ok {
			missing = append(missing, n)
		}
	}
	return missing
}

// MissingError returns what Missing does as an error, and nil when no volume is missing.
func (s *Set) MissingError() error {
	if s == nil {
		return nil
	}
	missing := s.Missing()
	if len(missing) == 0 {
		return nil
	}
	return s.missing(missing...)
}

// MissingVolume returns the error of volume n, which is missing.
func (s *Set) MissingVolume(n int) error { return s.missing(n) }

// Folders returns where volumes are looked for.
func (s *Set) Folders() []string { return slices.Clone(s.folders) }

func (s *Set) missing(numbers ...int) *MissingError {
	e := &MissingError{Of: s.count, end: min(s.size, int64(numbers[0])*s.volumeSize)}
	for _, n := range numbers {
		e.Names = append(e.Names, s.VolumeName(n))
	}
	return e
}

// Where returns the volume that holds the byte at off of the whole, and the place of the byte in it. For one file, and where
// that is not known, the name is empty.
func (s *Set) Where(off int64) VolumePlace {
	s.looking.RLock()
	defer s.looking.RUnlock()
	if s.plain || s.volumeSize == 0 || off < 0 || off >= s.size {
		return VolumePlace{}
	}
	n, at := s.find(off)
	return VolumePlace{Name: s.VolumeName(n), Offset: at}
}

// Place returns the damage d of this bundle with its place in the volumes.
func (s *Set) Place(d Damage) Damage {
	if d.Length == 0 || d.Volume != nil {
		return d
	}
	if at := s.Where(d.Offset); at.Name != "" {
		d.Volume = &at
	}
	return d
}

// find returns the number of the volume that holds the byte at off, and its place there.
func (s *Set) find(off int64) (n int, at int64) {
	n = min(int(off/s.volumeSize)+1, s.count)
	return n, off - int64(n-1)*s.volumeSize
}

// edge returns the end of the volume that holds the byte at off, or to when that is before it.
func (s *Set) edge(off, to int64) int64 {
	if s == nil || s.plain || s.volumeSize == 0 {
		return to
	}
	n, _ := s.find(off)
	return min(to, int64(n-1)*s.volumeSize+s.end(n))
}

// end returns how many bytes volume n should have.
func (s *Set) end(n int) int64 {
	return min(s.volumeSize, s.size-int64(n-1)*s.volumeSize)
}

// ReadAt reads from the volumes that hold the bytes, as io.ReaderAt. Errors: *MissingError; one that names the volume when it is
// shorter than the others; what the system says of the file, with its path.
func (s *Set) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		switch {
		case at < 0:
			return n, fmt.Errorf("%s: offset %d", s.name, at)
		case at >= s.size && s.size > 0, s.plain && s.size == 0:
			return n, io.EOF
		case s.volumeSize == 0:
			return n, s.MissingError()
		}
		number, in := s.find(at)
		got, err := s.readVolume(number, p[n:min(int64(len(p)), int64(n)+s.end(number)-in)], in)
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// has reports whether all of the bytes from one place to another lie in volumes that are there.
func (s *Set) has(from, to int64) bool {
	if s.volumeSize == 0 || from < 0 || to > s.size {
		return false
	}
	if from == to {
		return true
	}
	first, _ := s.find(from)
	last, _ := s.find(to - 1)
	for n := first; n <= last; n++ {
		if _, ok := s.volumes[n]; !ok {
			return false
		}
	}
	return true
}

// readVolume fills p with what volume n has at the offset at.
func (s *Set) readVolume(n int, p []byte, at int64) (int, error) {
	v, ok := s.volumes[n]
	switch {
	case !ok:
		return 0, s.missing(n)
	case at >= v.size:
		return 0, fmt.Errorf("volume %s ends after %d bytes, want %d", s.VolumeName(n), v.size, s.end(n))
	}
	f, err := s.open.take(n, v.path)
	if err != nil {
		return 0, err
	}
	defer s.open.give(n)
	got, err := f.ReadAt(p[:min(int64(len(p)), v.size-at)], at)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("volume %s has become shorter than %d bytes", s.VolumeName(n), v.size)
	}
	return got, err
}

// Files returns the paths of the files that are there.
func (s *Set) Files() []string {
	var files []string
	for n := 1; n <= s.count; n++ {
		if v, ok := s.volumes[n]; ok {
			files = append(files, v.path)
		}
	}
	return files
}

// EachFile calls fn with each file of the set that is there, open, until one of them fails.
func (s *Set) EachFile(fn func(f *os.File) error) error {
	for n := 1; n <= s.count; n++ {
		v, ok := s.volumes[n]
		if !ok {
			continue
		}
		f, err := s.open.take(n, v.path)
		if err == nil {
			err = fn(f)
			s.open.give(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes all files. What is read afterwards is os.ErrClosed.
func (s *Set) Close() error { return s.open.close() }

// Sum returns the sha256 of the whole by NAME.sha256, or an error that is os.ErrNotExist when there is no such file.
func (s *Set) Sum() ([32]byte, error) {
	if s.plain {
		return ReadSum(s.name)
	}
	if s.list == nil {
		return [32]byte{}, fmt.Errorf("%s: %w", SumFile(s.file), os.ErrNotExist)
	}
	return s.list.Whole, nil
}

// maxOpenVolumes is how many volumes are held open at once, as long as no more are being read.
const maxOpenVolumes = 64

// openVolumes are the files of a set that are open.
type openVolumes struct {
	mu     sync.Mutex
	files  map[int]*openVolume
	closed bool
}

type openVolume struct {
	file *os.File
	uses int // by those who read
}

// take returns the file of volume n, which stays open until give.
func (o *openVolumes) take(n int, path string) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, fmt.Errorf("%s: %w", path, os.ErrClosed)
	}
	if f := o.files[n]; f != nil {
		f.uses++
		return f.file, nil
	}
	if len(o.files) >= maxOpenVolumes {
		if err := o.closeUnused(); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if o.files == nil {
		o.files = map[int]*openVolume{}
	}
	o.files[n] = &openVolume{file: f, uses: 1}
	return f, nil
}

func (o *openVolumes) give(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.files[n]
	if f.uses--; f.uses == 0 && o.closed {
		f.file.Close()
		delete(o.files, n)
	}
}

// closeUnused closes the files that nobody reads.
func (o *openVolumes) closeUnused() error {
	var errs []error
	for n, f := range o.files {
		if f.uses == 0 {
			errs = append(errs, f.file.Close())
			delete(o.files, n)
		}
	}
	return errors.Join(errs...)
}

// drop closes what is open: another disk may be in its place.
func (o *openVolumes) drop() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closeUnused()
}

func (o *openVolumes) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.closeUnused()
}

// measure finds how many volumes there are and how large they and the whole are.
func (s *Set) measure() error {
	if s.plain {
		s.count, s.size = 1, s.volumes[1].size
		s.volumeSize = max(1, s.size)
		return nil
	}
	s.count = 0
	if s.list != nil {
		s.count = len(s.list.Volumes)
	} else {
		for n := range s.volumes {
			s.count = max(s.count, n)
		}
	}
	s.volumeSize = cmp.Or(s.commonSize(), s.volumeSize) // what is known stays so when another disk is there
	last, ok := s.volumes[s.count]
	switch {
	case s.volumeSize == 0 && s.count == 1:
		s.volumeSize = last.size
	case s.volumeSize > 0 && last.size > s.volumeSize:
		return corrupt(s.VolumeName(s.count), "it has %d bytes, and the volumes before it %d: they are of different bundles", last.size, s.volumeSize)
	}
	if !ok {
		last.size = s.volumeSize
	}
	s.size = int64(s.count-1)*s.volumeSize + last.size
	return nil
}

// commonSize returns the size that most of the volumes before the last have, the larger one when there are two, and 0 when there
// are none.
func (s *Set) commonSize() int64 {
	votes := map[int64]int{}
	var common int64
	for n, v := range s.volumes {
		if n < s.count && v.size > 0 {
			votes[v.size]++
		}
	}
	for size, n := range votes {
		if n > votes[common] || n == votes[common] && size > common {
			common = size
		}
	}
	return common
}

// hasFolder reports whether volumes are looked for in dir.
func (s *Set) hasFolder(dir string) bool {
	return slices.ContainsFunc(s.folders, func(f string) bool { return filepath.Clean(f) == filepath.Clean(dir) })
}
