package main

import (
	"context"
	"fmt"
	"io"
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
	Referrers(ctx context.Context, img bundle.Image) ([]oci.Referrer, error)
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
	pass *bundle.Pass // when the copy reads the bundle in order
}

// inOrder returns the source for the copy of a compact bundle.
func (p *packedFile) inOrder() oci.Source {
	if p.pass == nil {
		limitGarbage()
		p.pass = p.NewPass()
	}
	return p.pass
}

func (p *packedFile) Close() error {
	if p.pass != nil {
		p.pass.Close()
	}
	return p.file.Close()
}

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
	in, err := std.takeInput("BUNDLE -")
	if err != nil {
		return nil, err
	}
	s, err := bundle.OpenStream(untilDone(ctx, in), bundle.Options{Reader: reading()})
	if err != nil {
		return nil, err
	}
	if s.Head().IsCompact() {
		limitGarbage()
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
