package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/compress"
)

// ErrNotRegular comes back for a path that is neither a regular file nor a folder. It is not opened: a pipe would wait for
// somebody who writes into it.
var ErrNotRegular = errors.New("not a regular file")

// FindSets finds the bundles that paths name: files, volumes or their NAME.sha256, of which each stands for all in its folder, NAME
// where only volumes of it are, and folders, which stand for all bundles in them, in any order. Volumes of one bundle may lie
// in several folders. Those whose NAME.sha256 differ are different bundles, whatever their names. What systems leave on disks
// (._*, .DS_Store) is ignored, and so is a volume that the NAME.sha256 beside it does not name. No content is read.
// Errors: os.ErrNotExist, ErrNotRegular, ErrCorrupt for volumes that cannot be of one bundle.
func FindSets(paths []string) ([]*Set, error) {
	f := &finder{}
	for _, path := range paths {
		if err := f.add(path); err != nil {
			return nil, err
		}
	}
	f.adopt()
	if len(f.sets) == 0 && len(f.empty) > 0 {
		return nil, fmt.Errorf("%s: there is no bundle in it", f.empty[0])
	}
	for _, s := range f.sets {
		if !s.plain {
			s.folders = append(s.folders, f.empty...)
		}
		if err := s.measure(); err != nil {
			return nil, err
		}
	}
	return f.sets, nil
}

// finder gathers the sets that paths name.
type finder struct {
	sets  []*Set   // in the order in which they were named
	empty []string // folders in which nothing is
}

func (f *finder) add(path string) error {
	info, err := os.Stat(path)
	name, _, _, isVolume := parseVolumeName(path)
	listOf, isList := strings.CutSuffix(path, sumSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if list, lerr := volumesIn(filepath.Dir(path), filepath.Base(path)); lerr == nil && len(list) > 0 {
			return f.addVolumes(filepath.Dir(path), filepath.Base(path))
		}
		return pathError(path, err)
	case err != nil:
		return pathError(path, err)
	case info.IsDir():
		return f.addFolder(path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w", path, ErrNotRegular)
	case isVolume && isBundleName(name):
		return f.addVolumes(filepath.Dir(name), filepath.Base(name))
	case isList && isBundleName(listOf):
		return f.add(listOf)
	}
	f.addFile(path, info.Size())
	return nil
}

// pathError returns err of a path, which is named once.
func pathError(path string, err error) error {
	var bare *fs.PathError
	if errors.As(err, &bare) {
		err = bare.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// isBundleName reports whether name is what a bundle can be called, or has a list of checksums beside it.
func isBundleName(name string) bool {
	if _, err := compress.FormatByName(name); err == nil {
		return true
	}
	_, err := os.Stat(SumFile(name))
	return err == nil
}

// addFile adds the bundle that is one file.
func (f *finder) addFile(path string, size int64) {
	if slices.ContainsFunc(f.sets, func(s *Set) bool { return s.plain && s.name == path }) {
		return
	}
	f.sets = append(f.sets, &Set{
		name: path, file: filepath.Base(path), plain: true, volumes: map[int]volume{1: {path: path, size: size}},
	})
}

// addFolder adds all bundles that lie in a folder.
func (f *finder) addFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return pathError(dir, err)
	}
	before := len(f.sets)
	names := map[string]bool{}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name())) // links count as what they lead to
		if strings.HasPrefix(e.Name(), ".") || err != nil || !info.Mode().IsRegular() {
			continue
		}
		name, _, _, isVolume := parseVolumeName(e.Name())
		if listOf, isList := strings.CutSuffix(e.Name(), sumSuffix); isList {
			list, err := readVolumeSums(filepath.Join(dir, listOf))
			name, isVolume = listOf, err == nil && list != nil
		}
		if isVolume && isBundleName(filepath.Join(dir, name)) {
			names[name] = true
			continue
		}
		if _, err := compress.FormatByName(e.Name()); err != nil {
			continue
		}
		f.addFile(filepath.Join(dir, e.Name()), info.Size())
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := f.addVolumes(dir, name); err != nil {
			return err
		}
	}
	if len(f.sets) == before && len(names) == 0 {
		f.empty = append(f.empty, dir)
	}
	return nil
}

