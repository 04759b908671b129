package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// tarOf returns a tar of headers, each followed by its content, a string.
func tarOf(t testing.TB, members ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		h, content := members[i].(tar.Header), members[i+1].(string)
		h.Size, h.Mode = int64(len(content)), 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func named(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}

// dockerTar returns a docker-archive of one image with a layer of which layer is the member, and its content.
func dockerTar(t testing.TB, diffID digest.Digest, layer string, more ...any) []byte {
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, diffID)
	list, err := json.Marshal([]map[string]any{{"Config": "config", "RepoTags": []string{"a/b:1"}, "Layers": []string{layer}}})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t, append([]any{named("config"), config, named("manifest.json"), string(list)}, more...)...)
}

// patched returns a tar with text at byte at of the header of a member, whose checksum fits.
func patched(raw []byte, member string, at int, text string) []byte {
	raw = bytes.Clone(raw)
	start := bytes.Index(raw, []byte(member+"\x00"))
	header := raw[start : start+512]
	copy(header[at:], text)
	copy(header[148:], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

func gzipOf(plain []byte) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // into memory
	_ = z.Close()
	return b.String()
}

func TestHostileArchives(t *testing.T) {
	const content = "not a tar, but a layer all the same"
	id := digest.FromString(content)
	layout := `{"imageLayoutVersion":"1.0.0"}`
	zipper, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := string(zipper.EncodeAll(make([]byte, 64<<20), nil))
	huge := patched(dockerTar(t, id, "layer", named("layer"), content), "layer", 124, "77777777777") // octal
	sparse := patched(tarOf(t, named("pax"), "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
		named("x"), "1\n0\n5\n"+strings.Repeat("\x00", 506)+"12345"), "pax", 156, "x")
	for _, c := range []struct {
		title string
		kind  local.Kind
		raw   []byte
		is    error
		want  string
	}{
		{"empty", local.DockerArchive, nil, local.ErrCorrupt, "an empty tar"},
		{"no tar", local.DockerArchive, bytes.Repeat([]byte("x"), 5000), local.ErrCorrupt, "no tar"},
		{"end alone", local.OCIArchive, make([]byte, 1024), local.ErrCorrupt, "an empty tar"},
		{"cut", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), strings.Repeat(content, 100))[:3000], local.ErrCorrupt, "goes past the end"},
		{"cut in a header", local.DockerArchive, dockerTar(t, id, "layer")[:1300], local.ErrCorrupt, "breaks off"},
		{"path that leads out", local.OCIArchive, tarOf(t, named("a/../../x"), ""), local.ErrCorrupt, "leads out"},
		{"absolute path", local.OCIArchive, tarOf(t, named("/etc/passwd"), ""), local.ErrCorrupt, "leads out"},
		{"member twice", local.OCIArchive, tarOf(t, named("oci-layout"), layout, named("./oci-layout"), layout), local.ErrCorrupt, "twice"},
		{"long name", local.OCIArchive, tarOf(t, named(strings.Repeat("x", 2000)), ""), local.ErrCorrupt, "2000 bytes"},
		{"size past the end", local.DockerArchive, huge, local.ErrCorrupt, "past the end"},
		{"sparse", local.OCIArchive, sparse, local.ErrCorrupt, "sparse"},
		{"no layout", local.OCIArchive, tarOf(t, named("x"), ""), fs.ErrNotExist, "oci-layout"},
		{"no manifest.json", local.DockerArchive, tarOf(t, named("x"), ""), fs.ErrNotExist, "manifest.json"},
		{"list that is none", local.DockerArchive, tarOf(t, named("manifest.json"), `{}`), local.ErrCorrupt, "not a JSON array"},
		{"link out", local.DockerArchive, dockerTar(t, id, "layer", link("layer", "../../etc/passwd"), ""), local.ErrCorrupt, "leads out"},
		{"absolute link", local.DockerArchive, dockerTar(t, id, "layer", link("layer", "/etc/passwd"), ""), local.ErrCorrupt, "leads out"},
		{"links in a circle", local.DockerArchive, dockerTar(t, id, "a", link("a", "b"), "", link("b", "a"), ""), local.ErrCorrupt, "circle"},
		{"link to itself", local.DockerArchive, dockerTar(t, id, "a", link("a", "a"), ""), local.ErrCorrupt, "circle"},
		{"link to nothing", local.DockerArchive, dockerTar(t, id, "a", link("a", "b"), ""), local.ErrCorrupt, "is not in the archive"},
		{"layer that leads out", local.DockerArchive, dockerTar(t, id, "../../etc/passwd"), local.ErrCorrupt, "leads out"},
		{"layer that is not there", local.DockerArchive, dockerTar(t, id, "layer"), local.ErrCorrupt, `layer "layer" is not in the archive`},
		{"layer that is a folder", local.DockerArchive, dockerTar(t, id, "layer", tar.Header{Name: "layer/", Typeflag: tar.TypeDir}, ""), local.ErrCorrupt, "is not in the archive"},
		{"gzip layer with another diff_id", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), gzipOf([]byte("other"))), local.ErrCorrupt, "the config says " + id.String()},
		{"gzip layer that is cut", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), gzipOf(ocitest.Random(1, 5000))[:3000]), local.ErrCorrupt, "unexpected EOF"},
		{"zstd layer that is none", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), "\x28\xb5\x2f\xfdrest"), local.ErrCorrupt, "layer"},
		{"xz layer", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), "\xfd7zXZ\x00rest"), oci.ErrUnsupported, "xz"},
		{"bomb", local.DockerArchive, dockerTar(t, id, "layer", named("layer"), bomb), local.ErrCorrupt, "more than 1100 plain bytes"},
		{"config without diff_ids", local.DockerArchive, tarOf(t, named("config"), `{"rootfs":{}}`, named("manifest.json"),
			`[{"Config":"config","Layers":["x"]}]`), local.ErrCorrupt, "1 layers, and its config"},
		{"config that is none", local.DockerArchive, tarOf(t, named("config"), `{`, named("manifest.json"), `[{"Config":"config"}]`), local.ErrCorrupt, "config"},
		{"large config", local.DockerArchive, tarOf(t, named("config"), strings.Repeat(" ", 5<<20), named("manifest.json"),
			`[{"Config":"config"}]`), local.ErrCorrupt, "at most 4194304"},
		{"name that is none", local.DockerArchive, tarOf(t, named("config"), `{"rootfs":{}}`, named("manifest.json"),
			`[{"Config":"config","RepoTags":["A//"]}]`), local.ErrCorrupt, "A//"},
		{
			"many layers", local.DockerArchive, tarOf(t, named("manifest.json"), `[`+strings.Repeat(`{"Layers":[`+strings.Repeat(`"",`, 999)+`""]},`, 201)+`{}]`),
			local.ErrCorrupt, "more than 200000 layers",
		},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, err := open(t, local.Source{Kind: c.kind, Path: "-"}, bytes.NewReader(c.raw), "")
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v: %q", err, c.is, c.want)
			}
		})
	}
}

