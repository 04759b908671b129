package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/harbor/harbortest"
)

// Limits for a Harbor of 6,000 images of two platforms each, of which each has layers of its own.
const (
	largePeak = 600 << 20 // bytes of memory that a command takes
	largeHead = 32 << 20  // bytes before the first blob
)

// A whole Harbor of thousands of images goes into one bundle, and into another Harbor, within bounds of memory.
func TestBackupOfALargeHarbor(t *testing.T) {
	images, peak := 200, int64(math.MaxInt64) // the race detector takes more than the images
	if os.Getenv("FERRY_E2E_LONG") != "" {
		images, peak = 6000, largePeak
	}
	from, to := harbortest.New(t, harbortest.Options{}), harbortest.New(t, harbortest.Options{})
	fillHarbor(from, images)
	dir := t.TempDir()
	for _, command := range [][]string{
		{"pack", "--consume", "--from", from.Host(), "-o", "backup.tar.zst"},
		{"verify", "backup.tar.zst"},
		{"inspect", "backup.tar.zst"},
		{"unpack", "--create-projects", "backup.tar.zst", to.Host()},
		{"unpack", "--create-projects", "backup.tar.zst", to.Host()},
	} {
		runMeasured(t, dir, peak, command...)
	}
	checkLargeHead(t, filepath.Join(dir, "backup.tar.zst"), images)
	if got, want := to.Repositories(), from.Repositories(); !slices.Equal(got, want) {
		t.Fatalf("%d repositories came, want %d", len(got), len(want))
	}
	for _, repo := range from.Repositories() {
		if got, want := to.Tags(repo), from.Tags(repo); !maps.Equal(got, want) {
			t.Errorf("%s: tags %v, want %v", repo, got, want)
		}
		if got, want := len(to.Contents(repo)), len(from.Contents(repo)); got != want {
			t.Errorf("%s: %d blobs and manifests came, want %d", repo, got, want)
		}
	}
}

// fillHarbor puts images of two platforms into a Harbor, four tags a repository, in 20 projects.
func fillHarbor(h *harbortest.Server, images int) {
	for p := range 20 {
		h.AddProject(harbortest.Project{Name: fmt.Sprintf("p%d", p), Public: p%2 == 0})
	}
	base := ocitest.RandomLayer(1, 2000)
	for i := range images {
		repo := fmt.Sprintf("p%d/team/app-%04d", i/4%20, i/4)
		g := ocitest.Index(
			ocitest.Image(ocitest.AMD64, base, ocitest.RandomLayer(uint64(2*i+10), 100)),
			ocitest.Image(ocitest.ARM64, base, ocitest.RandomLayer(uint64(2*i+11), 100)),
		)
		for _, b := range g.All() {
			if oci.IsManifest(b.MediaType) {
				h.AddManifest(repo, b.MediaType, b.Bytes)
			} else {
				h.AddBlob(repo, b.Bytes)
			}
		}
		h.Tag(repo, fmt.Sprintf("v1.%d", i%4), g.Digest)
	}
}

// runMeasured runs ferry in the folder dir. It is to succeed, and to take no more memory than peak.
func runMeasured(t *testing.T, dir string, peak int64, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ferry", args...) // which this test binary plays
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir+"/cache", "XDG_STATE_HOME="+dir+"/state", "DOCKER_CONFIG=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("ferry %q: %v\n%s", args, err, stderr.Bytes())
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("%s: %s, peak %d MB", args[0], time.Since(start).Round(time.Millisecond), used>>20)
	if used > peak {
		t.Errorf("ferry %q took %d bytes of memory, at most %d are right", args, used, peak)
	}
}

// checkLargeHead proves that the head of the bundle has all images and is of a size that is read at once.
func checkLargeHead(t *testing.T, path string, images int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, _, err := bundle.ReadHead(f, bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	if len(h.Members) > 0 {
		size = h.Members[0].Offset // of what comes before all blobs: both indexes and the checksums
	}
	t.Logf("%d images, %d members; %d bytes before the first blob", len(h.Images), len(h.Members), size)
	if len(h.Images) != images || len(h.Projects) != 20 || size > largeHead {
		t.Errorf("%d images, %d projects, %d bytes of head", len(h.Images), len(h.Projects), size)
	}
}
