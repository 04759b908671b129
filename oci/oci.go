// Package oci holds the nouns of the OCI specifications and the one copy that ferry is built on.
//
// A [Reference] names an image, a [Node] is a manifest or index with what it points to, a [Store] keeps blobs in an
// image layout on disk, and [Copy] moves the union of any number of images from a [Source] to a [Sink]: packing,
// unpacking, copying and serving are that same copy with different ends. A registry, a store and a bundle each are
// such an end.
//
// What moves is not an image but a blob that knows every repository that can give it and every one that needs it, so
// a digest moves once per run, whatever number of images share it.
//
// The package imports nothing else of ferry, prints nothing and reads no environment.
package oci

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor is the OCI content descriptor: media type, digest, size and annotations of a blob.
type Descriptor = ocispec.Descriptor

// Platform is the OCI platform: operating system, architecture and variant.
type Platform = ocispec.Platform

var (
	// ErrNotFound comes back when a repository, tag, manifest or blob is not there.
	ErrNotFound = errors.New("not found")
	// ErrDenied comes back when a registry refuses the credentials that it was given, or asks for some.
	ErrDenied = errors.New("access denied")
	// ErrCorrupt comes back when content does not have the size or the digest of its descriptor. The content that
	// was read is never kept under that digest.
	ErrCorrupt = errors.New("content does not match its descriptor")
	// ErrGone comes back from Source.Open when bytes that were handed out once cannot be read again, as from a pipe.
	ErrGone = errors.New("content was read once and is gone")
	// ErrIncomplete comes back from a Sink that does not take a manifest because it lacks a blob or a manifest that this
	// one points to.
	ErrIncomplete = errors.New("something that the manifest points to is not there")
	// ErrLocked comes back when another run holds the store.
	ErrLocked = errors.New("in use by another run")
)

// Repository is a place that holds blobs and manifests: a repository of a registry (`docker.io`, `library/nginx`), or
// the zero value for ends that have only one place, such as a store and a bundle.
type Repository struct {
	Host string // host[:port], as in a reference
	Path string // without leading or trailing slash
}

// String returns host/path.
func (r Repository) String() string {
	if r.Host == "" {
		return r.Path
	}
	return r.Host + "/" + r.Path
}

// Source gives blobs and manifests.
type Source interface {
	// Open returns the content of d as held in from, from byte offset on; the caller closes it. Reading gives at most
	// d.Size-offset bytes and an error, never io.EOF, when fewer come. Whether they match the digest is for the
	// reader to prove, see [Verify]. Errors: ErrNotFound, ErrDenied, ErrGone.
	Open(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error)
}

// Resolver finds what a reference means now.
type Resolver interface {
	// Resolve returns the descriptor of ref's manifest or index. A reference with a digest resolves to that digest.
	// Errors: ErrNotFound, ErrDenied.
	Resolve(ctx context.Context, ref Reference) (Descriptor, error)
}

// Content opens what a sink is to take, from byte offset on. It may be called again after a failed read, with any
// offset up to what was read so far.
type Content func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Sink takes blobs and manifests. A manifest is told from other blobs by its media type, see [IsManifest].
type Sink interface {
	// Has reports whether to holds the whole of d.
	Has(ctx context.Context, to Repository, d Descriptor) (bool, error)
	// Push stores the content of d in to. The sink proves size and digest while it takes the bytes, and keeps nothing
	// under the digest that does not match: then it returns ErrCorrupt. A sink that holds a part of d already opens
	// the content where that part ends.
	Push(ctx context.Context, to Repository, d Descriptor, c Content) error
}

// Mounter is a Sink that can give a repository a blob that another one of the same host has.
type Mounter interface {
	// Mount makes d, which from holds, appear in to. False without an error means that the sink did not do it and the
	// content has to be pushed.
	Mount(ctx context.Context, from, to Repository, d Descriptor) (bool, error)
}

// Tagger is a Sink whose manifests can be given names.
type Tagger interface {
	// Tagged returns the descriptor (digest, and where known size and media type) that tag names in to now.
	// Errors: ErrNotFound when there is no such tag.
	Tagged(ctx context.Context, to Repository, tag string) (Descriptor, error)
	// Tag makes tag name the manifest d, whose bytes are raw; to holds everything that it points to.
	Tag(ctx context.Context, to Repository, tag string, d Descriptor, raw []byte) error
}

// DigestError tells what was wrong with content that is not what its descriptor says. It is an [ErrCorrupt].
type DigestError struct {
	Want    Descriptor
	Got     digest.Digest // empty when the size was wrong already
	GotSize int64
}

func (e *DigestError) Error() string {
	if e.GotSize != e.Want.Size {
		return fmt.Sprintf("blob %s: got %d bytes, want %d", e.Want.Digest, e.GotSize, e.Want.Size)
	}
	return fmt.Sprintf("blob %s: content has digest %s", e.Want.Digest, e.Got)
}

func (e *DigestError) Is(target error) bool { return target == ErrCorrupt }
