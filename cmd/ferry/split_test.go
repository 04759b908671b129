package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/bundle"
)

func TestParseSplit(t *testing.T) {
	for text, want := range map[string]int64{
		"fat32": 4e9, "DVD": 4.7e9, "bd25": 25e9, "4GB": 4e9, "1MiB": 1 << 20, "1048576": 1 << 20,
		"1048575": 0, "bd50": 0, "": 0, "-4GB": 0,
	} {
		if got, err := parseSplit(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
}

// volumeNeed returns an output of size bytes in volumes of 4 GB, whose folders lie on these disks.
func volumeNeed(size int64, disks ...disk) spaceNeed {
	s := spaceNeed{what: "the output needs", path: "k8s.tar.zst", size: size, volume: 4e9}
	for i, d := range disks {
		s.rooms = append(s.rooms, volumeRoom{folder: fmt.Sprintf("/%d", i+1), disk: d})
	}
	s.disk = disks[0]
	return s
}

func TestPlaceVolumes(t *testing.T) {
	const gb, spare = 1e9, 1e8 // more than what stays free in each folder
	usb := func(name string, free int64) disk { return disk{device: name, free: free} }
	held := volumeNeed(20*gb, usb("a", 8*gb+spare))
	held.rooms[0].held = 12 * gb
	for name, c := range map[string]struct {
		need  spaceNeed
		taken int64 // of disk a
		want  string
		left  int64
	}{
		"one folder":                    {volumeNeed(20*gb, usb("a", 20*gb+spare)), 0, "[5]", 0},
		"a short last volume":           {volumeNeed(17*gb, usb("a", 17*gb+spare)), 0, "[5]", 0},
		"less than one volume":          {volumeNeed(1*gb, usb("a", 1*gb+spare)), 0, "[1]", 0},
		"without what stays free":       {volumeNeed(20*gb, usb("a", 20*gb)), 0, "[4]", 4 * gb},
		"in turn":                       {volumeNeed(20*gb, usb("a", 11*gb), usb("b", 100*gb)), 0, "[2 3]", 0},
		"the last where room is":        {volumeNeed(9*gb, usb("a", 5.5*gb), usb("b", 4*gb+spare)), 0, "[2 1]", 0},
		"no room for a whole volume":    {volumeNeed(12*gb, usb("a", 3*gb), usb("b", 3*gb), usb("c", 100*gb)), 0, "[0 0 3]", 0},
		"whole volumes alone count":     {volumeNeed(12*gb, usb("a", 7*gb), usb("b", 7*gb)), 0, "[1 1]", 4 * gb},
		"two folders of one disk":       {volumeNeed(20*gb, usb("a", 12*gb+spare), usb("a", 12*gb+spare)), 0, "[3 0]", 8 * gb},
		"volumes that are there":        {held, 0, "[5]", 0},
		"the store is on the disk, too": {volumeNeed(20*gb, usb("a", 20*gb+spare), usb("b", 8*gb+spare)), 8 * gb, "[3 2]", 0},
		"full":                          {volumeNeed(20*gb, usb("a", 1*gb)), 2 * gb, "[0]", 20 * gb},
	} {
		got, left := c.need.place(c.need.size, "a", c.taken)
		if fmt.Sprint(got) != c.want || left != c.left {
			t.Errorf("%s: got %v, left %d; want %s, %d", name, got, left, c.want, c.left)
		}
	}
}

// What a plan of volumes refuses, and the flags that it names.
func TestPackNeedsOfVolumes(t *testing.T) {
	const gb = 1e9
	fat := disk{dir: "/1", device: "fat", fsType: "vfat", free: 100 * gb, fat: true}
	usb := disk{dir: "/2", device: "usb", fsType: "ext4", free: 10 * gb}
	home := disk{dir: "/home", device: "home", free: 50 * gb}
	large := volumeNeed(20*gb, usb, fat)
	large.volume = 5 * gb
	last := volumeNeed(2*gb, fat)
	last.volume = 5 * gb
	compact := volumeNeed(30*gb, usb)
	compact.least, compact.usual = 3*gb, 15*gb
	file := spaceNeed{what: "the output needs", path: "k8s.tar.zst", size: 5 * gb, disk: fat}
	for name, c := range map[string]struct {
		store, output spaceNeed
		want          string
	}{
		"fits FAT":                  {spaceNeed{size: 20 * gb, disk: home}, volumeNeed(40*gb, fat), ""},
		"FAT, large volumes":        {spaceNeed{disk: home}, large, "volumes of 5.0 GB are to go to /2, which is a FAT file system and takes no file above 4.3 GB; use --split fat32"},
		"FAT, a single small one":   {spaceNeed{disk: home}, last, ""},
		"FAT, one file":             {spaceNeed{disk: home}, file, "takes no file above 4.3 GB; --split fat32 writes it in volumes that fit"},
		"too many volumes":          {spaceNeed{disk: home}, volumeNeed(20*gb, usb), "20.0 GB, which are 5 volumes of 4.0 GB, and there is room for 2: 2 in /1; add folders: -o k8s.tar.zst,DIR"},
		"the store takes the room":  {spaceNeed{size: 3 * gb, disk: usb}, volumeNeed(8*gb, usb), "there is room for 1"},
		"compact, may fit":          {spaceNeed{disk: home}, compact, ""},
		"the store itself is large": {spaceNeed{size: 60 * gb, disk: home}, volumeNeed(4*gb, usb), "50.0 GB are free on the disk of /home"},
	} {
		n := &packNeeds{store: c.store, output: c.output}
		err := n.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if isSmall := errors.Is(err, errTooSmall); err != nil && isSmall == strings.Contains(c.want, "FAT") && c.output.volume > 0 {
			t.Errorf("%s: errTooSmall: %v", name, isSmall)
		}
	}
	var b strings.Builder
	describeOutput(&b, compact)
	want := "output: k8s.tar.zst, usually about 15.0 GB, at most 30.0 GB in 8 volumes of 4.0 GB\n" +
		"        /1: 2 volumes; 10.0 GB free on ext4\n" +
		"        there is no room for 22.0 GB more: whether that is needed shows when it is written\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestOutputNeed(t *testing.T) {
	dir := t.TempDir()
	diskOf := func(path string) (disk, error) { return disk{dir: path, free: 7}, nil }
	need, err := outputNeed(dir+"/k8s.tar.zst", 99, bundle.OutputOptions{Volume: 10, Folders: []string{dir}}, diskOf)
	if err != nil || len(need.rooms) != 2 || need.volume != 10 || need.size != 99 || need.rooms[1].disk.free != 7 {
		t.Errorf("got %+v, %v", need, err)
	}
	if _, err := outputNeed("k8s.tar.zst", 99, bundle.OutputOptions{Volume: 10, Folders: []string{dir + "/gone"}}, diskOf); err == nil {
		t.Error("a folder that is not there was taken")
	}
}
