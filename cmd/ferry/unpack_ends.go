package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// packed is a bundle that is open for unpacking.
type packed interface {
	oci.Source
	Head() *bundle.Head
	ContentID() string
	Graph(ctx context.Context, img bundle.Image) (*oci.Node, error)
	Close() error
}

// openPacked opens the bundle, proves its frame, and that it is the one that is expected.
func openPacked(ctx context.Context, o *unpackOptions, std *stdio) (packed, error) {
	open := openFile
	if o.fromPipe() {
		open = openPipe
	}
	in, err := open(ctx, o, std)
	if err != nil {
		return nil, err
	}
	if err := checkExpected(o.bundleName(), o.Expect, in.ContentID()); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// packedFile is a bundle in a file.
type packedFile struct {
	*bundle.Bundle
	file *os.File
}

func (p *packedFile) Close() error { return p.file.Close() }

func openFile(ctx context.Context, o *unpackOptions, std *stdio) (_ packed, err error) {
	if o.VerifyFirst {
		if err := verifyFirst(ctx, o, std); err != nil {
			return nil, err
		}
	}
	f, size, err := openBundle(o.Bundle)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	b, err := bundle.Open(ctx, f, size, bundle.Options{Reader: reading(), Lenient: o.KeepGoing})
	if err != nil {
		return nil, err
	}
	for _, d := range b.Damage() {
		std.warn("%s: %s", o.Bundle, oneLine(d.String()))
	}
	return &packedFile{Bundle: b, file: f}, nil
}

// verifyFirst reads all of the bundle. With --keep-going, damage is told and no error.
func verifyFirst(ctx context.Context, o *unpackOptions, std *stdio) error {
	r, _, err := verifyFile(ctx, o.Bundle, 0, std)
	if err != nil {
		return err
	}
	for _, d := range r.Damage {
		std.complain("damaged " + oneLine(d.String()))
	}
	if len(r.Damage) > 0 && !o.KeepGoing {
		text := fmt.Sprintf("damaged in %s; nothing was pushed", plural(len(r.Damage), "place"))
		return &damagedError{text: text, hits: len(hitImages(r))}
	}
	return nil
}

// openPipe opens a bundle that comes through a pipe, which is an oci.OrderedSource.
func openPipe(ctx context.Context, o *unpackOptions, std *stdio) (packed, error) {
	s, err := bundle.OpenStream(untilDone(ctx, std.In), bundle.Options{Reader: reading()})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// untilDone returns a reader of what r gives that fails as soon as ctx ends, even while r waits for its bytes.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(in, struct{ io.Reader }{r}, make([]byte, pipeBufferSize))
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })
	return out
}

// pipeBufferSize is how many bytes are asked of stdin at once.
const pipeBufferSize = 256 << 10

// target is what images can be unpacked to.
type target interface {
	oci.Source
	oci.Sink
	oci.Mounter
	oci.Tagger
}

// destination is an open target.
type destination struct {
	target // nil when it is not there yet and nothing is to be moved

	explain func(error) error // adds what the hints need
	close   func() error      // for a layout, makes all that was pushed safe on the disk
}

func openDestination(o *unpackOptions, std *stdio) (*destination, error) {
	if dir, ok := o.layoutDir(); ok {
		return openLayout(dir, o.DryRun)
	}
	r, err := newRemote(&o.Dest, &o.Transfers, std)
	if err != nil {
		return nil, err
	}
	return &destination{target: r.Client, explain: r.explain, close: func() error { r.Close(); return nil }}, nil
}

func openLayout(dir string, dryRun bool) (*destination, error) {
	to := &destination{explain: func(err error) error { return err }, close: func() error { return nil }}
	if dir == "" {
		return nil, usagef("target oci: needs a folder, as in oci:layout")
	}
	if _, err := os.Stat(dir); dryRun && errors.Is(err, fs.ErrNotExist) {
		return to, nil
	}
	store, err := oci.OpenStore(dir)
	if err != nil {
		return nil, fmt.Errorf("target oci:%s: %w", dir, err)
	}
	to.target, to.close = store, store.Close
	return to, nil
}
