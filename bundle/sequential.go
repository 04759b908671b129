package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// ErrOtherSet comes back when a folder has a volume of the name that is looked for, and its NAME.sha256 is of another bundle.
var ErrOtherSet = errors.New("it is of another bundle")

// Look looks for volumes again in all folders, and in those that are given from now on, too. It reports whether volume n is
// there. Errors: ErrOtherSet, and what is wrong with a folder that is given.
func (s *Set) Look(n int, folders ...string) (bool, error) {
	s.looking.Lock()
	defer s.looking.Unlock()
	for _, dir := range folders {
		if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
			dir = filepath.Dir(dir) // a volume stands for its folder
		}
		if _, err := os.ReadDir(dir); err != nil {
			return false, pathError(dir, err)
		}
		if !s.hasFolder(dir) {
			s.folders = append(s.folders, dir)
		}
	}
	if err := s.open.drop(); err != nil {
		return false, err
	}
	s.volumes = map[int]volume{}
	var other error
	for _, dir := range s.folders {
		list, err := readVolumeSums(filepath.Join(dir, s.file))
		switch {
		case err != nil: // a disk that is not there now, or one with something else on it
			continue
		case list != nil && s.list != nil && !list.equal(s.list):
			other = fmt.Errorf("%s: %s: %w", dir, SumFile(s.file), ErrOtherSet)
			continue
		case s.list == nil && list != nil:
			s.list, s.digits = list, list.Digits
		}
		if err := s.look(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			other = err
		}
	}
	if err := s.measure(); err != nil {
		return false, err
	}
	if _, ok := s.volumes[n]; ok {
		return true, nil
	}
	return false, other
}

// Sequential returns the bytes of the whole in order, one volume after the other, of which no more than the one that is read needs
// to be there. Where the next is not, ask is called until Look finds it; its error ends the reading. Each volume is proven
// against NAME.sha256 on the way, and one that is wrong is ErrCorrupt at its end. Nobody else may read from the set or look
// meanwhile.
func (s *Set) Sequential(ask func(n int) error) io.ReadCloser {
	return &sequential{set: s, ask: ask, sum: sha256.New()}
}

// sequential is the reader of Sequential.
type sequential struct {
	set  *Set
	ask  func(n int) error
	n    int // of the volume that is read
	file *os.File
	read int64 // of its bytes
	full int64 // size of the first volume, which all but the last have
	tail [4]byte
	sum  hash.Hash
	err  error
}

func (r *sequential) Read(p []byte) (int, error) {
	for r.err == nil {
		if r.file == nil {
			r.err = r.next()
			continue
		}
		n, err := r.file.Read(p)
		r.sum.Write(p[:n])
		r.read += int64(n)
		r.keepTail(p[:n])
		if errors.Is(err, io.EOF) {
			err = r.end()
		}
		r.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// keepTail remembers the last bytes that were read.
func (r *sequential) keepTail(p []byte) {
	p = p[max(0, len(p)-len(r.tail)):]
	copy(r.tail[:], r.tail[len(p):])
	copy(r.tail[len(r.tail)-len(p):], p)
}

// next opens the next volume.
func (r *sequential) next() error {
	r.n++
	for {
		found, err := r.set.Look(r.n)
		if found {
			break
		}
		if err != nil && !errors.Is(err, ErrOtherSet) {
			return err
		}
		if err := r.ask(r.n); err != nil {
			return err
		}
	}
	f, err := os.Open(r.set.volumes[r.n].path)
	r.file, r.read = f, 0
	r.sum.Reset()
	return err
}

// end checks the volume that was read to its end. It returns io.EOF after the last one.
func (r *sequential) end() error {
	name := r.set.VolumeName(r.n)
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return err
	}
	if r.n == 1 {
		r.full = r.read
	}
	list := r.set.list
	last := list != nil && r.n == len(list.Volumes) || list == nil && (r.read < r.full || r.endsWhole())
	if !last && r.read != r.full || r.read > r.full {
		return corrupt(name, "it ends after %d bytes, want %d", r.read, r.full)
	}
	if list != nil {
		if got := [32]byte(r.sum.Sum(nil)); got != list.Volumes[r.n-1] {
			return corrupt(name, "%s", r.set.wrongSum(r.n, got))
		}
	}
	if last {
		return io.EOF
	}
	return nil
}

// endsWhole reports whether the last bytes are those of a whole file: the end of a seek table or of an xz stream. Without a list
// nothing else tells whether a volume that is as large as the others is the last.
func (r *sequential) endsWhole() bool {
	return string(r.tail[:]) == "\xb1\xea\x92\x8f" || string(r.tail[2:]) == "YZ"
}

func (r *sequential) Close() error {
	if r.err == nil {
		r.err = os.ErrClosed
	}
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
