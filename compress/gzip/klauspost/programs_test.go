package klauspost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The programs of a distribution make layers with a version of their own, which may be another one than Debian's at the time
// of this test: skopeo 1.9.3 and umoci 0.4.7.

const gzipHead, gzipTail = 10, 8 // bytes of a gzip file around the stream, without a name

func TestLayerOfSkopeo(t *testing.T) {
	needProgram(t, "skopeo")
	for _, plain := range [][]byte{generated(10, 3<<20), generated(11, 2500000), generated(12, 5000)} {
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		check(t, os.Mkdir(src, 0o777))
		layer := writeBlob(t, src, plain)
		config := writeBlob(t, src, fmt.Appendf(nil,
			`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, layer))
		manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
			`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},`+
			`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}`,
			config, fileSize(t, filepath.Join(src, config)), layer, len(plain))
		check(t, os.WriteFile(filepath.Join(src, "manifest.json"), manifest, 0o666))
		check(t, os.WriteFile(filepath.Join(src, "version"), []byte("Directory Transport Version: 1.1\n"), 0o666))
		run(t, dir, "skopeo", "copy", "--insecure-policy", "--dest-compress", "dir:src", "dir:dst")
		compareLayer(t, readLayer(t, filepath.Join(dst, "manifest.json"), dst), plain, DefaultChunk)
	}
}

func TestLayerOfUmoci(t *testing.T) {
	needProgram(t, "umoci")
	plain := generated(13, 1500000)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "layer"), plain, 0o666))
	run(t, dir, "umoci", "init", "--layout", "image")
	run(t, dir, "umoci", "new", "--image", "image:latest")
	run(t, dir, "umoci", "raw", "add-layer", "--image", "image:latest", "layer")

	var index struct{ Manifests []struct{ Digest string } }
	blobs := filepath.Join(dir, "image", "blobs", "sha256")
	readJSON(t, filepath.Join(dir, "image", "index.json"), &index)
	manifest := filepath.Join(blobs, index.Manifests[0].Digest[len("sha256:"):])
	compareLayer(t, readLayer(t, manifest, blobs), plain, UmociChunk)
}

// compareLayer compares a gzip file with what the encoder makes of its plain bytes.
func compareLayer(t *testing.T, file, plain []byte, chunk int) {
	t.Helper()
	want := file[gzipHead : len(file)-gzipTail]
	if got := newEncoded(t, V1_15, DefaultLevel, chunk).encode(t, plain); !bytes.Equal(got, want) {
		t.Errorf("layer of %d bytes: %s", len(plain), firstDifference(got, want))
	}
}

func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
}

// writeBlob writes p into dir under the name of its digest, which it returns.
func writeBlob(t *testing.T, dir string, p []byte) string {
	t.Helper()
	sum := sha256.Sum256(p)
	name := hex.EncodeToString(sum[:])
	check(t, os.WriteFile(filepath.Join(dir, name), p, 0o666))
	return name
}

func fileSize(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	check(t, err)
	return info.Size()
}

// readLayer returns the first layer of the manifest that has its blobs in dir.
func readLayer(t *testing.T, manifest, dir string) []byte {
	t.Helper()
	var m struct{ Layers []struct{ Digest string } }
	readJSON(t, manifest, &m)
	p, err := os.ReadFile(filepath.Join(dir, m.Layers[0].Digest[len("sha256:"):]))
	check(t, err)
	return p
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	p, err := os.ReadFile(name)
	check(t, err)
	check(t, json.Unmarshal(p, v))
}
