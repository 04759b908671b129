package bundle

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/compress/gzip/golang"
	"github.com/ferry-oci/ferry/oci"
)

// zip returns a gzip layer as Go 1.8 to 1.26 write it: the same bytes with every version of Go.
func (f *fixture) zip(plain []byte, level int) oci.Descriptor {
	f.t.Helper()
	b := bytes.NewBuffer([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	w := deflate.NewWriter(b)
	e, err := golang.New(level, w.WriteBlock)
	if err != nil {
		f.t.Fatal(err)
	}
	e.Reset(nil)
	if err := errors.Join(e.Write(plain), e.Close(), w.Close(0)); err != nil {
		f.t.Fatal(err)
	}
	raw := binary.LittleEndian.AppendUint32(b.Bytes(), crc32.ChecksumIEEE(plain))
	return f.add(ocispec.MediaTypeImageLayerGzip, binary.LittleEndian.AppendUint32(raw, uint32(len(plain))))
}

// text returns size bytes that shrink, other ones for each word.
func text(word string, size int) []byte {
	var b bytes.Buffer
	for n := uint64(len(word)); b.Len() < size; n = n*6364136223846793005 + 1442695040888963407 {
		b.WriteString(word[int(n>>60)%len(word):])
		b.WriteByte(byte('a' + n>>59))
	}
	return b.Bytes()[:size]
}

// gunzip returns the plain bytes of a gzip layer, or those of any other as they are.
func (f *fixture) gunzip(d oci.Descriptor) []byte {
	r, err := stdgzip.NewReader(bytes.NewReader(f.blobs[d.Digest]))
	if err != nil {
		return f.blobs[d.Digest]
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return f.blobs[d.Digest]
	}
	return plain
}

// diffIDs returns what the config of an image says of its layers.
func (f *fixture) diffIDs(layers ...oci.Descriptor) []digest.Digest {
	var ids []digest.Digest
	for _, d := range layers {
		ids = append(ids, digest.FromBytes(f.gunzip(d)))
	}
	return ids
}

// imageWith returns an OCI image whose config has these diff_ids.
func (f *fixture) imageWith(ids []digest.Digest, layers ...oci.Descriptor) oci.Descriptor {
	config := f.addJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: amd64, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: ids},
	})
	return f.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers,
	})
}

// plainImage returns an image that tells the truth of its layers.
func (f *fixture) plainImage(layers ...oci.Descriptor) oci.Descriptor {
	return f.imageWith(f.diffIDs(layers...), layers...)
}

// typed returns the descriptor d with another media type.
func typed(d oci.Descriptor, mediaType string) oci.Descriptor {
	d.MediaType = mediaType
	return d
}

// compact makes the bundle a compact one, with recipes for what is gzip.
func (f *fixture) compact() *fixture {
	c := &Compact{Recipes: map[digest.Digest]*gzip.Recipe{}, Kept: map[digest.Digest]string{}, Configs: map[digest.Digest][]byte{}}
	f.contents.Compact = c
	_, configs, layers := oci.Blobs(rootsOf(f.contents.Images)...)
	for _, d := range configs {
		c.Configs[d.Digest] = f.blobs[d.Digest]
	}
	for _, d := range layers {
		r, err := gzip.Find(f.t.Context(), bytes.NewReader(f.blobs[d.Digest]), io.Discard, gzip.FindOptions{})
		var none *gzip.NoRecipeError
		switch {
		case err == nil:
			c.Recipes[d.Digest] = r
		case errors.As(err, &none):
			c.Kept[d.Digest] = string(none.Reason)
		default:
			f.t.Fatal(err)
		}
	}
	return f
}

// open gives what WriteAll asks for.
func (f *fixture) open(w *Writer) OpenFunc {
	return func(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
		layer, ok := w.GzipOf(d.Digest)
		if !ok {
			return io.NopCloser(bytes.NewReader(f.blobs[d.Digest])), nil
		}
		r, err := stdgzip.NewReader(bytes.NewReader(f.blobs[layer.Digest]))
		return io.NopCloser(ctxReader{ctx, r}), err
	}
}

