package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// releasePlatforms are those of the story: the one that it runs on, and one that is built for only.
const releasePlatforms = "linux/amd64 windows/amd64"

// The same source gives the same binaries in another folder, with nothing built before, under another environment. They go along
// with a bundle, and one of them reads it.
func TestRelease(t *testing.T) {
	if os.Getenv("FERRY_E2E_LONG") == "" {
		t.Skip("a long story: FERRY_E2E_LONG is not set")
	}
	requireTools(t, "make", "git", "sha256sum")
	first := release(t, filepath.Join(t.TempDir(), "a"), nil)
	second := release(t, filepath.Join(t.TempDir(), "another", "longer", "folder"),
		[]string{"GOFLAGS=-tags=other", "GOAMD64=v3", "LC_ALL=C.UTF-8", "GOCACHE=" + t.TempDir()})
	if len(first) != 3 {
		t.Errorf("%d files, want two binaries and their checksums", len(first))
	}
	for name, content := range first {
		if !bytes.Equal(content, second[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if t.Failed() {
		return
	}
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	for name, content := range first {
		w.write("dist/"+name, string(content))
	}
	w.ok("pack", "--with", "linux/amd64,windows/amd64", "--with-from", "dist", "-f", "images.list", "-o", "k8s.tar.zst")
	w.tool("sha256sum", "--quiet", "-c", "k8s.tar.zst.sha256")
	w.tool("./ferry-linux-amd64", "verify", "-q", "k8s.tar.zst")
	if got := w.tool("./ferry-linux-amd64", "version"); !strings.Contains(got, "ferry v0.0.0-test ") {
		t.Errorf("version: %s", got)
	}
}

// release copies the source, as git has it, to dir and runs `make release` there. It returns what is in dist.
func release(t *testing.T, dir string, env []string) map[string][]byte {
	t.Helper()
	copySource(t, dir)
	cmd := exec.CommandContext(t.Context(), "make", "release", "VERSION=v0.0.0-test", "PLATFORMS="+releasePlatforms)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, out)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "-c", "--quiet", "SHA256SUMS")
	check.Dir = filepath.Join(dir, "dist")
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("SHA256SUMS: %v\n%s", err, out)
	}
	return readFolder(t, check.Dir)
}

// copySource copies the files of this repository that git knows, as they are now.
func copySource(t *testing.T, dir string) {
	t.Helper()
	const root = "../.."
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--", ".", ":!testdata", ":!*/testdata/*")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readFolder(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
