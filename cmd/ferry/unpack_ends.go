package main

import (
	"context"
	"errors"
	"fmt"
	"io"

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

// openPacked opens the bundle, proves its frame, and that it is the one that is expected. It returns the bundle's name for
// messages, too.
func openPacked(ctx context.Context, o *unpackOptions, std *stdio) (in packed, name string, err error) {
	if o.fromPipe() {
		name = "stdin"
		in, err = openPipe(ctx, std)
	} else {
		in, name, err = openFirst(ctx, o, std)
	}
	if err != nil {
		return nil, "", err
	}
	if err := checkExpected(name, o.Expect, in.ContentID()); err != nil {
		in.Close()
		return nil, "", err
	}
	return in, name, nil
}

// openFirst finds and opens the bundle, after it was verified where that is wished.
func openFirst(ctx context.Context, o *unpackOptions, std *stdio) (packed, string, error) {
	set, err := findBundle(o.Bundles)
	if err != nil {
		return nil, "", err
	}
	in, err := openSet(ctx, set, o, std)
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s: %w", set.Name(), err), set.Close())
	}
	return in, set.Name(), nil
}

// openSet opens the bundle of a set: in place, or in order where its volumes are not there at once and there is somebody to change
// the disks.
func openSet(ctx context.Context, set *bundle.Set, o *unpackOptions, std *stdio) (packed, error) {
	if lacksDisks(set, o.KeepGoing, std) {
		if o.VerifyFirst {
			return nil, usagef("--verify-first: not all volumes are there, and to read the disks one after the other twice is more than anybody wants; " +
				"tags are set after all was read in any case")
		}
		in := (&disks{set: set, std: std}).reader(ctx)
		s, err := openStream(ctx, in)
		if err != nil {
			in.Close()
			return nil, err
		}
		return &packedDisks{Stream: s, set: set, in: in}, nil
	}
	if o.VerifyFirst {
		if err := verifyFirst(ctx, set, o.KeepGoing, std); err != nil {
			return nil, err
		}
	}
	return openFile(ctx, set, o.KeepGoing, std)
}

// packedDisks is a bundle that is read from one disk after the other.
type packedDisks struct {
	*bundle.Stream
	set *bundle.Set
	in  io.Closer
}

func (p *packedDisks) Close() error { return errors.Join(p.Stream.Close(), p.in.Close()) }

// packedFile is a bundle in a file, or in volumes.
type packedFile struct {
	*bundle.Bundle
	set  *bundle.Set
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
	return p.set.Close()
}

// openFile opens the bundle of a set, which is closed with it.
func openFile(ctx context.Context, set *bundle.Set, keepGoing bool, std *stdio) (*packedFile, error) {
	b, err := openBundle(ctx, set, bundle.Options{Reader: reading(), Lenient: keepGoing}, std)
	if err != nil {
		return nil, err
	}
	return &packedFile{Bundle: b, set: set}, nil
}

// verifyFirst reads all of the bundle. With --keep-going, damage is told and no error.
func verifyFirst(ctx context.Context, set *bundle.Set, keepGoing bool, std *stdio) error {
	r, _, err := verifySet(ctx, set, 0, std)
	if err != nil {
		return err
	}
	for _, d := range r.Damage {
		std.complain("damaged " + oneLine(d.String()))
	}
	if len(r.Damage) > 0 && !keepGoing {
		text := fmt.Sprintf("damaged in %s; nothing was pushed", plural(len(r.Damage), "place"))
		return &damagedError{text: text, hits: len(hitImages(r))}
	}
	return nil
}

// openPipe opens a bundle that comes through a pipe, which is an oci.OrderedSource.
func openPipe(ctx context.Context, std *stdio) (packed, error) {
	in, err := std.takeInput("BUNDLE -")
	if err != nil {
		return nil, err
	}
	return openStream(ctx, in)
}

// openStream opens a bundle that is read once and in order.
func openStream(ctx context.Context, in io.Reader) (*bundle.Stream, error) {
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
