package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ferry-oci/ferry/oci"
)

// place returns where in a repository d is, by its media type.
func place(d oci.Descriptor) string {
	if oci.IsManifest(d.MediaType) {
		return "manifests/" + d.Digest.String()
	}
	return "blobs/" + d.Digest.String()
}

// checkDescriptor refuses what cannot be asked for. A digest is part of a URL, and descriptors come from outside.
func checkDescriptor(d oci.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("blob %s: size %d", d.Digest, d.Size)
	}
	if d.Size > oci.MaxManifestSize && oci.IsManifest(d.MediaType) {
		return fmt.Errorf("manifest %s: %d bytes, more than %d: %w",
			d.Digest, d.Size, oci.MaxManifestSize, oci.ErrUnsupported)
	}
	return nil
}

// Has reports whether to holds the whole of d. A blob of another size than d's, which the crash of a registry may
// leave behind, is not d.
func (c *Client) Has(ctx context.Context, to oci.Repository, d oci.Descriptor) (bool, error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	k := call{method: http.MethodHead, repo: to, path: place(d), push: true, want: []int{http.StatusOK}}
	if oci.IsManifest(d.MediaType) {
		k.header = http.Header{"Accept": {acceptManifests}}
	}
	resp, err := c.send(ctx, k)
	if errors.Is(err, oci.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.ContentLength < 0 || resp.ContentLength == d.Size, nil
}

// Push stores the content of d in to. Its last bytes are not sent before ferry has proven size and digest, so that no
// registry, however trusting, keeps something else under the digest. What fails on the way and may pass is tried
// again, with the content from its start.
//
// Errors: [oci.ErrCorrupt], those of the content as they are, [oci.ErrDenied].
func (c *Client) Push(ctx context.Context, to oci.Repository, d oci.Descriptor, content oci.Content) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if oci.IsManifest(d.MediaType) {
		return c.pushManifest(ctx, to, d, content)
	}
	return c.pushBlob(ctx, to, d, content)
}