// ctxReader ends with ctx, as readers of files and networks do.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// writeAll writes the bundle.
func (f *fixture) writeAll(o compress.WriterOptions) []byte {
	f.t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, f.contents, o)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := errors.Join(w.WriteAll(f.t.Context(), f.open(w)), w.Close()); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

const (
	dockerForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	encrypted     = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
	chart         = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// ungzipWant is what becomes of layers: those that are recreated, and why others are kept.
type ungzipWant struct {
	recreated []oci.Descriptor
	kept      map[digest.Digest]string
	twins     int
}

func TestUngzip(t *testing.T) {
	one := func(d oci.Descriptor, reason string) map[digest.Digest]string {
		return map[digest.Digest]string{d.Digest: reason}
	}
	for name, build := range map[string]func(f *fixture) ungzipWant{
		"an image": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("b", 9000), 9)
			f.image("a/a:1", f.plainImage(a, b))
			return ungzipWant{recreated: []oci.Descriptor{a, b}, twins: 1}
		},
		"one layer twice": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a, a))
			return ungzipWant{recreated: []oci.Descriptor{a}, twins: 1}
		},
		"the empty layer": func(f *fixture) ungzipWant {
			a := f.zip(make([]byte, 1024), 6)
			f.image("a/a:1", f.plainImage(a))
			return ungzipWant{recreated: []oci.Descriptor{a}, twins: 1}
		},
		"a layer of nothing": func(f *fixture) ungzipWant {
			a := f.zip(nil, 6)
			f.image("a/a:1", f.plainImage(a))
			return ungzipWant{kept: one(a, "empty")}
		},
		"nested indexes": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("b", 9000), 1)
			inner := f.index(f.plainImage(a))
			f.image("a/a:1", f.index(inner, f.plainImage(b), f.plainImage(f.add(ocispec.MediaTypeImageLayer, text("c", 900)))))
			return ungzipWant{recreated: []oci.Descriptor{a, b}, twins: 4}
		},
		"docker's": func(f *fixture) ungzipWant {
			a := typed(f.zip(text("a", 9000), 6), dockerLayerGzip)
			config := f.addJSON(oci.MediaTypeDockerConfig, ocispec.Image{RootFS: ocispec.RootFS{DiffIDs: f.diffIDs(a)}})
			manifest := f.addJSON(oci.MediaTypeDockerManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeDockerManifest, Config: config, Layers: []oci.Descriptor{a},
			})
			f.image("a/a:1", f.addJSON(oci.MediaTypeDockerList, ocispec.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeDockerList, Manifests: []oci.Descriptor{manifest},
			}))
			return ungzipWant{recreated: []oci.Descriptor{a}, twins: 2}
		},
		"an artifact without diff_ids": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, Config: f.addJSON("application/vnd.x+json", "x"), Layers: []oci.Descriptor{a},
			}))
			return ungzipWant{kept: one(a, `no diff_ids: config of manifest `)}
		},
		"a chart": func(f *fixture) ungzipWant {
			a := typed(f.zip(text("a", 9000), 6), chart)
			f.image("a/a:1", f.plainImage(a))
			return ungzipWant{kept: one(a, "media type: ")}
		},
		"another diff_id": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("b", 9000), 6)
			f.image("a/a:1", f.imageWith(f.diffIDs(b, b), a, b))
			return ungzipWant{recreated: []oci.Descriptor{b}, kept: one(a, "another diff_id: "), twins: 1}
		},
		"a diff_id too few": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("b", 9000), 6)
			f.image("a/a:1", f.imageWith(f.diffIDs(a), a, b))
			const reason = "another diff_id: "
			return ungzipWant{kept: map[digest.Digest]string{a.Digest: reason, b.Digest: reason}}
		},
		"another diff_id in one of two images": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.imageWith([]digest.Digest{a.Digest}, a))
			return ungzipWant{kept: one(a, "another diff_id: ")}
		},
		"equal content": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("a", 9000), 1)
			f.image("a/a:1", f.plainImage(b))
			f.image("b/b:1", f.plainImage(a))
			return ungzipWant{recreated: []oci.Descriptor{b}, kept: one(a, "same content: as "+b.Digest.String()), twins: 1}
		},
		"equal to a plain layer elsewhere": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.plainImage(f.add(ocispec.MediaTypeImageLayer, text("a", 9000))))
			return ungzipWant{kept: one(a, "same content: as a blob")}
		},
		"the image and its twin": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.plainImage(f.add(ocispec.MediaTypeImageLayer, f.gunzip(a))))
			return ungzipWant{kept: one(a, "same content: as a blob")}
		},
		"the content is a twin": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.compact()
			l, err := newLayout(f.contents)
			if err != nil {
				f.t.Fatal(err)
			}
			twin, _ := l.head.Twin(l.head.Images[0].Manifests[0])
			b := f.zip(l.own(twin), 6)
			f.image("b/b:1", f.plainImage(b))
			return ungzipWant{recreated: []oci.Descriptor{a}, kept: one(b, "same content: as the plain twin"), twins: 1}
		},
		"foreign": func(f *fixture) ungzipWant {
			a, b := typed(f.zip(text("a", 9000), 6), dockerForeign), f.zip(text("b", 9000), 6)
			b.URLs = []string{"https://example.com/b"}
			f.image("a/a:1", f.plainImage(a, b))
			return ungzipWant{kept: map[digest.Digest]string{a.Digest: "foreign layer", b.Digest: "foreign layer"}}
		},
		"foreign, and not looked at": func(f *fixture) ungzipWant {
			a := typed(f.layer(1, 300), dockerForeign)
			f.image("a/a:1", f.plainImage(a))
			return ungzipWant{kept: one(a, "foreign layer")}
		},
		"zstd, encrypted and plain ones": func(f *fixture) ungzipWant {
			zstd := f.add(ocispec.MediaTypeImageLayerZstd, []byte("\x28\xb5\x2f\xfd of zstd"))
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a, zstd, f.add(encrypted, text("x", 900)), f.add(ocispec.MediaTypeImageLayer, text("p", 900))))
			return ungzipWant{recreated: []oci.Descriptor{a}, twins: 1}
		},
		"no recipe": func(f *fixture) ungzipWant {
			a, b := f.layer(1, 300), f.zip(text("b", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.plainImage(b))
			return ungzipWant{recreated: []oci.Descriptor{b}, kept: one(a, "damaged gzip"), twins: 1}
		},
		"another size in a manifest": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			a.Size++
			f.image("b/b:1", f.plainImage(a))
			return ungzipWant{kept: one(a, "another size: ")}
		},
		"named without gzip, too": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.plainImage(typed(a, ocispec.MediaTypeImageLayer)))
			return ungzipWant{kept: one(a, "media type: ")}
		},
		"of a referrer": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.plainImage(a))
			f.image("b/b:1", f.plainImage(a, a))
			images := f.contents.Images
			root := images[1].Root
			f.contents.Images = images[:1]
			images[0].Referrers = []oci.Referrer{{Subject: images[0].Root.Digest, Root: root, Found: oci.FoundByAPI}}
			return ungzipWant{kept: one(a, "of a referrer")}
		},
		"beside the manifests of an index": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			f.image("a/a:1", f.index(f.plainImage(a), a))
			return ungzipWant{kept: one(a, "used otherwise: an index")}
		},
		"a manifest that cannot be rewritten": func(f *fixture) ungzipWant {
			a, b := f.zip(text("a", 9000), 6), f.zip(text("b", 9000), 6)
			raw := string(f.blobs[f.plainImage(a).Digest])
			raw = strings.Replace(raw, `"layers":[{`, `"layers":[{"x":1,"x":2,`, 1)
			f.image("a/a:1", f.index(f.add(ocispec.MediaTypeImageManifest, []byte(raw))))
			f.image("b/b:1", f.plainImage(b))
			return ungzipWant{recreated: []oci.Descriptor{b}, kept: one(a, "no plain twin: "), twins: 1}
		},
		"a manifest as large as can be": func(f *fixture) ungzipWant {
			a := f.zip(text("a", 9000), 6)
			raw := f.blobs[f.plainImage(a).Digest]
			odd := strings.Repeat("\u2028", (oci.MaxManifestSize-len(raw)-6)/3) // a key that is longer when it is written anew
			f.image("a/a:1", f.add(ocispec.MediaTypeImageManifest, append(raw[:len(raw)-1:len(raw)-1], `,"`+odd+`":1}`...)))
			return ungzipWant{kept: one(a, "no plain twin: ")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			want := build(f)
			f.compact()
			l, err := newLayout(f.contents)
			if err != nil {
				t.Fatal(err)
			}
			checkUngzipped(t, l.head, want)
			checkPlainLayout(t, f, l)
		})
	}
}

