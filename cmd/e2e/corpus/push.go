package corpus

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// Push puts images of the layout into a registry.
func (l Layout) Push(ctx context.Context, to wire.Registry, images []Image) error {
	p := &pusher{layout: l, to: to, home: map[digest.Digest]string{}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, image := range images {
		group.Go(func() error {
			if err := p.push(ctx, image.Repository, image.Root, image.Tag); err != nil {
				return fmt.Errorf("push %s: %w", image.Repository, err)
			}
			return nil
		})
	}
	return group.Wait()
}

type pusher struct {
	layout Layout
	to     wire.Registry
	mu     sync.Mutex
	home   map[digest.Digest]string // a repository that has the blob
}

// push puts a manifest or index and all that it points to into repository, children first.
func (p *pusher) push(ctx context.Context, repository string, d ocispec.Descriptor, reference string) error {
	raw, err := os.ReadFile(p.layout.Path(d.Digest))
	if err != nil {
		return err
	}
	manifests, blobs, err := wire.Children(raw)
	if err != nil {
		return err
	}
	for _, child := range manifests {
		if err := p.push(ctx, repository, child, child.Digest.String()); err != nil {
			return err
		}
	}
	for _, blob := range blobs {
		if err := p.pushBlob(ctx, repository, blob); err != nil {
			return err
		}
	}
	return p.to.PushManifest(ctx, repository, reference, d.MediaType, raw)
}

func (p *pusher) pushBlob(ctx context.Context, repository string, d ocispec.Descriptor) error {
	if has, err := p.to.Has(ctx, repository, d.Digest); has || err != nil {
		return err
	}
	p.mu.Lock()
	home := p.home[d.Digest]
	p.mu.Unlock()
	if home != "" {
		if mounted, err := p.to.Mount(ctx, home, repository, d.Digest); mounted || err != nil {
			return err
		}
	}
	f, err := os.Open(p.layout.Path(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.to.PushBlob(ctx, repository, d.Digest, f, d.Size); err != nil {
		return err
	}
	p.mu.Lock()
	p.home[d.Digest] = repository
	p.mu.Unlock()
	return nil
}
