package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// The disks of a run are what packNeeds says, whatever machine the test runs on.
func TestPackNeedsCheck(t *testing.T) {
	const gb = 1e9
	usb := disk{dir: "/mnt/usb", free: 100 * gb, device: "usb"}
	fat := disk{dir: "/mnt/fat", free: 100 * gb, device: "fat", fat: true}
	home := disk{dir: "/home", free: 10 * gb, device: "home"}
	for name, c := range map[string]struct {
		store, output         disk
		storeSize, outputSize int64
		want                  string // in the error; empty for none
		tooSmall              bool
	}{
		"room for both":                {home, usb, 10 * gb, 100 * gb, "", false},
		"store too large":              {home, usb, 10*gb + 1, 5 * gb, "the store needs 10.0 GB, and 10.0 GB are free on the disk of /home", true},
		"output too large":             {home, usb, 5 * gb, 200 * gb, "the output needs 200.0 GB, and 100.0 GB are free on the disk of /mnt/usb", true},
		"one disk, room for both":      {home, home, 5 * gb, 5 * gb, "", false},
		"one disk, too small for both": {home, home, 6 * gb, 5 * gb, "store and output need 11.0 GB", true},
		"FAT, a file that fits":        {home, fat, 4 * gb, fatMaxFile, "", false},
		"FAT, a file one byte larger":  {home, fat, 4 * gb, fatMaxFile + 1, "/mnt/fat is a FAT file system, which takes no file above 4.3 GB", false},
		"store on FAT, many files":     {fat, usb, 50 * gb, 50 * gb, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			n := &packNeeds{
				store:  spaceNeed{what: "the store needs", path: "store", size: c.storeSize, disk: c.store},
				output: spaceNeed{what: "the output needs", path: "k8s.tar.zst", size: c.outputSize, disk: c.output},
			}
			err := n.check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if errors.Is(err, errTooSmall) != c.tooSmall {
				t.Errorf("errTooSmall: %v, want %v", !c.tooSmall, c.tooSmall)
			}
		})
	}
}

// A compact bundle is often far below its bound: what is refused is a disk that has no room for the least that it takes.
func TestPackNeedsOfCompact(t *testing.T) {
	const gb = 1e9
	usb := disk{dir: "/mnt/usb", device: "usb", free: 4 * gb}
	fat := disk{dir: "/mnt/fat", device: "fat", free: 100 * gb, fat: true}
	home := disk{dir: "/home", device: "home", free: 100 * gb}
	for name, c := range map[string]struct {
		format  compress.Format
		consume bool
		output  disk
		bytes   int64
		free    int64 // at home
		want    string
	}{
		"fits":                          {compress.Zstd, false, usb, 3 * gb, 100 * gb, ""},
		"may fit":                       {compress.Zstd, false, usb, 9 * gb, 100 * gb, ""},
		"cannot fit":                    {compress.Zstd, false, usb, 44 * gb, 100 * gb, "the output needs 4.4 GB, and 4.0 GB are free"},
		"FAT, may fit":                  {compress.Zstd, false, fat, 10 * gb, 100 * gb, ""},
		"FAT, cannot fit":               {compress.Zstd, false, fat, 44 * gb, 100 * gb, "takes no file above 4.3 GB"},
		"a tar is larger":               {compress.None, false, usb, 5 * gb, 100 * gb, "the output needs 4.5 GB, and 4.0 GB are free"},
		"the store has what is spooled": {compress.Zstd, false, usb, 1 * gb, 1.5 * gb, "the store needs 1.5 GB"},
		"one disk":                      {compress.Zstd, false, home, 10 * gb, 11.4 * gb, "store and output need 11.5 GB"},
		"one disk, consumed":            {compress.Zstd, true, home, 10 * gb, 11.4 * gb, ""},
	} {
		t.Run(name, func(t *testing.T) {
			home.free = c.free
			if c.output.device == home.device {
				c.output = home
			}
			p := &packing{o: &packOptions{Consume: c.consume, Compact: true}}
			p.writer.Format = c.format
			n := &packNeeds{
				size: oci.PlanSize{Bytes: c.bytes}, fetch: c.bytes,
				store:  spaceNeed{what: "the store needs", path: "store", disk: home},
				output: spaceNeed{what: "the output needs", path: "k8s.tar.zst", disk: c.output},
			}
			p.needsOfCompact(n)
			err := n.check()
			var said strings.Builder
			describeOutput(&said, n.output)
			if got := strings.Contains(said.String(), "\n        there is room for "); c.want == "" && got != strings.HasSuffix(name, "may fit") {
				t.Errorf("said %s", said.String())
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// What a plan can show is said before a blob moves, and leaves nothing.
func TestPackOnDiskThatIsTooSmall(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	s := &story{registries: map[string]*registrytest.Server{"S": r}}
	if err := s.push(nil, []string{"S", "pause:3.9", "pause"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		disk   disk
		dryRun bool
		want   error
	}{
		"room":               {disk{free: 1e9}, false, nil},
		"too small":          {disk{free: 1000}, false, errTooSmall},
		"too small, dry run": {disk{free: 1000}, true, errTooSmall},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir()) // no credentials of the machine
			r.ResetCounts()
			dir := t.TempDir()
			output := filepath.Join(dir, "out", "k8s.tar.zst")
			if err := os.Mkdir(filepath.Dir(output), 0o755); err != nil {
				t.Fatal(err)
			}
			o := packOptions{
				imageFlags: imageFlags{Images: []string{r.Host() + "/pause:3.9"}, Missing: "fail"}, Store: filepath.Join(dir, "store"),
				outputFlags: outputFlags{Output: output, Level: "default"}, Transfers: transferFlags{N: 2}, DryRun: c.dryRun,
			}
			o.Source.add(pflag.NewFlagSet("pack", pflag.ContinueOnError), sideSource)
			std := &stdio{Out: io.Discard, Err: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }}
			p := &packing{o: &o, std: std, diskOf: func(string) (disk, error) { return c.disk, nil }}
			if err := p.pack(t.Context()); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want == nil {
				return
			}
			if n := r.Count("GET", registrytest.Blob); n > 0 {
				t.Errorf("%d blobs were fetched", n)
			}
			if left, err := os.ReadDir(filepath.Dir(output)); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

func TestLockOutput(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	unlock, err := lockOutput("a.tar", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockOutput("./a.tar", false); err == nil {
		t.Error("one output was locked twice")
	}
	unlockOther, err := lockOutput("b.tar", false)
	if err != nil {
		t.Errorf("another output: %v", err)
	}
	unlockOther()
	unlock()
	unlock, err = lockOutput("a.tar", false)
	if err != nil {
		t.Fatalf("after the first run: %v", err)
	}
	unlock()
}
