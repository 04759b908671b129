package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImageInfo is what an image tells of its making, for a person who has to choose between two.
type ImageInfo struct {
	Created  *time.Time // nil when it is not told
	Revision string     // org.opencontainers.image.revision
	Version  string     // org.opencontainers.image.version
}

// imageInfo reads what the manifest, the entry of an index, and the config of an image tell, in this order. The time is
// that of the config, where there is one.
func imageInfo(ctx context.Context, config func(context.Context, Descriptor) ([]byte, error), l *mergeLeaf) (ImageInfo, error) {
	var c struct {
		Created *time.Time `json:"created"`
		Config  struct {
			Labels map[string]string
		} `json:"config"`
	}
	m := l.node.Manifest
	if config != nil && m.Config != nil && IsImageConfig(m.Config.MediaType) {
		raw, err := readConfig(ctx, config, *m.Config)
		if err != nil {
			return ImageInfo{}, err
		}
		_ = json.Unmarshal(raw, &c) // a config that is odd tells less
	}
	told := func(key string) string {
		return cmp.Or(m.Annotations[key], l.Annotations[key], c.Config.Labels[key])
	}
	info := ImageInfo{
		Created: c.Created, Revision: told(ocispec.AnnotationRevision), Version: told(ocispec.AnnotationVersion),
	}
	if at, err := time.Parse(time.RFC3339, told(ocispec.AnnotationCreated)); err == nil && info.Created == nil {
		info.Created = &at
	}
	return info, nil
}

// choose decides the conflict as prefer says, or says why it cannot.
func (c *Conflict) choose(prefer Prefer) {
	c.Chosen = -1
	switch prefer {
	case PreferFirst:
		c.Chosen = 0
	case PreferLast:
		c.Chosen = len(c.Images) - 1
	case PreferNewest:
		c.chooseNewest()
	}
}

// chooseNewest chooses the image that was created last. Images of one digest are one; one that tells no time is older
// than any that does.
func (c *Conflict) chooseNewest() {
	best := -1
	for i, image := range c.Images {
		if image.Created != nil && (best < 0 || image.Created.After(*c.Images[best].Created)) {
			best = i
		}
	}
	if best < 0 {
		c.Why = "none tells when it was created"
		return
	}
	for _, image := range c.Images {
		if image.Created != nil && image.Created.Equal(*c.Images[best].Created) && image.Digest != c.Images[best].Digest {
			c.Why = "the newest were created at the same time"
			return
		}
	}
	c.Chosen = best
}