// checkUngzipped compares what the head says of layers.
func checkUngzipped(t *testing.T, h *Head, want ungzipWant) {
	t.Helper()
	var got []digest.Digest
	for _, r := range h.Recreated {
		got = append(got, r.Digest)
		if h.Members[r.Plain].MediaType != plainType(r.MediaType) || r.Engine == "" {
			t.Errorf("%+v of %+v", r, h.Members[r.Plain])
		}
	}
	var recreated []digest.Digest
	for _, d := range want.recreated {
		recreated = append(recreated, d.Digest)
	}
	if !slices.Equal(got, recreated) {
		t.Errorf("recreated: %v, want %v", got, recreated)
	}
	kept := map[digest.Digest]string{}
	for _, k := range h.Kept {
		kept[h.Members[k.Blob].Digest] = k.Reason
	}
	for d, reason := range want.kept {
		if !strings.HasPrefix(kept[d], reason) {
			t.Errorf("%s is kept: %q, want %q", d, kept[d], reason)
		}
	}
	if len(kept) != len(want.kept) {
		t.Errorf("kept: %v, want %v", kept, want.kept)
	}
	twins := map[int]bool{}
	for _, img := range h.Images {
		for _, m := range img.Manifests {
			if m.Plain != nil {
				twins[*m.Plain] = true
			}
		}
	}
	if len(twins) != want.twins {
		t.Errorf("%d plain twins, want %d", len(twins), want.twins)
	}
}

