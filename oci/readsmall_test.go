package oci_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// oneBlob is a source that gives the same bytes for every blob.
type oneBlob []byte

func (b oneBlob) Open(context.Context, oci.Repository, oci.Descriptor, int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b)), nil
}

func TestReadSmall(t *testing.T) {
	content := []byte("content")
	d := oci.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	if raw, err := oci.ReadSmall(t.Context(), oneBlob(content), oci.Repository{}, d); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("got %q, %v", raw, err)
	}
	if _, err := oci.ReadSmall(t.Context(), oneBlob("confent"), oci.Repository{}, d); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("other content: %v", err)
	}
	d.Size = oci.MaxManifestSize + 1
	if _, err := oci.ReadSmall(t.Context(), nil, oci.Repository{}, d); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a large blob: %v", err)
	}
}
