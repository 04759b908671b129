// Package wire is a client of the distribution API that is as plain as it gets: net/http and nothing of ferry, so that
// it can bear witness to what ferry did.
//
// It knows no credentials and retries nothing.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the size in bytes up to which manifests are read.
const maxManifest = 4 << 20

// Media types of Docker's registry API, version 2 schema 2. They mean what their OCI counterparts mean.
const (
	DockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// ErrNotFound comes back when the registry does not have what was asked for.
var ErrNotFound = errors.New("not found")

// Registry is a registry at a URL such as http://127.0.0.1:5000.
type Registry struct {
	URL  string
	HTTP *http.Client // nil means http.DefaultClient
}

// Children returns what the manifest or index raw points to: the manifests of an index, the config and the layers of a
// manifest.
func Children(raw []byte) (manifests, blobs []ocispec.Descriptor, err error) {
	var m struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, nil, err
	}
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	return m.Manifests, append(blobs, m.Layers...), nil
}

// Manifest returns the manifest or index that reference, a tag or a digest, names in repository.
func (r Registry) Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	path := "/v2/" + repository + "/manifests/" + reference
	resp, err := r.do(ctx, http.MethodGet, path, nil, -1, http.Header{"Accept": {
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, DockerIndex, DockerManifest,
	}})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case err != nil:
		return ocispec.Descriptor{}, nil, err
	case len(raw) > maxManifest:
		return ocispec.Descriptor{}, nil, fmt.Errorf("%s: longer than %d bytes", path, maxManifest)
	}
	return ocispec.Descriptor{
		MediaType: resp.Header.Get("Content-Type"),
		Digest:    digest.FromBytes(raw),
		Size:      int64(len(raw)),
	}, raw, nil
}

// Blob opens a blob; the caller closes it.
func (r Registry) Blob(ctx context.Context, repository string, id digest.Digest) (io.ReadCloser, error) {
	resp, err := r.do(ctx, http.MethodGet, "/v2/"+repository+"/blobs/"+id.String(), nil, -1, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// HashBlob reads a blob and returns the sha256 and the size of what came.
func (r Registry) HashBlob(ctx context.Context, repository string, id digest.Digest) (digest.Digest, int64, error) {
	body, err := r.Blob(ctx, repository, id)
	if err != nil {
		return "", 0, err
	}
	defer body.Close()
	digester := digest.SHA256.Digester()
	n, err := io.Copy(digester.Hash(), body)
	return digester.Digest(), n, err
}

// Has reports whether repository holds the blob.
func (r Registry) Has(ctx context.Context, repository string, id digest.Digest) (bool, error) {
	resp, err := r.do(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+id.String(), nil, -1, nil)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// Mount makes a blob that the repository from holds appear in repository. False means that the registry did not.
func (r Registry) Mount(ctx context.Context, from, repository string, id digest.Digest) (bool, error) {
	query := url.Values{"mount": {id.String()}, "from": {from}}
	resp, err := r.do(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?"+query.Encode(), nil, -1, nil)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusCreated, resp.Body.Close()
}

// PushBlob uploads size bytes of content in one piece.
func (r Registry) PushBlob(ctx context.Context, repository string, id digest.Digest, content io.Reader, size int64) error {
	resp, err := r.do(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, -1, nil)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	location, err := resp.Location()
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", id.String())
	location.RawQuery = query.Encode()
	resp, err = r.do(ctx, http.MethodPut, location.RequestURI(), content, size, http.Header{
		"Content-Type": {"application/octet-stream"},
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// PushManifest uploads a manifest or index under a tag or its digest.
func (r Registry) PushManifest(ctx context.Context, repository, reference, mediaType string, raw []byte) error {
	path := "/v2/" + repository + "/manifests/" + reference
	resp, err := r.do(ctx, http.MethodPut, path, bytes.NewReader(raw), int64(len(raw)), http.Header{
		"Content-Type": {mediaType},
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Repositories returns the catalog, which is taken to fit on one page of 1000.
func (r Registry) Repositories(ctx context.Context) ([]string, error) {
	var answer struct{ Repositories []string }
	err := r.json(ctx, "/v2/_catalog?n=1000", &answer)
	return answer.Repositories, err
}

// Tags returns the tags of a repository, which are taken to fit on one page of 1000.
func (r Registry) Tags(ctx context.Context, repository string) ([]string, error) {
	var answer struct{ Tags []string }
	err := r.json(ctx, "/v2/"+repository+"/tags/list?n=1000", &answer)
	return answer.Tags, err
}

func (r Registry) json(ctx context.Context, path string, v any) error {
	resp, err := r.do(ctx, http.MethodGet, path, nil, -1, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// do sends a request and returns an answer with a status of 2xx, else an error that names the request. size is that of
// the body; -1 when there is none.
func (r Registry) do(
	ctx context.Context, method, path string, body io.Reader, size int64, header http.Header,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.URL, "/")+path, body)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		req.Body = http.NoBody // else a length of 0 means that it is not known
	}
	req.ContentLength = max(size, 0)
	for key, values := range header {
		req.Header[key] = values
	}
	client := r.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s %s: %w", method, path, ErrNotFound)
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
}