// checkPlainLayout proves that the tar is an OCI layout for other tools: what index.json names has all that it needs among the
// members, its layers have the digests that its configs say wherever they are plain, and the originals have the same configs.
func checkPlainLayout(t *testing.T, f *fixture, l *layout) {
	t.Helper()
	h := l.head
	members := map[digest.Digest]int64{}
	for _, m := range h.Members {
		members[m.Digest] = m.Size
	}
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) {
		if raw := l.own(d); raw != nil {
			return raw, nil
		}
		return f.blobs[d.Digest], nil
	}
	raw, err := encodeIndex(h)
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	for i, d := range index.Manifests {
		twin, err := oci.LoadGraph(t.Context(), fetch, d)
		if err != nil {
			t.Fatal(err)
		}
		original, err := oci.LoadGraph(t.Context(), fetch, h.Images[i].Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range twin.Blobs() {
			if size, ok := members[d.Digest]; !ok || size != d.Size && len(h.Recreated) > 0 {
				t.Errorf("%s of %d bytes is named and has %d in the tar", d.Digest, d.Size, size)
			}
		}
		checkTwin(t, f, original, twin)
	}
}

// checkTwin compares a manifest with its twin, and what is below them.
func checkTwin(t *testing.T, f *fixture, original, twin *oci.Node) {
	t.Helper()
	if len(original.Children) != len(twin.Children) || original.MediaType != twin.MediaType {
		t.Fatalf("%s\n%s", original.Raw, twin.Raw)
	}
	for i := range original.Children {
		checkTwin(t, f, original.Children[i], twin.Children[i])
	}
	if original.Manifest.IsIndex() {
		return
	}
	if original.Manifest.Config.Digest != twin.Manifest.Config.Digest {
		t.Errorf("config %s has become %s", original.Manifest.Config.Digest, twin.Manifest.Config.Digest)
	}
	ids, _ := oci.ParseDiffIDs(f.blobs[twin.Manifest.Config.Digest])
	for i, d := range twin.Manifest.Layers {
		was := original.Manifest.Layers[i]
		if d.Digest != was.Digest && (d.Digest != ids[i] || d.MediaType != plainType(was.MediaType)) {
			t.Errorf("layer %d: %s %s, the config says %s", i, d.MediaType, d.Digest, ids[i])
		}
	}
}