// foundVolume is a volume in a folder.
type foundVolume struct {
	volume
	number, digits int
}

// volumesIn returns the volumes of the bundle name that lie in a folder.
func volumesIn(dir, name string) ([]foundVolume, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, pathError(dir, err)
	}
	var found []foundVolume
	for _, e := range entries {
		of, n, digits, ok := parseVolumeName(e.Name())
		if !ok || of != name {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name())) // links count as what they lead to
		if err != nil {
			return nil, pathError(filepath.Join(dir, e.Name()), err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		found = append(found, foundVolume{volume{filepath.Join(dir, e.Name()), info.Size()}, n, digits})
	}
	return found, nil
}

// addVolumes adds the volumes of the bundle name that lie in a folder to the set that they belong to.
func (f *finder) addVolumes(dir, name string) error {
	list, err := readVolumeSums(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	for _, s := range f.sets {
		if !s.plain && s.file == name && s.list.equal(list) {
			return s.addFolder(dir)
		}
	}
	s := &Set{name: filepath.Join(dir, name), file: name, list: list, volumes: map[int]volume{}}
	if list != nil {
		s.digits = list.Digits
	}
	f.sets = append(f.sets, s)
	return s.addFolder(dir)
}

// addFolder adds the volumes in a folder, if that was not looked into yet.
func (s *Set) addFolder(dir string) error {
	if s.hasFolder(dir) {
		return nil
	}
	s.folders = append(s.folders, dir)
	return s.look(dir)
}

// look adds the volumes in a folder.
func (s *Set) look(dir string) error {
	found, err := volumesIn(dir, s.file)
	if err != nil {
		return err
	}
	for _, v := range found {
		if err := s.addVolume(v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) addVolume(v foundVolume) error {
	base := filepath.Base(v.path)
	if s.list != nil && (v.number > len(s.list.Volumes) || v.digits != s.digits) {
		return nil // of another, larger pack
	}
	if s.digits == 0 {
		s.digits = v.digits
	}
	other, twice := s.volumes[v.number]
	switch {
	case s.digits != v.digits:
		return corrupt(base, "other volumes have numbers of %d digits: they are of different bundles", s.digits)
	case twice && other.size != v.size:
		return corrupt(base, "it has %d bytes in %s, and %d in %s: they are of different bundles, or one is not whole",
			other.size, filepath.Dir(other.path), v.size, filepath.Dir(v.path))
	case !twice:
		s.volumes[v.number] = v.volume
	}
	return nil
}

// adopt gives volumes in folders without a list to the only set of that name which has one.
func (f *finder) adopt() {
	var left []*Set
	for _, s := range f.sets {
		if to := f.listed(s); to == nil || !to.adopt(s) {
			left = append(left, s)
		}
	}
	f.sets = left
}

// listed returns the only set with a list that has the name of s, which has none.
func (f *finder) listed(s *Set) (one *Set) {
	if s.plain || s.list != nil {
		return nil
	}
	for _, other := range f.sets {
		if other.file == s.file && other.list != nil {
			if one != nil {
				return nil
			}
			one = other
		}
	}
	return one
}

// adopt takes the volumes of other, unless they do not fit.
func (s *Set) adopt(other *Set) bool {
	for _, dir := range other.folders {
		if s.addFolder(dir) != nil {
			return false
		}
	}
	return true
}

// readVolumeSums reads NAME.sha256 of volumes of the bundle path. It is nil when there is none, or one of a single file.
func readVolumeSums(path string) (*Sums, error) {
	list, err := ReadSums(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), err)
	case len(list.Volumes) == 0:
		return nil, nil
	}
	return list, nil
}

// equal reports whether two lists are those of the same volumes.
func (s *Sums) equal(other *Sums) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.Whole == other.Whole && s.Digits == other.Digits && slices.Equal(s.Volumes, other.Volumes)
}