// A layer that is not what the config says shows when it is read, and not before.
func TestLayersThatLie(t *testing.T) {
	id := digest.FromString("what the config says")
	raw := dockerTar(t, id, "layer", named("layer"), "what is there")
	images, err := open(t, local.Source{Kind: local.DockerArchive, Path: "-"}, bytes.NewReader(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	d := oci.Descriptor{Digest: id, Size: int64(len("what is there"))}
	r, err := images.Open(t.Context(), oci.Repository{}, d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(oci.Verify(r, d)); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}

func TestHostileFolders(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large:1")
	ocitest.WriteFolder(t, large, app)
	if err := os.WriteFile(filepath.Join(large, "manifest.json"), make([]byte, 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	lying := t.TempDir()
	ocitest.WriteFolder(t, filepath.Join(lying, "quay.io", "x@"+tool.Digest.String()), app)
	for _, c := range []struct {
		dir  string
		is   error
		want string
	}{
		{large, local.ErrCorrupt, "at most 4194304"},
		{lying, local.ErrCorrupt, "its manifest is " + app.Digest.String()},
		{t.TempDir(), fs.ErrNotExist, "no folder that skopeo has written an image into"},
	} {
		if _, err := open(t, local.Source{Kind: local.Folder, Path: c.dir}, nil, ""); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// FuzzArchivesNeverPanic holds too that what is selected has a full name, and a root that can be asked for.
func FuzzArchivesNeverPanic(f *testing.F) {
	for _, form := range []ocitest.DockerForm{ocitest.OldDocker, ocitest.Skopeo, ocitest.Crane} {
		f.Add(savedArchive(form))
	}
	f.Add(dockerTar(f, digest.FromString("x"), "a", link("a", "b"), "", named("b"), "x"))
	f.Add([]byte(gzipOf(savedArchive(ocitest.OldDocker))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, kind := range []local.Kind{local.DockerArchive, local.OCIArchive} {
			s := local.Source{Kind: kind, Path: "-"}
			images, err := s.Open(t.Context(), local.Options{Stdin: bytes.NewReader(raw), Spool: func() (string, error) { return t.TempDir(), nil }})
			if err != nil {
				continue
			}
			list, err := images.Select(s)
			for _, image := range list {
				if ref, perr := oci.ParseReference(image.Ref.String()); perr != nil || ref != image.Ref || err != nil {
					t.Errorf("image %v, %v, %v", image, perr, err)
				}
				if !images.Has(image.Root) {
					continue
				}
				r, err := images.Open(t.Context(), oci.Repository{}, image.Root, 0)
				if err != nil {
					t.Fatal(err)
				}
				if raw, err := io.ReadAll(r); err != nil || int64(len(raw)) != image.Root.Size {
					t.Errorf("root of %d bytes, %v", len(raw), err)
				}
				_ = r.Close()
			}
			if err := images.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
