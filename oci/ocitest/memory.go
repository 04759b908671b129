// Package ocitest has what tests of ferry share: a suite that every end of a copy has to pass, [TestEnds], an end in
// memory that fails on demand, [Memory], and small real images, [Image] and [Index].
package ocitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Op is an operation on a [Memory].
type Op struct {
	Name       string // "has", "open", "push", "mount", "tagged", "tag", "resolve", "attach", "referrers"
	Repository oci.Repository
	From       oci.Repository // of a mount
	Digest     digest.Digest
	Tag        string
	Offset     int64 // of an open
}

// String returns the operation as one line.
func (o Op) String() string {
	return fmt.Sprintf("%s %s %s %s", o.Name, o.Repository, o.Tag, o.Digest)
}

// Memory is a registry in memory: a source and a sink with any number of repositories. It is strict, as real ones are:
// a manifest is refused unless its repository holds everything that it points to. The zero value is empty and ready.
type Memory struct {
	// Fault, unless nil, is called before each operation, from many goroutines; its error is the operation's.
	Fault func(ctx context.Context, op Op) error
	// Body, unless nil, may replace the content that Open returns.
	Body func(op Op, r io.ReadCloser) io.ReadCloser
	// NoMount makes Mount decline.
	NoMount bool

	mu    sync.Mutex
	repos map[oci.Repository]*memoryRepo
	ops   []Op
	parts map[oci.Repository]map[digest.Digest][]byte
}

type memoryRepo struct {
	blobs map[digest.Digest][]byte
	tags  map[string]oci.Descriptor
}

var (
	_ oci.Source   = (*Memory)(nil)
	_ oci.Sink     = (*Memory)(nil)
	_ oci.Mounter  = (*Memory)(nil)
	_ oci.Tagger   = (*Memory)(nil)
	_ oci.Resolver = (*Memory)(nil)
	_ oci.Attacher = (*Memory)(nil)

	_ oci.ReferrerFinder = (*Memory)(nil)
)

// Add puts a graph into a repository, and gives it the tag unless that is empty.
func (m *Memory) Add(to oci.Repository, tag string, g *Graph) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range g.All() {
		m.repo(to).blobs[b.Digest] = b.Bytes
	}
	if tag != "" {
		m.repo(to).tags[tag] = g.Descriptor
	}
}

// AddBlob puts one blob into a repository.
func (m *Memory) AddBlob(to oci.Repository, b Blob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repo(to).blobs[b.Digest] = b.Bytes
}

// Delete takes one blob out of a repository.
func (m *Memory) Delete(from oci.Repository, dgst digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.repo(from).blobs, dgst)
}

// Bytes returns a blob of a repository, nil when it is not there.
func (m *Memory) Bytes(from oci.Repository, dgst digest.Digest) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.repo(from).blobs[dgst]
}

// Tags returns what the tags of a repository name.
func (m *Memory) Tags(of oci.Repository) map[string]digest.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	tags := map[string]digest.Digest{}
	for tag, d := range m.repo(of).tags {
		tags[tag] = d.Digest
	}
	return tags
}

// Holds returns an error that names the first blob of the graph that the repository does not hold.
func (m *Memory) Holds(repo oci.Repository, g *Graph) error {
	for _, b := range g.All() {
		if !bytes.Equal(m.Bytes(repo, b.Digest), b.Bytes) || m.Bytes(repo, b.Digest) == nil {
			return fmt.Errorf("%s does not hold %s %s", repo, b.MediaType, b.Digest)
		}
	}
	return nil
}

// Ops returns the operations so far that were let through by Fault, by the order of their beginning; with names, only
// those.
func (m *Memory) Ops(names ...string) []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ops []Op
	for _, op := range m.ops {
		if len(names) == 0 || slices.Contains(names, op.Name) {
			ops = append(ops, op)
		}
	}
	return ops
}

// repo returns a repository, which comes to be with that. The caller holds m.mu.
func (m *Memory) repo(r oci.Repository) *memoryRepo {
	if m.repos == nil {
		m.repos = map[oci.Repository]*memoryRepo{}
	}
	if m.repos[r] == nil {
		m.repos[r] = &memoryRepo{blobs: map[digest.Digest][]byte{}, tags: map[string]oci.Descriptor{}}
	}
	return m.repos[r]
}

