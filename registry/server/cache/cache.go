// Package cache keeps blobs that take long to make in a folder, so that each is made once: [Open] a folder, and let
// [Cache.Source] stand before the source that makes them.
//
// A blob takes its name in the folder after its size and digest were proven, and one that an earlier run left is proven
// before it is used. Nothing but speed depends on the folder: what cannot be kept there comes from the source.
package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// Options are how a folder is used. The zero value works.
type Options struct {
	// MaxSize is how many bytes of blobs the folder may hold: those that were used longest ago are removed for others, and
	// what does not fit at all is not kept. 0 is no limit.
	MaxSize int64
	// Failed is told when something could not be kept, as on a full disk; it may be called from many goroutines. nil is fine.
	Failed func(error)
}

// pause is for how long nothing new is kept after something could not be.
const pause = time.Minute

// Cache is a folder of blobs. All methods may be called from many goroutines.
type Cache struct {
	opts  Options
	store *oci.Store
	ctx   context.Context // of the makings, which outlive the requests that begin them
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu      sync.Mutex
	makings map[digest.Digest]*making
	blobs   []entry // in the folder, or on their way; the one that was used longest ago first
	paused  time.Time
}

// entry is a blob that takes room in the folder.
type entry struct {
	digest digest.Digest
	size   int64
}

// tagName and tagText tell what the folder is, to people and to programs that make backups: see https://bford.info/cachedir/.
const (
	tagName = "CACHEDIR.TAG"
	tagText = "Signature: 8a477f597d28d172789f06886806bc55\n# Blobs that ferry serve has made. All of it can be removed.\n"
)

// Open opens the folder dir, which it creates when there is none, and locks it until Close. It is an OCI image layout
// without names.
//
// Errors: oci.ErrLocked when another process has it. A folder that holds anything else, and be it a store of ferry pack,
// is refused.
func Open(dir string, o Options) (_ *Cache, err error) {
	store, err := oci.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	if err := tag(store); err != nil {
		return nil, err
	}
	c := &Cache{opts: o, store: store, makings: map[digest.Digest]*making{}}
	if err := errors.Join(store.DropParts(), c.list()); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, c.limit()
}

// tag makes sure that the folder is one that blobs may be removed from.
func tag(store *oci.Store) error {
	name := filepath.Join(store.Dir(), tagName)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch empty, err := store.Empty(); {
	case err != nil:
		return err
	case !empty:
		return fmt.Errorf("%s: it holds other blobs than those of a cache; name another folder, or an empty one", store.Dir())
	}
	return os.WriteFile(name, []byte(tagText), 0o644)
}

// list finds the blobs that are there.
func (c *Cache) list() error {
	algorithm := digest.SHA256
	entries, err := os.ReadDir(filepath.Join(c.store.Dir(), ocispec.ImageBlobsDir, algorithm.String()))
	if err != nil {
		return err
	}
	used := map[digest.Digest]time.Time{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		d := digest.NewDigestFromEncoded(algorithm, e.Name())
		used[d] = info.ModTime()
		c.blobs = append(c.blobs, entry{d, info.Size()})
	}
	slices.SortFunc(c.blobs, func(a, b entry) int {
		return cmp.Or(used[a.digest].Compare(used[b.digest]), cmp.Compare(a.digest, b.digest))
	})
	return nil
}

// limit removes what is too much.
func (c *Cache) limit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.makeRoom(0) {
		return nil
	}
	return fmt.Errorf("%s: it cannot be made as small as %d bytes", c.store.Dir(), c.opts.MaxSize)
}

// Close ends what is under way, and lets the folder go.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.stop() // nothing begins any more
	c.mu.Unlock()
	c.work.Wait()
	return c.store.Close()
}

// Source returns src with the cache before it. direct tells which blobs are not to be kept, because src gives them as fast.
func (c *Cache) Source(src oci.Source, direct func(digest.Digest) bool) oci.Source {
	return &source{Source: src, cache: c, direct: direct}
}

// source is a source with the cache before it.
type source struct {
	oci.Source
	cache  *Cache
	direct func(digest.Digest) bool
}

// Open returns the content of d from offset on. Who wants a blob that is being made reads it while it comes. The making
// ends when nobody wants it any more.
func (s *source) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)
	}
	if s.direct(d.Digest) {
		return s.Source.Open(ctx, from, d, offset)
	}
	if file := s.cache.whole(d); file != nil {
		_, err := file.Seek(offset, io.SeekStart)
		return file, err
	}
	m, err := s.join(ctx, from, d)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return s.Source.Open(ctx, from, d, offset)
	}
	f := &follower{source: s, ctx: ctx, making: m, from: from, want: d, at: offset}
	if err := f.wait(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// DamageOf is told of a blob that was proven wrong by its reader: so the file, if it came from one, is wrong. It returns
// what the source has to say of it.
func (s *source) DamageOf(d digest.Digest, err error) error {
	if errors.Is(err, oci.ErrCorrupt) {
		s.cache.drop(d)
	}
	if src, ok := s.Source.(interface {
		DamageOf(d digest.Digest, err error) error
	}); ok {
		return src.DamageOf(d, err)
	}
	return err
}

// whole returns the file of a blob that was proven in this run, or nil.
func (c *Cache) whole(d oci.Descriptor) *os.File {
	if !c.store.Fresh(d) {
		return nil
	}
	file, err := c.store.OpenBlob(d)
	if err != nil { // somebody has removed it
		c.drop(d.Digest)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(d.Digest); i >= 0 {
		c.blobs = append(slices.Delete(c.blobs, i, i+1), entry{d.Digest, d.Size})
	}
	return file
}

func (c *Cache) find(d digest.Digest) int {
	return slices.IndexFunc(c.blobs, func(e entry) bool { return e.digest == d })
}

// drop removes a blob.
func (c *Cache) drop(d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.makings[d] == nil {
		c.remove(d)
	}
}

// remove removes a blob, under the lock, and reports whether that could be done.
func (c *Cache) remove(d digest.Digest) bool {
	if err := c.store.Drop(oci.Descriptor{Digest: d}); err != nil {
		c.failed(err)
		return false
	}
	c.blobs = slices.DeleteFunc(c.blobs, func(e entry) bool { return e.digest == d })
	return true
}

// makeRoom removes blobs, under the lock, until there is room for size bytes. It reports false when there can be none.
func (c *Cache) makeRoom(size int64) bool {
	if c.opts.MaxSize <= 0 {
		return true
	}
	if size > c.opts.MaxSize {
		return false
	}
	over := size - c.opts.MaxSize
	for _, e := range c.blobs {
		over += e.size
	}
	for _, e := range slices.Clone(c.blobs) {
		if over > 0 && c.makings[e.digest] == nil && c.remove(e.digest) {
			over -= e.size
		}
	}
	return over <= 0
}

func (c *Cache) failed(err error) {
	if c.opts.Failed != nil {
		c.opts.Failed(err)
	}
}
