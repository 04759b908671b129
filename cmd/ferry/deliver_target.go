package main

import (
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
	close    func() error      // for a layout, makes all that was pushed safe on the disk
}

func openDestination(o *deliverOptions, std *stdio) (*destination, error) {
	if dir, ok := layoutDir(o.Targets[0]); ok {
		return openLayout(dir, o.DryRun)
	}
	r, err := newRemote(&o.Dest, &o.Transfers, std)
	if err != nil {
		return nil, err
	}
	return &destination{target: r.Client, registry: r.Client, explain: r.explain, close: func() error { r.Close(); return nil }}, nil
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