func (m *Memory) begin(ctx context.Context, op Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if op.Digest != "" || op.Tag == "" {
		if err := op.Digest.Validate(); err != nil {
			return fmt.Errorf("digest %q: %w", op.Digest, err)
		}
	}
	if m.Fault != nil {
		if err := m.Fault(ctx, op); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops = append(m.ops, op)
	return nil
}

// Open returns the content of a blob from offset on.
func (m *Memory) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	op := Op{Name: "open", Repository: from, Digest: d.Digest, Offset: offset}
	if err := m.begin(ctx, op); err != nil {
		return nil, err
	}
	raw := m.Bytes(from, d.Digest)
	if raw == nil {
		return nil, fmt.Errorf("blob %s: %w in %s", d.Digest, oci.ErrNotFound, from)
	}
	if offset < 0 || offset > int64(len(raw)) {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, len(raw))
	}
	r := io.NopCloser(contextReader{ctx, bytes.NewReader(raw[offset:])})
	if m.Body != nil {
		r = m.Body(op, r)
	}
	return r, nil
}

// contextReader is a reader that ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Resolve returns what a tag names, or the descriptor of a digest.
func (m *Memory) Resolve(ctx context.Context, ref oci.Reference) (oci.Descriptor, error) {
	if err := m.begin(ctx, Op{Name: "resolve", Repository: ref.Repository, Digest: ref.Digest, Tag: ref.Tag}); err != nil {
		return oci.Descriptor{}, err
	}
	if ref.Digest == "" {
		return m.lookup(ref.Repository, ref.Tag)
	}
	raw := m.Bytes(ref.Repository, ref.Digest)
	if raw == nil {
		return oci.Descriptor{}, fmt.Errorf("%s: %w", ref, oci.ErrNotFound)
	}
	return oci.Descriptor{MediaType: mediaTypeOf(raw), Digest: ref.Digest, Size: int64(len(raw))}, nil
}

func mediaTypeOf(raw []byte) string {
	var m struct {
		MediaType string `json:"mediaType"`
	}
	_ = json.Unmarshal(raw, &m) // what is no manifest has none
	return m.MediaType
}

func (m *Memory) lookup(repo oci.Repository, tag string) (oci.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.repo(repo).tags[tag]
	if !ok {
		return oci.Descriptor{}, fmt.Errorf("%s:%s: %w", repo, tag, oci.ErrNotFound)
	}
	return d, nil
}

// Has reports whether the repository holds the blob.
func (m *Memory) Has(ctx context.Context, to oci.Repository, d oci.Descriptor) (bool, error) {
	if err := m.begin(ctx, Op{Name: "has", Repository: to, Digest: d.Digest}); err != nil {
		return false, err
	}
	raw := m.Bytes(to, d.Digest)
	return raw != nil && int64(len(raw)) == d.Size, nil
}

// Push stores a blob, and resumes as a good sink does. A manifest that points to what is not there is refused.
func (m *Memory) Push(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
	if err := m.begin(ctx, Op{Name: "push", Repository: to, Digest: d.Digest}); err != nil {
		return err
	}
	part := m.takePart(to, d.Digest)
	r, err := c(ctx, int64(len(part)))
	if err != nil {
		m.keepPart(to, d.Digest, part)
		return err
	}
	defer r.Close()
	whole, err := io.ReadAll(io.MultiReader(bytes.NewReader(part), io.LimitReader(r, d.Size-int64(len(part))+1)))
	if err != nil {
		m.keepPart(to, d.Digest, whole)
		return err
	}
	if err := check(d, whole); err != nil {
		return err
	}
	if err := m.complete(to, d, whole); err != nil {
		return err
	}
	m.AddBlob(to, Blob{Descriptor: d, Bytes: whole})
	return nil
}

func check(d oci.Descriptor, raw []byte) error {
	_, err := io.Copy(io.Discard, oci.Verify(bytes.NewReader(raw), d))
	return err
}

func (m *Memory) takePart(to oci.Repository, dgst digest.Digest) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	part := m.parts[to][dgst]
	delete(m.parts[to], dgst)
	return part
}

func (m *Memory) keepPart(to oci.Repository, dgst digest.Digest, part []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parts == nil {
		m.parts = map[oci.Repository]map[digest.Digest][]byte{}
	}
	if m.parts[to] == nil {
		m.parts[to] = map[digest.Digest][]byte{}
	}
	m.parts[to][dgst] = part
}

