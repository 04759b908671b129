package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// target is what images can be delivered to.
type target interface {
	oci.Source
	oci.Sink
	oci.Mounter
	oci.Tagger
}

// destination is an open target, or several that are one to the copy.
type destination struct {
	target // nil when it is not there yet and nothing is to be moved

	registry *registry.Client  // nil for a layout
	explain  func(error) error // adds what the hints need
	// end closes the target after a run that has ended in err, or in nil, and returns what the run ends in now. It makes what was
	// pushed to a layout safe on the disk, and writes the end of an archive.
	end func(err error) error
}

// openDestination opens the target. With partial, an archive is written when some images failed, too.
func openDestination(o *deliverOptions, partial bool, std *stdio) (*destination, error) {
	if a, ok := o.archive(); ok {
		return openArchive(a, partial, o.DryRun, std)
	}
	if dir, ok := layoutDir(o.Targets[0]); ok {
		return openLayout(dir, o.DryRun)
	}
	r, err := newRemote(&o.Dest, &o.Transfers, std)
	if err != nil {
		return nil, err
	}
	return &destination{
		target: r.Client, registry: r.Client, explain: r.explain, end: func(err error) error { r.Close(); return err },
	}, nil
}

func openLayout(dir string, dryRun bool) (*destination, error) {
	to := &destination{explain: func(err error) error { return err }, end: func(err error) error { return err }}
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
	to.target = store
	to.end = func(err error) error { return cmp.Or(err, store.Close()) }
	return to, nil
}
