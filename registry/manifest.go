package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// acceptManifests lists the manifests that ferry carries. Docker's schema 1 is not among them: a registry that is asked
// for it may convert to it.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, oci.MediaTypeDockerList, oci.MediaTypeDockerManifest,
}, ", ")

// headerDigest is the header in which a registry says which digest it means.
const headerDigest = "Docker-Content-Digest"

// Resolve returns the descriptor of ref's manifest or index, by HEAD, which costs nothing of Docker Hub's quota. It
// reads and hashes the manifest when the answer to HEAD does not say enough. The digest of a reference is never
// taken from the registry. Errors: [oci.ErrNotFound], [oci.ErrDenied], [oci.ErrUnsupported] for a schema 1 manifest,
// [oci.ErrCorrupt] for one that is not what its digest says.
func (c *Client) Resolve(ctx context.Context, ref oci.Reference) (oci.Descriptor, error) {
	target := ref.Tag
	if ref.Digest != "" {
		if err := ref.Digest.Validate(); err != nil {
			return oci.Descriptor{}, fmt.Errorf("digest %q: %w", ref.Digest, err)
		}
		target = ref.Digest.String()
	}
	if target == "" {
		return oci.Descriptor{}, fmt.Errorf("reference %s has neither tag nor digest", ref)
	}
	l := lookup{repo: ref.Repository, target: target, want: ref.Digest}
	d, err := c.headManifest(ctx, l)
	var status *Error
	if errors.Is(err, errIncomplete) || errors.As(err, &status) && mayDifferForGet(status) {
		return c.readManifest(ctx, l)
	}
	return d, err
}

// mayDifferForGet reports whether GET is worth a try after HEAD was answered so. There are registries that do not know
// HEAD, and only the answer to GET has a text that tells what is wrong.
func mayDifferForGet(e *Error) bool {
	return e.Status/100 == 4 && e.Status != http.StatusTooManyRequests
}

// Tagged returns the descriptor of the manifest that tag names in to now.
func (c *Client) Tagged(ctx context.Context, to oci.Repository, tag string) (oci.Descriptor, error) {
	l := lookup{repo: to, target: tag, push: true}
	d, err := c.headManifest(ctx, l)
	if errors.Is(err, errIncomplete) || errors.Is(err, oci.ErrDenied) { // only the answer to GET has a text that tells why
		return c.readManifest(ctx, l)
	}
	return d, err
}

// lookup is the question for a manifest.
type lookup struct {
	repo   oci.Repository
	target string        // tag or digest
	want   digest.Digest // the digest that is known already, or empty
	push   bool          // as part of a push
}

func (c *Client) look(ctx context.Context, method string, l lookup) (*http.Response, error) {
	mirrors := useTag
	switch {
	case l.push:
		mirrors = noMirror
	case l.want != "":
		mirrors = useDigest
	}
	return c.send(ctx, call{
		method: method, repo: l.repo, path: "manifests/" + l.target, push: l.push, mirrors: mirrors,
		header: http.Header{"Accept": {acceptManifests}}, want: []int{http.StatusOK},
	})
}

// errIncomplete says that an answer does not describe the manifest.
var errIncomplete = errors.New("incomplete answer")

// headManifest asks for the descriptor of a manifest. It returns errIncomplete when the answer lacks something.
func (c *Client) headManifest(ctx context.Context, l lookup) (oci.Descriptor, error) {
	resp, err := c.look(ctx, http.MethodHead, l)
	if err != nil {
		return oci.Descriptor{}, err
	}
	resp.Body.Close()
	d := oci.Descriptor{MediaType: mediaType(resp), Digest: l.want, Size: resp.ContentLength}
	if l.want == "" {
		d.Digest = digest.Digest(resp.Header.Get(headerDigest))
	}
	if !oci.IsManifest(d.MediaType) || d.Digest.Validate() != nil || d.Size <= 0 {
		return oci.Descriptor{}, errIncomplete
	}
	if d.Size > oci.MaxManifestSize {
		return oci.Descriptor{}, tooLarge(l.repo, l.target, d.Size)
	}
	return d, nil
}