// complete refuses a manifest that points to what the repository does not hold.
func (m *Memory) complete(repo oci.Repository, d oci.Descriptor, raw []byte) error {
	if !oci.IsManifest(d.MediaType) {
		return nil
	}
	var points struct {
		Config            *oci.Descriptor
		Layers, Manifests []oci.Descriptor
	}
	if err := json.Unmarshal(raw, &points); err != nil {
		return err
	}
	all := slices.Concat(points.Layers, points.Manifests)
	if points.Config != nil {
		all = append(all, *points.Config)
	}
	for _, p := range all {
		if m.Bytes(repo, p.Digest) == nil {
			return fmt.Errorf("manifest %s: %s is unknown in %s: %w", d.Digest, p.Digest, repo, oci.ErrIncomplete)
		}
	}
	return nil
}

// Lose takes a blob or a manifest from a repository, as a clean-up at a registry does.
func (m *Memory) Lose(repo oci.Repository, dgst digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.repos[repo]; r != nil {
		delete(r.blobs, dgst)
	}
}

// Mount takes a blob over from another repository of the same host.
func (m *Memory) Mount(ctx context.Context, from, to oci.Repository, d oci.Descriptor) (bool, error) {
	if err := m.begin(ctx, Op{Name: "mount", Repository: to, From: from, Digest: d.Digest}); err != nil {
		return false, err
	}
	raw := m.Bytes(from, d.Digest)
	if m.NoMount || raw == nil || from.Host != to.Host {
		return false, nil
	}
	m.AddBlob(to, Blob{Descriptor: d, Bytes: raw})
	return true, nil
}

// Tagged returns what a tag names.
func (m *Memory) Tagged(ctx context.Context, to oci.Repository, tag string) (oci.Descriptor, error) {
	if err := m.begin(ctx, Op{Name: "tagged", Repository: to, Tag: tag}); err != nil {
		return oci.Descriptor{}, err
	}
	return m.lookup(to, tag)
}

// Tag stores a manifest and makes the tag name it.
func (m *Memory) Tag(ctx context.Context, to oci.Repository, tag string, d oci.Descriptor, raw []byte) error {
	if err := m.begin(ctx, Op{Name: "tag", Repository: to, Tag: tag, Digest: d.Digest}); err != nil {
		return err
	}
	if err := check(d, raw); err != nil {
		return err
	}
	if err := m.complete(to, d, raw); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repo(to).blobs[d.Digest] = raw
	m.repo(to).tags[tag] = d
	return nil
}

// Attach notes that it was told of an attached manifest, which has to be there.
func (m *Memory) Attach(ctx context.Context, to oci.Repository, d oci.Descriptor, raw []byte) (changed bool, err error) {
	if err := m.begin(ctx, Op{Name: "attach", Repository: to, Digest: d.Digest}); err != nil {
		return false, err
	}
	if !bytes.Equal(m.Bytes(to, d.Digest), raw) {
		return false, fmt.Errorf("manifest %s: %w in %s", d.Digest, oci.ErrNotFound, to)
	}
	return false, nil
}

// Referrers returns the manifests that name subject, and those that have a tag of cosign's about it.
func (m *Memory) Referrers(ctx context.Context, repo oci.Repository, subject digest.Digest) ([]oci.FoundReferrer, error) {
	if err := m.begin(ctx, Op{Name: "referrers", Repository: repo, Digest: subject}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []oci.FoundReferrer
	for d, raw := range m.repo(repo).blobs {
		manifest, err := oci.ParseManifest("", raw)
		if err == nil && manifest.Subject != nil && manifest.Subject.Digest == subject {
			found := oci.Descriptor{MediaType: manifest.MediaType, Digest: d, Size: int64(len(raw))}
			list = append(list, oci.FoundReferrer{Descriptor: found, Found: oci.FoundByAPI})
		}
	}
	for _, tag := range oci.CosignTags(subject) {
		if d, ok := m.repo(repo).tags[tag]; ok {
			list = append(list, oci.FoundReferrer{Descriptor: d, Found: oci.FoundByTag, Tag: tag})
		}
	}
	slices.SortFunc(list, func(a, b oci.FoundReferrer) int {
		return strings.Compare(a.Descriptor.Digest.String()+a.Tag, b.Descriptor.Digest.String()+b.Tag)
	})
	return list, nil
}
