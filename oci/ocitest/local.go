package ocitest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Saved is an image of one platform, with the names under which it is saved; none is null.
type Saved struct {
	*Graph
	Names []string
}

// DockerForm is a form of docker-archives, by who writes it.
type DockerForm string

const (
	OldDocker DockerForm = "old"    // docker save before 25: a folder for each layer, links to shared ones
	Skopeo    DockerForm = "skopeo" // skopeo and Podman: HEX.tar
	Crane     DockerForm = "crane"  // crane and others: HEX.tar.gz
)

// DockerSave writes a docker-archive.
func DockerSave(w io.Writer, form DockerForm, images ...Saved) {
	tw := tar.NewWriter(w)
	put := func(name string, raw []byte) {
		must(tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(raw)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}))
		_, err := tw.Write(raw)
		must(err)
	}
	type entry struct {
		Config           string
		RepoTags, Layers []string
	}
	var list []entry
	written := map[string]string{} // what there is, by content
	once := func(name string, key digest.Digest, raw func() []byte) {
		switch first, ok := written[string(key)]; {
		case !ok:
			written[string(key)] = name
			put(name, raw())
		case first != name:
			must(tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: "../" + first, Format: tar.FormatUSTAR}))
		}
	}
	for _, image := range images {
		config := image.Blobs[0]
		e := entry{Config: config.Digest.Encoded() + ".json", RepoTags: image.Names}
		if form == Crane {
			e.Config = config.Digest.String()
		}
		for _, l := range image.Blobs[1:] {
			name := l.DiffID.Encoded() + ".tar"
			content := func() []byte { return gunzip(l.Bytes) }
			key := l.DiffID
			switch form {
			case OldDocker:
				id := digest.FromString(config.Digest.String() + l.DiffID.String()).Encoded()
				put(id+"/VERSION", []byte("1.0"))
				name = id + "/layer.tar"
			case Crane:
				name, key, content = l.Digest.Encoded()+".tar.gz", l.Digest, func() []byte { return l.Bytes }
			}
			once(name, key, content)
			e.Layers = append(e.Layers, name)
		}
		once(e.Config, config.Digest, func() []byte { return config.Bytes })
		list = append(list, e)
	}
	put("manifest.json", marshal(list))
	must(tw.Close())
}

func gunzip(raw []byte) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	must(err)
	plain, err := io.ReadAll(zr)
	must(err)
	return plain
}

// WriteFolder puts an image into a folder as `skopeo copy --all` to dir does.
func WriteFolder(tb testing.TB, dir string, g *Graph) {
	tb.Helper()
	files := map[string][]byte{"manifest.json": g.Bytes, "version": []byte("Directory Transport Version: 1.1\n")}
	for _, b := range g.All() {
		switch {
		case b.Digest == g.Digest:
		case oci.IsManifest(b.MediaType):
			files[b.Digest.Encoded()+".manifest.json"] = b.Bytes
		default:
			files[b.Digest.Encoded()] = b.Bytes
		}
	}
	writeFiles(tb, dir, files)
}

// WriteLayout writes an image layout; names of graphs become both annotations. A name without a slash becomes that of the
// specification alone, as a tag, and an empty one none.
func WriteLayout(tb testing.TB, dir string, images ...Saved) {
	tb.Helper()
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	var entries []oci.Descriptor
	for _, image := range images {
		for _, b := range image.All() {
			files["blobs/sha256/"+b.Digest.Encoded()] = b.Bytes
		}
		for _, name := range image.Names {
			d := image.Descriptor
			if name != "" {
				d.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
			}
			if strings.Contains(name, "/") {
				d.Annotations["io.containerd.image.name"] = name
			}
			entries = append(entries, d)
		}
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": entries})
	must(err)
	files["index.json"] = raw
	writeFiles(tb, dir, files)
}

func writeFiles(tb testing.TB, dir string, files map[string][]byte) {
	tb.Helper()
	for name, raw := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}
