package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
)

// splitSizes are the volumes that --split knows by name, in bytes: what fits on the media with the file system's own needs.
var splitSizes = map[string]int64{"fat32": 4_000_000_000, "dvd": 4_700_000_000, "bd25": 25_000_000_000}

// parseSplit returns the size of volumes that --split asks for, in bytes.
func parseSplit(s string) (int64, error) {
	if size, ok := splitSizes[strings.ToLower(s)]; ok {
		return size, nil
	}
	size, err := parseSize(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w, or one of %s", err, strings.Join(slices.Sorted(maps.Keys(splitSizes)), ", "))
	case size < bundle.MinVolumeSize:
		return 0, fmt.Errorf("size %.40q: volumes have at least %s", s, formatBinary(bundle.MinVolumeSize))
	}
	return size, nil
}

// outputOptions returns how the output is written, and leaves in f.Output nothing but the path of the bundle.
func (f *outputFlags) outputOptions() (o bundle.OutputOptions, err error) {
	o.Replace, o.Writer = f.Replace, "ferry "+ferryVersion()
	if f.Split == "" {
		return o, nil
	}
	if o.Volume, err = parseSplit(f.Split); err != nil {
		return o, usagef("--split: %w", err)
	}
	paths := strings.Split(f.Output, ",")
	if slices.Contains(paths, "") {
		return o, usagef("-o %s: a folder without a name", f.Output)
	}
	f.Output, o.Folders = paths[0], paths[1:]
	return o, nil
}

// checkFolders finds out early what is wrong with the folders that an output goes to.
func checkFolders(path string, o bundle.OutputOptions) error {
	folders := append([]string{filepath.Dir(path)}, o.Folders...)
	for i, folder := range folders {
		if err := checkFolder(path, folder); err != nil {
			return err
		}
		if slices.ContainsFunc(folders[:i], func(other string) bool { return sameFile(folder, other) }) {
			return usagef("-o %s: folder %s is named twice", path, folder)
		}
	}
	return nil
}

// volumeRoom is a folder that takes volumes.
type volumeRoom struct {
	folder string
	disk   disk
	held   int64 // bytes of volumes that lie there, which are part of the bundle or will be removed before it is written
}

// outputNeed returns what an output of size bytes needs.
func outputNeed(path string, size int64, o bundle.OutputOptions, diskOf func(string) (disk, error)) (need spaceNeed, err error) {
	need = spaceNeed{what: "the output needs", path: path, size: size, volume: o.Volume}
	if need.disk, err = diskOf(path); err != nil || o.Volume == 0 {
		return need, err
	}
	for _, folder := range append([]string{filepath.Dir(path)}, o.Folders...) {
		r := volumeRoom{folder: folder}
		if r.disk, err = diskOf(folder); err != nil {
			return need, err
		}
		if r.held, err = bundle.VolumesSize(filepath.Join(folder, filepath.Base(path))); err != nil {
			return need, err
		}
		need.rooms = append(need.rooms, r)
	}
	return need, nil
}

// place returns how many volumes of size bytes go to each folder, as the output will be written, and how many of the bytes have no place.
// Something else takes so much of the disk with that name before.
func (s spaceNeed) place(size int64, device string, taken int64) (volumes []int64, left int64) {
	free := map[string]int64{device: -taken}
	for _, r := range s.rooms {
		if _, ok := free[r.disk.device]; !ok || r.disk.device == device && free[device] == -taken {
			free[r.disk.device] += r.disk.free
		}
	}
	for _, r := range s.rooms {
		free[r.disk.device] += r.held
	}
	reserve := bundle.VolumeReserve(s.size)
	volumes, left = make([]int64, len(s.rooms)), size
	for i, r := range s.rooms {
		room := max(0, free[r.disk.device]-reserve)
		n := min(room/s.volume, left/s.volume)
		volumes[i], left = n, left-n*s.volume
		free[r.disk.device] -= n * s.volume
	}
	for i, r := range s.rooms { // the last volume is shorter
		if left > 0 && left < s.volume && free[r.disk.device]-reserve >= left {
			volumes[i], left = volumes[i]+1, 0
		}
	}
	return volumes, left
}

