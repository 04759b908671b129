package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// prefix is the namespace at the target.
const prefix = "k8s-use"

// world is where a story takes place: a registry with the demo's images, an empty one, and a folder with an
// images.list in which ferry runs.
type world struct {
	*testing.T
	stock
	dir            string
	source, target *distribution.Server
	targetRoot     string
	env            []string // for ferry, beside the usual
}

// newWorld starts the registries of a story with the demo's images. Roots are set here.
func newWorld(t *testing.T, source, target distribution.Options) *world {
	t.Helper()
	s, err := demoStock()
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOf(t, s, source, target)
}

// newWorldOf starts the registries of a story with images of its own.
func newWorldOf(t *testing.T, s stock, source, target distribution.Options) *world {
	t.Helper()
	w := &world{T: t, stock: s, dir: t.TempDir(), targetRoot: t.TempDir()}
	source.Root, target.Root = s.root, w.targetRoot
	w.source, w.target = startRegistry(t, source), startRegistry(t, target)
	w.write("images.list", corpus.List(w.source.Host(), w.images))
	return w
}

func startRegistry(t *testing.T, opts distribution.Options) *distribution.Server {
	t.Helper()
	s, err := distribution.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// path returns the path of a file in the folder of the story.
func (w *world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

func (w *world) write(name, content string) {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o644); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(name string) []byte {
	w.Helper()
	content, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// files returns the regular files under a folder, which need not be there, relative to it and with their sizes.
func (w *world) files(folder string) map[string]int64 {
	w.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(w.path(folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.path(folder), path)
		found[filepath.ToSlash(name)] = info.Size()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	return found
}

// login writes Docker's config.json with credentials for registries at these hosts.
func (w *world) login(user, password string, registries ...string) {
	w.Helper()
	auths := map[string]any{}
	for _, host := range registries {
		auths[host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
	}
	raw, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		w.Fatal(err)
	}
	w.write(".docker/config.json", string(raw))
}

// outcome is what came of a command.
type outcome struct {
	line           string
	code           int
	stdout, stderr string
}

// command prepares ferry in the folder of the story, which is its home as well.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, ferryBin, args...)
	cmd.Dir = w.dir
	cmd.Env = append([]string{
		"HOME=" + w.dir, "XDG_CACHE_HOME=" + w.path("cache"), "XDG_STATE_HOME=" + w.path("state"),
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(),
	}, w.env...)
	return cmd
}

// ferry runs a command to its end, whatever that is.
func (w *world) ferry(args ...string) outcome {
	w.Helper()
	cmd := w.command(w.Context(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.Fatal(err)
	}
	return outcome{
		line: "ferry " + strings.Join(args, " "), code: cmd.ProcessState.ExitCode(),
		stdout: stdout.String(), stderr: stderr.String(),
	}
}

// ok runs a command that is to succeed.
func (w *world) ok(args ...string) outcome {
	w.Helper()
	return w.expect(0, w.ferry(args...))
}

// expect ends the story unless a command ended with code and its standard error holds all texts.
func (w *world) expect(code int, got outcome, texts ...string) outcome {
	w.Helper()
	if got.code != code {
		w.Fatalf("%s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got.line, got.code, code, got.stdout, got.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(got.stderr, text) {
			w.Fatalf("%s: standard error does not say %q:\n%s", got.line, text, got.stderr)
		}
	}
	return got
}

// to returns the target as it stands on the command line.
func (w *world) to() string { return w.target.Host() + "/" + prefix }

// arrived ends the story unless the target holds the images, whole and equal, and nothing else.
func (w *world) arrived() {
	w.Helper()
	from, to := w.witness(w.root), w.witness(w.targetRoot)
	var expected []string
	for _, image := range w.images {
		reference := image.Tag
		if image.Pinned {
			reference = image.Root.Digest.String()
		}
		repository := prefix + "/" + image.Repository
		expected = append(expected, repository)
		got, err := compare.Image(w.Context(),
			compare.End{Registry: from, Repository: image.Repository, Reference: reference},
			compare.End{Registry: to, Repository: repository, Reference: reference})
		if err != nil {
			w.Errorf("%s: %v", repository, err)
		}
		if got.Root.Digest != image.Root.Digest {
			w.Errorf("%s: source has %s, want %s", repository, got.Root.Digest, image.Root.Digest)
		}
	}
	if extra, err := compare.Extra(w.Context(), to, expected); err != nil || len(extra) > 0 {
		w.Errorf("repositories that nobody asked for: %v, %v", extra, err)
	}
	if w.Failed() {
		w.FailNow()
	}
}

// witness opens the folder of a registry with a registry that asks for no credentials, counts apart and injects no
// faults.
func (w *world) witness(root string) wire.Registry {
	w.Helper()
	return wire.Registry{URL: startRegistry(w.T, distribution.Options{Root: root}).URL()}
}

// content returns all blobs of the images, manifests included, with their sizes.
func (w *world) content() (manifests, blobs map[digest.Digest]int64) {
	w.Helper()
	manifests, blobs = map[digest.Digest]int64{}, map[digest.Digest]int64{}
	var walk func(d ocispec.Descriptor)
	walk = func(d ocispec.Descriptor) {
		raw, err := os.ReadFile(w.layout.Path(d.Digest))
		if err != nil {
			w.Fatal(err)
		}
		manifests[d.Digest] = d.Size
		children, parts, err := wire.Children(raw)
		if err != nil {
			w.Fatal(err)
		}
		for _, b := range parts {
			blobs[b.Digest] = b.Size
		}
		for _, c := range children {
			walk(c)
		}
	}
	for _, image := range w.images {
		walk(image.Root)
	}
	return manifests, blobs
}
