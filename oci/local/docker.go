package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// manifestName is the member of a docker-archive that lists the images, and the file of a folder of skopeo's with the manifest.
const manifestName = "manifest.json"

const (
	maxDockerManifest = 64 << 20 // bytes of manifest.json
	maxDockerImages   = 100_000
	maxDockerLayers   = 1_000 // of an image; Docker itself takes 127
	maxAllLayers      = 200_000
	// maxRatio is how many plain bytes a byte of a compressed layer may have: gzip cannot have more than 1032.
	maxRatio = 1_100
)

// readDocker returns the images of a docker-archive as a layout, which goes by name in messages. Known are the old form of docker
// save (a folder for each layer, links to layers that images share), that of skopeo, Podman and crane, and the new one, which
// is an image layout, too.
//
// A docker-archive has no digests of manifests, so each image gets a manifest of its config and its layers, always the same
// for the same ones, with OCI's media types. The config keeps its bytes, so the image id stays. Layers keep their bytes, too:
// one that is not compressed is named by its diff_id; one that is, gzip or zstd, is read here, and has to be what the
// config's diff_ids say. Where the archive has the very manifest of that config and these layers as a blob, as the new form
// does, that one is taken, and the image keeps its digest.
//
// An image has an entry for each of its RepoTags; one without RepoTags has an entry without a name.
//
// Errors: [ErrCorrupt]; [oci.ErrUnsupported] for layers that are compressed in another way; an archive without manifest.json
// is [fs.ErrNotExist].
func readDocker(ctx context.Context, files *tarFiles, name string) (*oci.Layout, error) {
	d := &dockerReader{files: files, blobs: newCollection(files), layers: map[int64]dockerLayer{}}
	images, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return oci.NewLayout(d.blobs, name, images), nil
}

// dockerReader makes a layout of a docker-archive.
type dockerReader struct {
	files  *tarFiles
	blobs  *collection
	known  map[digest.Digest]oci.Descriptor // manifests that the archive has, by their config
	layers map[int64]dockerLayer            // by where they begin in the tar
}

// dockerLayer is a layer in the archive.
type dockerLayer struct {
	oci.Descriptor               // without digest while it is not compressed, for then its diff_id is that
	diffID         digest.Digest // of one that is compressed
}

// dockerImage is an entry of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (d *dockerReader) read(ctx context.Context) ([]oci.LayoutImage, error) {
	list, err := d.manifest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	d.findManifests(ctx)
	var images []oci.LayoutImage
	for i, entry := range list {
		root, err := d.image(ctx, entry)
		if err != nil {
			return nil, fmt.Errorf("image %d of %s: %w", i, manifestName, err)
		}
		if len(entry.RepoTags) == 0 {
			images = append(images, oci.LayoutImage{Root: root})
		}
		for _, tag := range entry.RepoTags {
			ref, err := oci.ParseReference(tag)
			if err != nil {
				return nil, corruptf("image %d of %s: %v", i, manifestName, err)
			}
			images = append(images, oci.LayoutImage{Root: root, Name: tag, Ref: ref})
		}
	}
	return images, nil
}

// manifest reads manifest.json, entry by entry.
func (d *dockerReader) manifest() (list []dockerImage, err error) {
	raw, err := d.small(manifestName, maxDockerManifest)
	if err != nil {
		return nil, err
	}
	layers := 0
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, corruptf("not a JSON array")
	}
	for dec.More() {
		var image dockerImage
		if err := dec.Decode(&image); err != nil {
			return nil, corruptf("entry %d: %v", len(list), err)
		}
		if len(list) == maxDockerImages || len(image.Layers) > maxDockerLayers {
			return nil, corruptf("more than %d images, or an image of more than %d layers", maxDockerImages, maxDockerLayers)
		}
		if layers += len(image.Layers); layers > maxAllLayers {
			return nil, corruptf("more than %d layers in all", maxAllLayers)
		}
		list = append(list, image)
	}
	if _, err := dec.Token(); err != nil {
		return nil, corruptf("%v", err)
	}
	return list, nil
}

// small returns the content of a member of at most limit bytes.
func (d *dockerReader) small(name string, limit int64) ([]byte, error) {
	name, err := memberName(name)
	if err != nil {
		return nil, err
	}
	m, err := d.files.lookup(name)
	if err != nil {
		return nil, err
	}
	if m.size > limit {
		return nil, corruptf("%.100q has %d bytes, at most %d are read", name, m.size, limit)
	}
	raw := make([]byte, m.size)
	_, err = io.ReadFull(io.NewSectionReader(d.files.r, m.offset, m.size), raw)
	return raw, err
}

// image returns the manifest of one image.
func (d *dockerReader) image(ctx context.Context, entry dockerImage) (oci.Descriptor, error) {
	config, err := d.small(entry.Config, oci.MaxManifestSize)
	if err != nil {
		return oci.Descriptor{}, memberError("config", entry.Config, err)
	}
	diffIDs, err := oci.ParseDiffIDs(config)
	switch {
	case err != nil:
		return oci.Descriptor{}, corruptf("config %.100q: %v", entry.Config, err)
	case len(diffIDs) != len(entry.Layers):
		return oci.Descriptor{}, corruptf("%d layers, and its config %.100q has %d diff_ids", len(entry.Layers), entry.Config, len(diffIDs))
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: d.alias(ocispec.MediaTypeImageConfig, config, entry.Config), Layers: []oci.Descriptor{},
	}
	for i, name := range entry.Layers {
		layer, err := d.layer(ctx, name, diffIDs[i])
		if err != nil {
			return oci.Descriptor{}, memberError("layer", name, err)
		}
		m.Layers = append(m.Layers, layer)
	}
	if known, ok := d.known[m.Config.Digest]; ok && d.sameLayers(known, m.Layers) {
		return known, nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return d.blobs.put(ocispec.MediaTypeImageManifest, raw), nil
}

// alias makes the member name, of that content, a blob.
func (d *dockerReader) alias(mediaType string, content []byte, name string) oci.Descriptor {
	blob := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	d.blobs.names[blobName(blob.Digest)] = path.Clean(name)
	return blob
}

func memberError(what, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return corruptf("%s %.100q is not in the archive", what, name)
	}
	return fmt.Errorf("%s %.100q: %w", what, name, err)
}

