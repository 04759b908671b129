package builders

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// requireTools skips a test whose tools are not all there. Where FERRY_REQUIRE_TOOLS is set, it fails.
func requireTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("FERRY_REQUIRE_TOOLS") != "" {
				t.Fatalf("%s is not installed", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

func newBench(t *testing.T, plain []byte) *bench {
	t.Helper()
	b := &bench{T: t, dir: t.TempDir(), tar: plain}
	b.write("layer.tar", plain)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name string, content []byte) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), content, 0o644); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) read(name string) []byte {
	b.Helper()
	content, err := os.ReadFile(b.path(name))
	if err != nil {
		b.Fatal(err)
	}
	return content
}

// run runs a program in the folder, with the tar as its standard input, and returns what it writes.
func (b *bench) run(name string, args ...string) []byte {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "HOME="+b.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b.tar), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.Bytes()
}

// layer returns the first layer of the only image of the OCI layout in a folder.
func (b *bench) layer(layout string) []byte {
	b.Helper()
	var index ocispec.Index
	b.json(layout+"/index.json", &index)
	var manifest ocispec.Manifest
	b.json(blobPath(layout, index.Manifests[0].Digest), &manifest)
	return b.read(blobPath(layout, manifest.Layers[0].Digest))
}

func blobPath(layout string, d digest.Digest) string {
	return layout + "/blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (b *bench) json(name string, to any) {
	b.Helper()
	if err := json.Unmarshal(b.read(name), to); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
}
