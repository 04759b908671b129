package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// layerSize is the size of a layer of a sparse bundle, in bytes.
const layerSize = 50_000_000

// sparse writes a plain bundle of the size that is wanted, of images of one layer each. The layers begin as gzip does, so that
// they are stored, and are zeros else, so that the file has holes and takes no room on the disk.
func sparse(ctx context.Context, flags *flag.FlagSet, args []string) (_ any, err error) {
	size := flags.Int64("size", 10e9, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	contents := bundle.Contents{}
	blobs := map[digest.Digest]func() io.Reader{}
	for i := range int(*size / layerSize) {
		layer := func() io.Reader {
			head := fmt.Sprintf("\x1f\x8b\x08 layer %d", i)
			return io.MultiReader(bytes.NewReader([]byte(head)), io.LimitReader(zeros{}, layerSize-int64(len(head))))
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, layer()); err != nil {
			return nil, err
		}
		d := oci.Descriptor{
			MediaType: ocispec.MediaTypeImageLayerGzip, Size: layerSize, Digest: digest.NewDigest(digest.SHA256, sum),
		}
		blobs[d.Digest] = layer
		image := ocitest.Image(ocitest.AMD64, ocitest.Blob{Descriptor: d, DiffID: d.Digest})
		for _, b := range []ocitest.Blob{image.Blob, image.Blobs[0]} {
			blobs[b.Digest] = func() io.Reader { return bytes.NewReader(b.Bytes) }
		}
		contents.Images = append(contents.Images, bundle.Entry{Name: fmt.Sprintf("sparse.test/app-%03d:1", i), Root: image.Node()})
	}
	out, err := os.Create(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	file := &holes{File: out}
	w, err := bundle.NewWriter(file, contents, compress.WriterOptions{Format: compress.Zstd, Level: compress.Fastest})
	if err != nil {
		return nil, err
	}
	err = w.WriteAll(ctx, func(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
		return io.NopCloser(blobs[d.Digest]()), nil
	})
	return map[string]any{"images": len(contents.Images)}, errors.Join(err, w.Close(), file.end())
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// holes is a file that is not written where it is zero.
type holes struct {
	*os.File
	at int64
}

// holeSize is what a file system keeps no less than, in bytes.
const holeSize = 4096

var hole = make([]byte, holeSize)

func (h *holes) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		part := p[n:min(len(p), n+holeSize-int(h.at%holeSize))]
		if !bytes.Equal(part, hole[:len(part)]) {
			_, err = h.WriteAt(part, h.at)
		}
		n += len(part)
		h.at += int64(len(part))
	}
	return n, err
}

// end gives the file its size.
func (h *holes) end() error { return h.Truncate(h.at) }