// readManifest reads a manifest and returns what it is.
func (c *Client) readManifest(ctx context.Context, l lookup) (oci.Descriptor, error) {
	resp, err := c.look(ctx, http.MethodGet, l)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifestSize+1))
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("manifest %s of %s: %w", l.target, l.repo, err)
	}
	if len(raw) > oci.MaxManifestSize {
		return oci.Descriptor{}, tooLarge(l.repo, l.target, max(resp.ContentLength, int64(len(raw))))
	}
	if l.want == "" {
		l.want = digest.Digest(resp.Header.Get(headerDigest))
		if l.want.Validate() != nil {
			l.want = digest.FromBytes(raw)
		}
	}
	d := oci.Descriptor{MediaType: mediaType(resp), Digest: l.want, Size: int64(len(raw))}
	if err := oci.CheckBytes(d, raw); err != nil {
		return oci.Descriptor{}, fmt.Errorf("manifest %s of %s: %w", l.target, l.repo, err)
	}
	if d.MediaType, err = manifestType(d.MediaType, raw); err != nil {
		return oci.Descriptor{}, fmt.Errorf("manifest %s of %s: %w", l.target, l.repo, err)
	}
	return d, nil
}

func tooLarge(repo oci.Repository, target string, size int64) error {
	return fmt.Errorf("manifest %s of %s: %d bytes, more than %d: %w",
		target, repo, size, oci.MaxManifestSize, oci.ErrUnsupported)
}

// mediaType returns that of the answer, without parameters.
func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// manifestType returns the media type of the manifest raw, for which the registry said announced.
func manifestType(announced string, raw []byte) (string, error) {
	if oci.IsManifest(announced) {
		return announced, nil
	}
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fmt.Errorf("%w: the answer is of type %q and no JSON; is this a registry?", oci.ErrUnsupported, printable(announced))
	}
	switch {
	case m.SchemaVersion == 1:
		return "", fmt.Errorf("schema 1 manifest, the format before 2016: %w, push the image anew", oci.ErrUnsupported)
	case oci.IsManifest(m.MediaType):
		return m.MediaType, nil
	case m.MediaType == "" && m.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	case m.MediaType == "" && m.Config != nil:
		return ocispec.MediaTypeImageManifest, nil
	}
	return "", fmt.Errorf("%w: neither image nor index, but %q", oci.ErrUnsupported, printable(m.MediaType))
}

// Tag makes tag name the manifest d, whose bytes are raw.
func (c *Client) Tag(ctx context.Context, to oci.Repository, tag string, d oci.Descriptor, raw []byte) error {
	return c.putManifest(ctx, to, tag, d, raw)
}

// pushManifest stores the manifest d under its digest.
func (c *Client) pushManifest(ctx context.Context, to oci.Repository, d oci.Descriptor, content oci.Content) error {
	r, err := content(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	raw, err := io.ReadAll(oci.Verify(r, d))
	if err != nil {
		return err
	}
	return c.putManifest(ctx, to, d.Digest.String(), d, raw)
}

// putManifest stores raw under target, a tag or the digest of d. The bytes and the media type stay as they are,
// whatever else the registry would like better.
func (c *Client) putManifest(ctx context.Context, to oci.Repository, target string, d oci.Descriptor, raw []byte) error {
	if err := oci.CheckBytes(d, raw); err != nil {
		return err
	}
	resp, err := c.send(ctx, call{
		method: http.MethodPut, repo: to, path: "manifests/" + target, push: true, body: raw,
		header: http.Header{"Content-Type": {d.MediaType}},
		want:   []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent},
	})
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.Header.Get(headerSubject) != "" {
		h, err := c.host(to.Host)
		if err != nil {
			return err
		}
		h.referrers.set(apiThere)
	}
	return checkStored(resp, to, d)
}

// checkStored compares the digest under which the registry says that it stored d, if it says one. One of another
// algorithm is no contradiction: CNCF distribution answers a sha512 push with the sha256.
func checkStored(resp *http.Response, to oci.Repository, d oci.Descriptor) error {
	got := digest.Digest(resp.Header.Get(headerDigest))
	if got.Validate() != nil || got.Algorithm() != d.Digest.Algorithm() || got == d.Digest {
		return nil
	}
	return fmt.Errorf("%s of %s: the registry stored it as %s: %w", d.Digest, to, got, oci.ErrCorrupt)
}
