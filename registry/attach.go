package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// headerSubject is the header by which a registry with the referrers API says that it has noted what a manifest is about.
const headerSubject = "OCI-Subject"

// Attach makes sure that the manifest d, which to holds and whose bytes are raw, can be found by its subject. A registry
// with the referrers API finds it by itself: it says so when it gets such a manifest, else it is asked, once for a
// host. Anywhere else the index under the fallback tag of the subject has to list it. That index is only ever added to;
// what else is in it stays, byte for byte. Nothing is deleted.
//
// Two runs at one time can lose what one of them adds: registries know no way to prevent that.
func (c *Client) Attach(ctx context.Context, to oci.Repository, d oci.Descriptor, raw []byte) (changed bool, err error) {
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return false, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if m.Subject == nil {
		return false, nil
	}
	h, err := c.host(to.Host)
	if err != nil {
		return false, err
	}
	if h.referrers.get() == apiUnknown {
		if _, err := c.askAPI(ctx, site{h: h, repo: to}, m.Subject.Digest); err != nil {
			return false, err
		}
	}
	if h.referrers.get() == apiThere {
		return false, nil
	}
	entry := oci.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.Type(), Annotations: m.Annotations,
	}
	if changed, err = c.addToFallback(ctx, to, m.Subject.Digest, entry); err != nil {
		return false, fmt.Errorf("fallback tag of %s: %w", m.Subject.Digest, err)
	}
	return changed, nil
}

// addToFallback makes the fallback index of subject list entry.
func (c *Client) addToFallback(ctx context.Context, to oci.Repository, subject digest.Digest, entry oci.Descriptor) (added bool, err error) {
	tag := oci.FallbackTag(subject)
	done, err := c.turns.take(ctx, oci.Reference{Repository: to, Tag: tag})
	if err != nil {
		return false, err
	}
	defer done()
	old, err := c.fallbackIndex(ctx, to, tag)
	if err != nil {
		return false, err
	}
	raw, err := addEntry(old, entry)
	if err != nil || raw == nil {
		return false, err
	}
	d := oci.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return true, c.Tag(ctx, to, tag, d, raw)
}

// newFallback is an index that lists nothing.
const newFallback = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`

// fallbackIndex returns the index under a fallback tag, a new one when there is none. Anything else that has the tag is
// an error: it is not ferry's to replace.
func (c *Client) fallbackIndex(ctx context.Context, to oci.Repository, tag string) ([]byte, error) {
	d, err := c.Tagged(ctx, to, tag)
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return []byte(newFallback), nil
	case err != nil:
		return nil, err
	case d.MediaType != ocispec.MediaTypeImageIndex:
		return nil, fmt.Errorf("%s:%s is %s, a manifest of type %s and no list of referrers", to, tag, d.Digest, d.MediaType)
	}
	return c.readIndex(ctx, to, d)
}

// addEntry returns the index old with entry at its end; nil when it lists that already.
func addEntry(old []byte, entry oci.Descriptor) ([]byte, error) {
	list, err := parseReferrers(old)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.Digest == entry.Digest {
			return nil, nil
		}
	}
	var index map[string]json.RawMessage
	if err := json.Unmarshal(old, &index); err != nil {
		return nil, err
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(index["manifests"], &entries); err != nil {
		return nil, err
	}
	last, err := encodeJSON(entry)
	if err != nil {
		return nil, err
	}
	if index["manifests"], err = encodeJSON(append(entries, last)); err != nil {
		return nil, err
	}
	raw, err := encodeJSON(index)
	if err != nil {
		return nil, err
	}
	if len(raw) > oci.MaxManifestSize {
		return nil, fmt.Errorf("with one more entry the index is larger than %d bytes", oci.MaxManifestSize)
	}
	return raw, nil
}

// encodeJSON is json.Marshal that leaves the characters of HTML as they are.
func encodeJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// turns lets one at a time change what a reference names.
type turns struct {
	mu sync.Mutex
	of map[oci.Reference]chan struct{} // with one token while nobody is at it
}

// take waits for its turn with ref and returns the function that ends it.
func (t *turns) take(ctx context.Context, ref oci.Reference) (done func(), err error) {
	t.mu.Lock()
	if t.of == nil {
		t.of = map[oci.Reference]chan struct{}{}
	}
	turn := t.of[ref]
	if turn == nil {
		turn = make(chan struct{}, 1)
		turn <- struct{}{}
		t.of[ref] = turn
	}
	t.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-turn:
		return func() { turn <- struct{}{} }, nil
	}
}