// TestTwinBytes holds the twin to what it keeps, and to its bytes for ever.
func TestTwinBytes(t *testing.T) {
	f := newFixture(t)
	a, b := f.zip(text("a", 9000), 6), f.add(ocispec.MediaTypeImageLayer, text("b", 900))
	config := f.addJSON(ocispec.MediaTypeImageConfig, ocispec.Image{RootFS: ocispec.RootFS{DiffIDs: f.diffIDs(a, b)}})
	entry := func(d oci.Descriptor, more string) string {
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(raw), "}") + more + "}"
	}
	image := f.add(ocispec.MediaTypeImageManifest, []byte(`{ "schemaVersion": 2, "subject": `+entry(b, "")+`, "config": `+entry(config, `, "y": 1.50`)+`,
		"layers": [`+entry(a, `,"data":"AAAA","annotations":{"z":"<b>","containerd.io/snapshot/stargz/toc.digest":"sha256:x","a":"é"},"x":1E2`)+`, `+entry(b, `,"b":2,"a":[1, 2]`)+`],
		"annotations": {"k": "\u003cv\u003e"}, "artifactType": "t/t", "unknown": {"b": 1, "a": 2} }`))
	attestation := f.imageWith(nil, f.add("application/vnd.in-toto+json", []byte("{}")))
	about := func(d digest.Digest) string {
		return `,"annotations":{"vnd.docker.reference.digest":"` + string(d) + `","vnd.docker.reference.type":"attestation-manifest"},"platform":{"architecture":"unknown","os":"unknown"}`
	}
	other := f.imageWith(f.diffIDs(b), b)
	f.image("a/a:1", f.add(ocispec.MediaTypeImageIndex, []byte(`{"manifests": [`+entry(image, `,"platform":{"os":"linux", "architecture":"amd64"},"data":"e30="`)+
		`, `+entry(attestation, about(image.Digest))+`,`+entry(other, "")+`,`+entry(f.imageWith(nil), about(other.Digest))+`], "schemaVersion": 2}`)))
	f.compact()
	l, err := newLayout(f.contents)
	if err != nil {
		t.Fatal(err)
	}
	h := l.head
	checkPlainLayout(t, f, l)
	manifests := h.Images[0].Manifests
	twin, _ := h.Twin(manifests[0])
	root, _ := h.Twin(manifests[len(manifests)-1])
	plain := h.Members[h.Recreated[0].Plain].Descriptor()

	want := `{"annotations":{"k":"\u003cv\u003e"},"artifactType":"t/t","config":` + entry(config, `,"y":1.50`) + `,"layers":[{"annotations":{"a":"é","z":"<b>"},` +
		`"digest":"` + string(plain.Digest) + `","mediaType":"application/vnd.oci.image.layer.v1.tar","size":9000,"x":1E2},` + entry(b, `,"b":2,"a":[1,2]`) + `],` +
		`"schemaVersion":2,"subject":` + entry(b, "") + `,"unknown":{"b":1,"a":2}}`
	if got := string(l.own(twin)); got != want {
		t.Errorf("twin:\n%s\nwant:\n%s", got, want)
	}
	attested := func(d oci.Descriptor, about digest.Digest) string {
		return `{"annotations":{"vnd.docker.reference.digest":"` + string(about) + `","vnd.docker.reference.type":"attestation-manifest"},"digest":"` +
			string(d.Digest) + `","mediaType":"` + d.MediaType + `","platform":{"architecture":"unknown","os":"unknown"},"size":` + number(d.Size) + `}`
	}
	want = `{"manifests":[{"digest":"` + string(twin.Digest) + `","mediaType":"` + twin.MediaType + `","platform":{"os":"linux","architecture":"amd64"},"size":` +
		number(twin.Size) + `},` + attested(attestation, twin.Digest) + `,` + entry(other, "") + `,` + entry(f.imageWith(nil), about(other.Digest)) +
		`],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}`
	if got := string(l.own(root)); got != want {
		t.Errorf("twin of the index:\n%s\nwant:\n%s", got, want)
	}
	rewriter := h.twins() // what a reader makes of the same
	for i, n := range []oci.Descriptor{twin, root} {
		got, err := rewriter.Rewrite([]*oci.Node{f.contents.Images[0].Root.Children[0], f.contents.Images[0].Root}[i])
		if err != nil || got.Digest != n.Digest {
			t.Errorf("made again: %v, %v", got, err)
		}
	}
}