// layer returns the layer that lies under name, which has to have that diff_id.
func (d *dockerReader) layer(ctx context.Context, name string, diffID digest.Digest) (oci.Descriptor, error) {
	clean, err := memberName(name)
	if err != nil {
		return oci.Descriptor{}, err
	}
	m, err := d.files.lookup(clean)
	if err != nil {
		return oci.Descriptor{}, err
	}
	layer, ok := d.layers[m.offset]
	if !ok {
		if layer, err = d.look(ctx, m); err != nil {
			return oci.Descriptor{}, err
		}
		d.layers[m.offset] = layer
	}
	switch {
	case layer.Digest == "": // whether it is, shows when it is read
		layer.Digest = diffID
	case layer.diffID != diffID:
		return oci.Descriptor{}, corruptf("its plain content is %s, and the config says %s", layer.diffID, diffID)
	}
	if at := blobName(layer.Digest); d.blobs.names[at] == "" {
		d.blobs.names[at] = clean
	}
	return layer.Descriptor, nil
}

// look finds out what kind of layer a member is, and reads it when it is compressed.
func (d *dockerReader) look(ctx context.Context, m member) (layer dockerLayer, err error) {
	content := io.NewSectionReader(d.files.r, m.offset, m.size)
	head := make([]byte, min(m.size, sniffSize))
	if _, err := content.ReadAt(head, 0); err != nil {
		return layer, err
	}
	layer.Descriptor = oci.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: m.size}
	switch how := sniff(head); how {
	case plainTar:
		return layer, nil
	case gzipped:
		layer.MediaType = ocispec.MediaTypeImageLayerGzip
	case zstded:
		layer.MediaType = ocispec.MediaTypeImageLayerZstd
	default:
		return layer, fmt.Errorf("compressed with %s: %w, OCI has gzip and zstd", how, oci.ErrUnsupported)
	}
	layer.Digest, layer.diffID, err = digestsOf(ctx, content, layer.MediaType)
	return layer, err
}

// digestsOf returns the digests of a compressed layer, and of its plain bytes.
func digestsOf(ctx context.Context, content *io.SectionReader, mediaType string) (raw, plain digest.Digest, err error) {
	rawHash, plainHash := digest.SHA256.Digester(), digest.SHA256.Digester()
	tee := io.TeeReader(readerWith{ctx, content}, rawHash.Hash())
	var unpacked io.Reader
	if mediaType == ocispec.MediaTypeImageLayerZstd {
		z, err := zstd.NewReader(tee, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return "", "", err
		}
		defer z.Close()
		unpacked = z
	} else if unpacked, err = gzip.NewReader(tee); err != nil {
		return "", "", corruptf("%v", err)
	}
	limit := maxRatio*content.Size() + 1<<20
	n, err := io.Copy(plainHash.Hash(), io.LimitReader(unpacked, limit+1))
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case err != nil:
		return "", "", corruptf("%v", err)
	case n > limit:
		return "", "", corruptf("more than %d plain bytes for each of its own", maxRatio)
	}
	if _, err := io.Copy(io.Discard, tee); err != nil { // what stands behind the stream is part of the blob
		return "", "", err
	}
	return rawHash.Digest(), plainHash.Digest(), nil
}

// readerWith is a reader that ends with its context.
type readerWith struct {
	ctx context.Context
	io.Reader
}

func (r readerWith) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// findManifests looks for the manifests that an archive of the new form has, as index.json lists them. What is wrong with
// them does not matter: then the archive has none.
func (d *dockerReader) findManifests(ctx context.Context) {
	d.known = map[digest.Digest]oci.Descriptor{}
	layout, err := oci.ReadLayout(d.files, "")
	if err != nil {
		return
	}
	for _, image := range layout.Images() {
		fetch := func(_ context.Context, m oci.Descriptor) ([]byte, error) {
			return d.small(blobName(m.Digest), oci.MaxManifestSize)
		}
		d.findManifest(ctx, fetch, image.Root)
	}
}

type fetchFunc = func(ctx context.Context, m oci.Descriptor) ([]byte, error)

// findManifest takes note of a manifest, or of those that an index lists.
func (d *dockerReader) findManifest(ctx context.Context, fetch fetchFunc, root oci.Descriptor) {
	n, err := oci.LoadManifest(ctx, fetch, root)
	if err != nil {
		return
	}
	list := []oci.Descriptor{root}
	if n.Manifest.IsIndex() {
		list = n.Manifest.Manifests
	}
	for _, m := range list {
		n, err := oci.LoadManifest(ctx, fetch, m)
		if err != nil || n.Manifest.Config == nil {
			continue
		}
		d.known[n.Manifest.Config.Digest] = d.alias(n.MediaType, n.Raw, blobName(n.Digest))
	}
}

// sameLayers reports whether the manifest that the archive has is of these very layers.
func (d *dockerReader) sameLayers(known oci.Descriptor, layers []oci.Descriptor) bool {
	raw, err := d.small(blobName(known.Digest), oci.MaxManifestSize)
	if err != nil {
		return false
	}
	m, err := oci.ParseManifest(known.MediaType, raw)
	return err == nil && slices.EqualFunc(m.Layers, layers, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size })
}
