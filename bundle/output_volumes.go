package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/ferry-oci/ferry/oci/durable"
)

// ErrOtherBytes comes back when what is written anew is not what a finished volume holds, as when another version of a program
// compresses. Then these volumes serve no more: after Restart all of the bundle is written.
var ErrOtherBytes = errors.New("it holds other bytes than those that are written now")

// volumes is a bundle in volumes. What another run has finished is kept, and compared where it is written again.
type volumes struct {
	path    string   // of the bundle
	folders []string // where volumes go, in turn; the first is that of path
	OutputOptions
	digits  int
	reserve int64 // bytes that are to stay free in a folder, for the list and the journal

	known   *recalled // what an earlier run has left, when that was asked for
	begun   bool      // what is in the folders is of this bundle
	head    journalHead
	journal *journalFile
	done    []doneVolume // finished, from the first
	have    int64        // bytes in these
	removed int          // volumes that were not of this bundle
	again   *os.File     // the finished volume that is compared, or nil
	sum     hash.Hash
	folder  int // of the volume that is written

	mu   sync.Mutex // held while a volume becomes finished
	file *outFile   // the volume that is written, or nil; set with mu, as sync is called from another goroutine
	err  error      // why one could not be finished
}

// doneVolume is a finished one.
type doneVolume struct {
	journalVolume
	path  string
	start int64 // its first byte in the bundle
}

func newVolumes(path string, o OutputOptions) (*volumes, error) {
	v := &volumes{path: path, OutputOptions: o, digits: minVolumeDigits, reserve: VolumeReserve(0)}
	for _, folder := range append([]string{filepath.Dir(path)}, o.Folders...) {
		probe, err := createFile(filepath.Join(folder, filepath.Base(path)) + partialSuffix)
		if err != nil {
			return nil, err
		}
		probe.drop()
		v.folders = append(v.folders, folder)
	}
	return v, nil
}

// Expect says how many bytes the bundle may come to, before the first is written: the names of volumes have as many digits as that
// takes.
func (o *Output) Expect(size int64) error {
	v, ok := o.to.(*volumes)
	if !ok {
		return nil
	}
	n := (size + v.Volume - 1) / v.Volume
	if n > MaxVolumes {
		return fmt.Errorf("%s: %d volumes of %d bytes are too many, the limit is %d", o.path, n, v.Volume, MaxVolumes)
	}
	v.digits, v.reserve = VolumeDigits(int(n)), VolumeReserve(size)
	return nil
}

// VolumeReserve returns how many bytes stay free in a folder that is full of volumes of a bundle of size bytes, for its list
// and the journal.
func VolumeReserve(size int64) int64 { return 1<<20 + size/(32<<10) }

// Volumes returns the names of the volumes that are finished, which Abort leaves where they are.
func (o *Output) Volumes() []string {
	v, ok := o.to.(*volumes)
	if !ok {
		return nil
	}
	names := make([]string, len(v.done))
	for i, d := range v.done {
		names[i] = d.path
	}
	return names
}

// Removed returns how many volumes Begin has removed, because they are not of its bundle, or not what they were.
func (o *Output) Removed() int {
	if v, ok := o.to.(*volumes); ok {
		return v.removed
	}
	return 0
}

