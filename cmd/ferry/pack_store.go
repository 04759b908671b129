package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-oci/ferry/oci"
)

// openStore opens the store and, in it, the journal of this very plan.
func (p *packing) openStore(ctx context.Context) (err error) {
	dir, open := p.o.Store, oci.OpenStore
	if dir == "" {
		open = oci.OpenScratch // it goes when the bundle is whole
		if dir, err = ownStore(p.outputName()); err != nil {
			return err
		}
	}
	_, err = os.Stat(dir)
	p.newStore = errors.Is(err, fs.ErrNotExist)
	if p.store, err = open(dir); err != nil {
		return err
	}
	if err = p.openSources(ctx); err == nil { // in its folder, where they have to be put aside; the journal goes by their names
		err = p.openJournal()
	}
	if err != nil {
		_, closeErr := p.closeIfEmpty()
		return errors.Join(err, p.local.close(), closeErr)
	}
	return nil
}

func (p *packing) openJournal() (err error) {
	key := p.journalKey()
	if p.o.Refresh && !p.o.DryRun {
		if err := p.store.RemoveJournal(key); err != nil {
			return err
		}
	}
	if p.journal, err = p.store.Journal(key); errors.Is(err, oci.ErrCorrupt) {
		return fmt.Errorf("what an earlier run has resolved cannot be read, --refresh resolves it anew: %w", err)
	}
	return err
}

// ownStore returns the folder for the store of an output that has no --store: always the same for the same output, and
// never beside it, where the small disk is.
func ownStore(output string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the store: %w; give one with --store DIR", err)
	}
	path, err := filepath.Abs(output)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(cache, "ferry", fmt.Sprintf("%s-%x", strings.ToLower(safeName(filepath.Base(path))), sum[:6])), nil
}

// safeName returns name with all but plain letters, digits, dots and dashes replaced, and not too long.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), 60)]
}

// journalKey names what is to be packed: a run with the same references goes on with what one before has resolved.
func (p *packing) journalKey() string {
	names := p.wanted()
	path, _ := filepath.Abs(p.o.Output) // a relative path serves as well
	sum := sha256.Sum256([]byte(strings.Join(append(names, path), "\n")))
	return fmt.Sprintf("pack-%x", sum[:12])
}

// wanted returns what is asked for, sorted.
func (p *packing) wanted() []string {
	if p.backup != nil {
		return []string{p.backup.key()}
	}
	var names []string
	for _, ref := range p.refs {
		names = append(names, ref.String())
	}
	slices.Sort(names)
	return names
}

// closeStore closes the store. After a run that has done all, the journal goes, and with it a store that is of this
// output alone. Any other run keeps what it has fetched and resolved, and leaves nothing where that is nothing.
func (p *packing) closeStore(done bool) (kept bool, err error) {
	own := p.o.Store == ""
	if done && own {
		return false, p.store.Remove()
	}
	if done || p.learnedNothing() {
		err = p.journal.Remove()
	}
	kept, closeErr := p.closeIfEmpty()
	return kept, errors.Join(err, closeErr)
}

// closeIfEmpty closes the store. One that nobody would miss goes.
func (p *packing) closeIfEmpty() (kept bool, err error) {
	if empty, _ := p.store.Empty(); empty && (p.o.Store == "" || p.newStore) {
		return false, p.store.Remove()
	}
	return true, p.store.Close()
}

// learnedNothing reports whether neither a reference was resolved nor a list taken.
func (p *packing) learnedNothing() bool {
	_, err := p.journal.Kept()
	return p.journal.Len() == 0 && errors.Is(err, oci.ErrNotFound)
}

// cache returns what the plan is made with. A real run keeps what it resolves; a dry run goes by what an earlier one has
// kept, as the real one will, and keeps nothing.
func (p *packing) cache() oci.Cache { return &localCache{p.kept(), &p.local} }

// keptCache is what a run keeps of registries.
type keptCache interface {
	oci.Cache
	oci.ReferrerCache
}

func (p *packing) kept() keptCache {
	if p.o.DryRun {
		return &dryCache{Journal: p.journal, refresh: p.o.Refresh}
	}
	return p.journal
}

// resumed returns how many of the references an earlier run has resolved.
func (p *packing) resumed() int {
	cache, n := p.cache(), 0
	for _, ref := range p.refs {
		if _, ok := cache.Resolved(ref); ok {
			n++
		}
	}
	return n
}

// dryCache is a journal that is not written to.
type dryCache struct {
	*oci.Journal
	refresh bool     // what was resolved does not count
	blobs   sync.Map // manifests and configs of this run: digest.Digest to []byte
	found   sync.Map // what was found in this run: oci.Reference to []oci.FoundReferrer
}

func (c *dryCache) Manifest(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	if raw, ok := c.blobs.Load(d.Digest); ok {
		return raw.([]byte), nil
	}
	return c.Journal.Manifest(ctx, d)
}

func (c *dryCache) PutManifest(_ context.Context, d oci.Descriptor, raw []byte) error {
	c.blobs.Store(d.Digest, raw)
	return nil
}

func (c *dryCache) Resolved(ref oci.Reference) (oci.Descriptor, bool) {
	if c.refresh {
		return oci.Descriptor{}, false
	}
	return c.Journal.Resolved(ref)
}

func (c *dryCache) PutResolved(oci.Reference, oci.Descriptor) error { return nil }

func (c *dryCache) Referrers(subject oci.Reference) ([]oci.FoundReferrer, bool) {
	if list, ok := c.found.Load(subject); ok {
		return list.([]oci.FoundReferrer), true
	}
	if c.refresh {
		return nil, false
	}
	return c.Journal.Referrers(subject)
}

func (c *dryCache) PutReferrers(subject oci.Reference, list []oci.FoundReferrer) error {
	c.found.Store(subject, list)
	return nil
}

// recheck hashes all blobs of the plan that an earlier run has left, and drops what is damaged, so that it is fetched
// again.
func (p *packing) recheck(ctx context.Context) error {
	p.rechecked = true
	manifests, configs, layers := oci.Blobs(p.plan.Roots()...)
	for _, d := range slices.Concat(manifests, configs, layers) {
		err := p.store.Recheck(ctx, d)
		switch {
		case errors.Is(err, oci.ErrCorrupt):
			p.std.say("damaged in the store, and fetched again: %s (%s)", d.Digest, formatSize(d.Size))
		case err != nil && !errors.Is(err, oci.ErrNotFound):
			return err
		}
	}
	return nil
}

// nameImages writes the names into a store that is kept, so that it is an image layout which other tools can read.
func (p *packing) nameImages(ctx context.Context) error {
	if p.o.Store == "" {
		return nil
	}
	for _, image := range p.images() {
		in, root := image.Ref.Repository, image.Root
		var err error
		if image.Ref.Tag == "" {
			err = p.store.Pin(ctx, in, root.Descriptor, root.Raw)
		} else {
			err = p.store.Tag(ctx, in, image.Ref.Tag, root.Descriptor, root.Raw)
		}
		if err != nil {
			return err
		}
		for _, r := range image.Referrers {
			if r.Tag == "" {
				continue
			}
			if err := p.store.Tag(ctx, in, r.Tag, r.Root.Descriptor, r.Root.Raw); err != nil {
				return err
			}
		}
	}
	return nil
}