// checkVolumes returns an error when the folders have no room for all volumes.
func (s spaceNeed) checkVolumes(device string, taken int64) error {
	need := cmp.Or(s.least, s.size)
	volumes, left := s.place(need, device, taken)
	if left == 0 {
		return nil
	}
	fit := int64(0)
	var where []string
	for i, n := range volumes {
		fit += n
		where = append(where, fmt.Sprintf("%d in %s", n, s.rooms[i].folder))
	}
	return fmt.Errorf("%w: %s %s, which are %d volumes of %s, and there is room for %d: %s; add folders: -o %s,DIR",
		errTooSmall, s.what, formatSize(need), s.volumes(need), formatSize(s.volume), fit, strings.Join(where, ", "), s.path)
}

// volumes returns the number of volumes of so many bytes.
func (s spaceNeed) volumes(size int64) int64 { return (size + s.volume - 1) / s.volume }

// checkVolumeFiles returns an error when the file system of a folder takes no file as large as a volume.
func (s spaceNeed) checkVolumeFiles() error {
	size := min(s.volume, cmp.Or(s.least, s.size))
	for _, r := range s.rooms {
		if r.disk.fat && size > fatMaxFile {
			return fmt.Errorf("output %s: volumes of %s are to go to %s, which is a FAT file system and takes no file above %s; use --split fat32",
				s.path, formatSize(s.volume), r.folder, formatSize(fatMaxFile))
		}
	}
	return nil
}

// describeVolumes writes how many volumes the output becomes, and where they go.
func describeVolumes(b *strings.Builder, o spaceNeed) {
	usually := ""
	if o.least > 0 {
		usually = fmt.Sprintf("usually about %s, ", formatSize(o.usual))
	}
	fmt.Fprintf(b, "output: %s, %sat most %s in %s of %s\n",
		o.path, usually, formatSize(o.size), plural(int(o.volumes(o.size)), "volume"), formatSize(o.volume))
	volumes, left := o.place(o.size, "", 0)
	for i, r := range o.rooms {
		held := ""
		if r.held > 0 {
			held = fmt.Sprintf(", and %s in volumes that are there", formatSize(r.held))
		}
		fmt.Fprintf(b, "        %s: %s; %s free on %s%s\n",
			r.folder, plural(int(volumes[i]), "volume"), formatSize(r.disk.free), r.disk.fsType, held)
	}
	if left > 0 && o.least > 0 {
		fmt.Fprintf(b, "        there is no room for %s more: whether that is needed shows when it is written\n", formatSize(left))
	}
}

// sameFile reports whether two paths lead to one file or folder.
func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errors.Join(errA, errB) == nil && os.SameFile(infoA, infoB)
}

// sayResumed tells how much of the bundle an earlier run has finished, and what was removed.
func sayResumed(std *stdio, out *bundle.Output) {
	if n := out.Removed(); n > 0 {
		std.say("removed %s of an earlier run that %s not of this bundle, or damaged", plural(n, "volume"), map[bool]string{true: "is", false: "are"}[n == 1])
	}
	if done := out.Volumes(); len(done) > 0 {
		std.say("going on behind %s, which an earlier run has finished", filepath.Base(done[len(done)-1]))
	}
}

// keptVolumes says how many volumes of an output that was given up are finished; nothing when none are.
func keptVolumes(out *bundle.Output) string {
	n := len(out.Volumes())
	if n == 0 {
		return ""
	}
	return plural(n, "volume") + " finished"
}

// freeOf returns what tells how many bytes are free where a folder is.
func freeOf(diskOf func(string) (disk, error)) func(string) (int64, error) {
	return func(folder string) (int64, error) {
		d, err := diskOf(folder)
		return d.free, err
	}
}