func (v *volumes) write(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		var k int
		if at < v.have {
			k, err = v.compare(p[n:], at)
		} else {
			k, err = v.extend(p[n:])
		}
		n, at = n+k, at+int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// compare proves that the finished volume at this offset of the bundle holds the begin of p, as far as it reaches.
func (v *volumes) compare(p []byte, at int64) (int, error) {
	i, _ := slices.BinarySearchFunc(v.done, at, func(d doneVolume, at int64) int {
		if d.start+d.Bytes <= at {
			return -1
		}
		return 1
	})
	d := v.done[i]
	if v.again == nil || v.again.Name() != d.path {
		v.leave()
		var err error
		if v.again, err = os.Open(d.path); err != nil {
			return 0, err
		}
	}
	p = p[:min(int64(len(p)), d.start+d.Bytes-at)]
	held := make([]byte, len(p))
	if _, err := v.again.ReadAt(held, at-d.start); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if string(held) != string(p) {
		return 0, v.disown(d)
	}
	return len(p), nil
}

// leave ends the comparing.
func (v *volumes) leave() {
	if v.again != nil {
		v.again.Close()
		v.again = nil
	}
}

// disown forgets all finished volumes, because of one that holds other bytes.
func (v *volumes) disown(d doneVolume) error {
	err := fmt.Errorf("volume %s: %w", d.path, ErrOtherBytes)
	return errors.Join(err, v.startJournal(&journal{head: v.head}))
}

// extend writes as much of p as the volume takes that comes next.
func (v *volumes) extend(p []byte) (n int, err error) {
	if v.file == nil {
		if err := v.next(); err != nil {
			return 0, err
		}
	}
	n, err = v.file.Write(p[:min(int64(len(p)), v.Volume-v.file.written)])
	v.sum.Write(p[:n])
	if err == nil && v.file.written == v.Volume {
		err = v.finish()
	}
	return n, err
}

// next begins the next volume.
func (v *volumes) next() (err error) {
	v.leave()
	n := len(v.done) + 1
	switch {
	case v.have%v.Volume != 0: // the last one was the last of all
		return v.disown(v.done[len(v.done)-1])
	case VolumeDigits(n) > v.digits:
		return fmt.Errorf("%s: volume %d has no name of %d digits: the bundle is larger than was planned; choose larger volumes", v.path, n, v.digits)
	}
	if v.folder, err = v.choose(); err != nil {
		return err
	}
	f, err := createFile(v.name(v.folder, n) + partialSuffix)
	if err != nil {
		return err
	}
	v.sum = sha256.New()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.file = f
	return nil
}

// name returns the name of volume n in a folder.
func (v *volumes) name(folder, n int) string {
	return filepath.Join(v.folders[folder], VolumeName(filepath.Base(v.path), n, v.digits))
}

// choose returns the first folder, from the last one on, that has room for a whole volume. When none has, it is the one with the most
// room: the volume may be the last, which is shorter.
func (v *volumes) choose() (best int, err error) {
	best = v.folder
	if v.Free == nil {
		return best, nil
	}
	most := int64(-1)
	for i, folder := range v.folders {
		free, err := v.Free(folder)
		switch {
		case err != nil:
			return 0, err
		case i >= v.folder && free >= v.Volume+v.reserve:
			return i, nil
		case free > most:
			best, most = i, free
		}
	}
	return best, nil
}

// finish gives the volume its name, when all of it is on the disk and in the journal.
func (v *volumes) finish() (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f, n := v.file, len(v.done)+1
	v.file = nil
	defer func() { v.err = err }()
	d := doneVolume{path: v.name(v.folder, n), start: v.have}
	d.journalVolume = journalVolume{Number: n, Bytes: f.written, SHA256: hex.EncodeToString(v.sum.Sum(nil))}
	err = f.end()
	if err == nil {
		err = v.journal.volume(d.journalVolume)
	}
	if err == nil {
		err = os.Rename(f.Name(), d.path)
	}
	if err != nil {
		return errors.Join(err, removeAll(f.Name()))
	}
	v.done, v.have = append(v.done, d), v.have+d.Bytes
	return durable.SyncDir(v.folders[v.folder])
}

func (v *volumes) sync() error {
	v.mu.Lock()
	f, err := v.file, v.err
	v.mu.Unlock()
	if f == nil {
		return err // what is finished is on the disk
	}
	if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	v.mu.Lock() // it has been finished meanwhile
	defer v.mu.Unlock()
	return v.err
}

// restart keeps what is finished: whether it serves the next bundle, begin finds out.
func (v *volumes) restart() error {
	v.pause()
	v.begun, v.known, v.done, v.have = false, nil, nil, 0
	return nil
}

// pause drops the volume that is not finished, and closes what is open.
func (v *volumes) pause() {
	v.leave()
	if v.file != nil {
		v.file.drop()
		v.file = nil
	}
	if v.journal != nil {
		v.journal.file.Close()
		v.journal = nil
	}
}

func (v *volumes) abort() {
	v.pause()
	if v.begun && len(v.done) == 0 {
		os.Remove(v.path + journalSuffix)
	}
}

func (v *volumes) commit(size int64, list string) error {
	defer v.pause()
	if size < v.have {
		return v.disown(v.done[len(v.done)-1])
	}
	if v.file != nil {
		if err := v.finish(); err != nil {
			return err
		}
	}
	var lines strings.Builder
	for _, d := range v.done {
		lines.WriteString(sumLine(d.SHA256, filepath.Base(d.path)))
	}
	lines.WriteString(list)
	for _, folder := range v.folders {
		if err := durable.WriteFile(SumFile(filepath.Join(folder, filepath.Base(v.path))), []byte(lines.String())); err != nil {
			return err
		}
	}
	if err := os.Remove(v.path + journalSuffix); err != nil {
		return err
	}
	return durable.SyncDir(v.folders[0])
}

// begin goes on with the volumes of an earlier run that has written the bundle with this head, and removes all others.
func (v *volumes) begin(ctx context.Context, head journalHead) (*recalled, error) {
	r, err := v.recall(ctx, head)
	if err != nil {
		return nil, err
	}
	v.known = nil // what follows may change it
	v.head, v.done, v.have, v.folder = head, slices.Clone(r.done), r.have, 0
	if err := v.startJournal(&r.journal); err != nil {
		return nil, err
	}
	v.begun = true
	keep := map[string]bool{}
	for _, d := range v.done {
		keep[d.path] = true
	}
	for _, folder := range v.folders {
		path := filepath.Join(folder, filepath.Base(v.path))
		n, err := removeVolumes(path, keep)
		v.removed += n
		err = errors.Join(err, removeAll(SumFile(path))) // which says that the volumes are whole
		if v.Replace {
			err = errors.Join(err, removeAll(path))
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (v *volumes) startJournal(j *journal) (err error) {
	if v.journal != nil {
		v.journal.file.Close()
	}
	v.journal, err = startJournal(v.path+journalSuffix, j)
	return err
}

// recalled is what an earlier run has left of a bundle.
type recalled struct {
	journal // of the volumes and of the frames that end in them
	done    []doneVolume
	have    int64     // bytes in these
	whole   hash.Hash // of them
}

// recall reads the journal and proves, from the first on, the volumes that it tells of. It does so once for a head.
func (v *volumes) recall(ctx context.Context, head journalHead) (*recalled, error) {
	if v.known != nil && v.known.head == head {
		return v.known, nil
	}
	old, err := readJournal(v.path + journalSuffix)
	if err != nil {
		return nil, err
	}
	r := &recalled{journal: journal{head: head}, whole: sha256.New()}
	if old.head != head {
		old = &journal{}
	}
	for _, said := range old.volumes {
		if said.Bytes > v.Volume || r.have%v.Volume != 0 { // only the last one is shorter
			break
		}
		path, whole, err := v.prove(ctx, said, r.whole)
		if err != nil {
			return nil, err
		}
		if path == "" {
			break
		}
		r.done = append(r.done, doneVolume{said, path, r.have})
		r.have, r.whole = r.have+said.Bytes, whole
	}
	r.volumes = old.volumes[:len(r.done)]
	r.frames = old.frames[:sort.Search(len(old.frames), func(i int) bool { return old.frames[i].End > r.have })]
	v.known = r
	return r, nil
}

// prove returns where a volume lies that is what the journal says, and the hash of all before and of it; or no path.
func (v *volumes) prove(ctx context.Context, said journalVolume, before hash.Hash) (string, hash.Hash, error) {
	for folder := range v.folders {
		path := v.name(folder, said.Number)
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() != said.Bytes {
			continue
		}
		whole, err := before.(hash.Cloner).Clone()
		if err != nil {
			return "", nil, err
		}
		sum, err := hashFile(ctx, path, whole)
		if ctx.Err() != nil {
			return "", nil, ctx.Err()
		}
		if err == nil && sum == said.SHA256 { // one that cannot be read is damaged, too
			return path, whole, nil
		}
	}
	return "", nil, nil
}

// hashFile returns the sha256 of a file in hex. Its bytes go to others, too.
func hashFile(ctx context.Context, path string, others io.Writer) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	buf := make([]byte, outputPiece)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		others.Write(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			return hex.EncodeToString(sum.Sum(nil)), nil
		case err != nil:
			return "", err
		}
	}
}

// Old returns what lies under the name of a bundle and is not of the bundle that is to be written there: its volumes, and for volumes
// also the bundle in one file. Volumes with a journal are not old: Begin knows whether they are of the same bundle.
func Old(path string, o OutputOptions) ([]string, error) {
	_, err := os.Lstat(path + journalSuffix)
	unfinished := err == nil
	var old []string
	for _, folder := range append([]string{filepath.Dir(path)}, o.Folders...) {
		path := filepath.Join(folder, filepath.Base(path))
		if _, err := os.Lstat(path); err == nil && o.Volume > 0 {
			old = append(old, path)
		}
		if o.Volume > 0 && unfinished {
			continue
		}
		files, err := volumeFiles(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if !strings.HasSuffix(file, partialSuffix) {
				old = append(old, file)
			}
		}
	}
	return old, nil
}

// volumeFiles returns the volumes in the folder of the bundle path, those that are not finished, too.
func volumeFiles(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		of, _, _, ok := parseVolumeName(strings.TrimSuffix(e.Name(), partialSuffix))
		if ok && of == filepath.Base(path) {
			files = append(files, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return files, nil
}

// VolumesSize returns how many bytes the volumes take that lie in the folder of the bundle path, those that are not finished, too.
func VolumesSize(path string) (size int64, err error) {
	files, err := volumeFiles(path)
	for _, file := range files {
		if info, err := os.Lstat(file); err == nil {
			size += info.Size()
		}
	}
	return size, err
}

// removeVolumes removes the volumes in the folder of the bundle path, but some, and returns how many of them had their names.
func removeVolumes(path string, keep map[string]bool) (n int, err error) {
	files, err := volumeFiles(path)
	files = slices.DeleteFunc(files, func(file string) bool { return keep[file] })
	for _, file := range files {
		if !strings.HasSuffix(file, partialSuffix) {
			n++
		}
	}
	return n, errors.Join(err, removeAll(files...))
}
