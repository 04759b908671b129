package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci/durable"
)

const (
	// annotationContainerd is where containerd looks for the full name of an image in an image layout.
	annotationContainerd = "io.containerd.image.name"
	// AnnotationReferrer has the full name, with a tag of cosign's, of an entry of index.json that must not have one in the
	// places where loaders look for images to unpack.
	AnnotationReferrer = "io.github.ferry-oci.referrer"
	// maxIndexFile is the largest index.json that is read, in bytes: some 200,000 names.
	maxIndexFile = 128 << 20
	// namesInterval is how long new names may stay in memory while more come.
	namesInterval = 2 * time.Second
)

// Tagged returns the descriptor that the name to:tag stands for in index.json, or [ErrNotFound].
func (s *Store) Tagged(_ context.Context, to Repository, tag string) (Descriptor, error) {
	name := Reference{Repository: to, Tag: tag}.String()
	if d, ok := s.names.lookup(name); ok {
		return d, nil
	}
	return Descriptor{}, fmt.Errorf("%s: %w in %s", name, ErrNotFound, s.dir)
}

// Tag stores the manifest d, whose bytes are raw, and names it to:tag in index.json, in place of what had that name.
// The name is on the disk after [Store.Sync] or Close, or within some seconds when more names come.
func (s *Store) Tag(ctx context.Context, to Repository, tag string, d Descriptor, raw []byte) error {
	return s.putName(ctx, Reference{Repository: to, Tag: tag}, d, raw)
}

// Pin is Tag for an image without a tag: its name is to with the digest of d.
func (s *Store) Pin(ctx context.Context, to Repository, d Descriptor, raw []byte) error {
	return s.putName(ctx, Reference{Repository: to, Digest: d.Digest}, d, raw)
}

func (s *Store) putName(ctx context.Context, ref Reference, d Descriptor, raw []byte) error {
	if err := s.Push(ctx, ref.Repository, d, rawContent(raw)); err != nil {
		return err
	}
	s.names.put(ref.String(), d)
	if !s.names.due() {
		return nil
	}
	return s.Sync()
}

// Attach lists the manifest d in index.json, without a name, unless it is there under some name: what nothing names
// would be lost to those who clean up a layout.
func (s *Store) Attach(_ context.Context, _ Repository, d Descriptor, raw []byte) (changed bool, err error) {
	m, err := ParseManifest(d.MediaType, raw)
	if err != nil {
		return false, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	changed = s.names.list(Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.Type()})
	if !s.names.due() {
		return changed, nil
	}
	return changed, s.Sync()
}

// nameIndex is index.json. Entries without a name, and all else that other tools wrote, stay as they are.
type nameIndex struct {
	path string

	mu      sync.Mutex
	index   ocispec.Index
	at      map[string]int // name to position in index.Manifests
	changed bool
	written time.Time
}

func openNames(path string) (*nameIndex, error) {
	x := &nameIndex{path: path, at: map[string]int{}, written: time.Now()}
	raw, err := durable.ReadFile(path, maxIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		x.index = ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex,
			Manifests: []Descriptor{},
		}
		x.changed = true
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &x.index); err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	for i, d := range x.index.Manifests {
		if name := nameOf(d); name != "" {
			x.at[name] = i
		}
	}
	return x, nil
}

// nameOf returns the full name in the annotations of an entry of index.json. Other tools write only a tag into the
// one that the specification knows.
func nameOf(d Descriptor) string {
	if name := d.Annotations[annotationContainerd]; name != "" {
		return name
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

func (x *nameIndex) lookup(name string) (Descriptor, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, ok := x.at[name]
	if !ok {
		return Descriptor{}, false
	}
	return x.index.Manifests[i], true
}

// Named returns d as the entry of an index.json by which an image has its full name, for the tools of the specification
// and for containerd.
func Named(d Descriptor, name string) Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[ocispec.AnnotationRefName] = name
	d.Annotations[annotationContainerd] = name
	return d
}

func (x *nameIndex) put(name string, d Descriptor) {
	d = Named(d, name)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changed = true
	if i, ok := x.at[name]; ok {
		x.index.Manifests[i] = d
		return
	}
	x.at[name] = len(x.index.Manifests)
	x.index.Manifests = append(x.index.Manifests, d)
}

// list adds d without a name, and reports whether it did: not when an entry has its digest.
func (x *nameIndex) list(d Descriptor) (added bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.ContainsFunc(x.index.Manifests, func(e Descriptor) bool { return e.Digest == d.Digest }) {
		return false
	}
	x.changed = true
	x.index.Manifests = append(x.index.Manifests, d)
	return true
}

// due reports whether the names in memory should go to the disk; who asks is to do it.
func (x *nameIndex) due() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.changed || time.Since(x.written) < namesInterval {
		return false
	}
	x.written = time.Now()
	return true
}

// snapshot returns index.json as it is to be on the disk, nil when nothing has changed.
func (x *nameIndex) snapshot() ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.changed {
		return nil, nil
	}
	x.changed = false
	return json.Marshal(x.index)
}

// write replaces index.json by a snapshot.
func (x *nameIndex) write(snapshot []byte) error {
	if snapshot == nil {
		return nil
	}
	err := durable.WriteFile(x.path, snapshot)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.written = time.Now()
	if err != nil {
		x.changed = true
	}
	return err
}