func number(n int64) string {
	raw, _ := json.Marshal(n)
	return string(raw)
}

func TestCompactOrder(t *testing.T) {
	f := newFixture(t)
	names := map[digest.Digest]string{}
	layer := func(name string) oci.Descriptor {
		d := f.zip(text(name, 3000), 6)
		names[digest.FromBytes(text(name, 3000))] = name
		names[d.Digest] = name
		return d
	}
	image := func(p oci.Platform, layers ...oci.Descriptor) oci.Descriptor {
		d := f.plainImage(layers...)
		d.Platform = &p
		return d
	}
	kept := func(name string) oci.Descriptor {
		d := f.add(ocispec.MediaTypeImageLayerZstd, []byte("\x28\xb5\x2f\xfd"+name))
		names[d.Digest] = name
		return d
	}
	base, old := layer("base"), layer("base of 1.9")
	f.image("b/b:1.10", f.index(image(amd64, base, layer("1.10 amd64")), image(arm64, layer("arm base"), layer("1.10 arm64"))))
	f.image("b/b:1.9", f.index(image(amd64, old, layer("1.9 amd64"), layer("1.9 top")), image(arm64, layer("arm base 1.9"), kept("zstd 1.9"))))
	f.image("b/a:2", image(amd64, base, kept("zstd 2")))
	f.image("b/c:1", image(amd64, kept("zstd 1"), layer("c")))
	f.contents.Images[0].Root, f.contents.Images[3].Root = f.contents.Images[3].Root, f.contents.Images[0].Root
	f.contents.Images[0].Name, f.contents.Images[3].Name = f.contents.Images[3].Name, f.contents.Images[0].Name
	f.compact()
	l, err := newLayout(f.contents)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range l.head.Members {
		if name := names[m.Digest]; name != "" {
			got = append(got, name)
		}
	}
	want := []string{
		"base",
		"base of 1.9", "arm base 1.9", "arm base", "1.9 amd64", "1.10 amd64", "1.10 arm64", "1.9 top",
		"c",
		"zstd 2", "zstd 1.9", "zstd 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("order\n%q, want\n%q", got, want)
	}
	var edges []string
	for _, at := range l.long.edges {
		edges = append(edges, names[l.head.Members[at].Digest])
	}
	if !slices.Equal(edges, []string{"base", "base of 1.9", "c"}) || l.long.to-l.long.from != 9 {
		t.Errorf("edges %q of %+v", edges, l.long)
	}
	kinds := ""
	for _, m := range l.head.Members {
		kinds += map[bool]string{true: "m", false: map[string]string{RecipeMediaType: "r", ocispec.MediaTypeImageConfig: "c"}[m.MediaType]}[oci.IsManifest(m.MediaType)]
	}
	if compacted := string(slices.Compact([]byte(kinds))); compacted != "mrc" {
		t.Errorf("kinds of members: %s", kinds)
	}
}

func TestCompareNatural(t *testing.T) {
	sorted := []string{"", ":1", ":1-a", ":1.2", ":1.9", ":1.9.1", ":1.010", ":1.10", ":1.10a", ":2", ":99999999999999999999998", ":99999999999999999999999", ":a", ":a1", ":b"}
	for i, a := range sorted {
		for j, b := range sorted {
			want := map[bool]int{true: -1}[i < j] + map[bool]int{true: 1}[i > j]
			if got := compareNatural(a, b); got != want {
				t.Errorf("%q, %q: %d, want %d", a, b, got, want)
			}
		}
	}
}
