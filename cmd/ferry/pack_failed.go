package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// images returns the planned images but those that failed.
func (p *packing) images() []oci.PlannedImage {
	gone := map[string]bool{}
	for _, f := range p.failed {
		gone[f.ref.String()] = true
	}
	return slices.DeleteFunc(slices.Clone(p.plan.Images), func(i oci.PlannedImage) bool { return gone[i.Ref.String()] })
}

// verdict lists the images that failed: why on stderr, and their names on stdout, as lines that can be fed back. The
// stdout of a dry run is its plan, which names them.
func (p *packing) verdict() error {
	if len(p.failed) == 0 {
		if len(p.plan.Images) == 0 {
			return &partialError{errors.New("no image is left to pack: each lacks a platform that was asked for")}
		}
		return nil
	}
	p.explainFailed()
	var errs []error
	for _, f := range p.failed {
		errs = append(errs, f.err)
		if p.o.DryRun {
			continue
		}
		if _, err := fmt.Fprintln(p.std.Out, f.ref); err != nil {
			return err
		}
	}
	return &partialError{&summaryError{text: p.summary(), err: errors.Join(errs...)}}
}

// explainFailed says why images failed. What all images of a host fail with, as with its certificate, is said once.
func (p *packing) explainFailed() {
	var texts []string
	refs := map[string][]string{}
	for _, f := range p.failed {
		text := f.err.Error()
		if refs[text] == nil {
			texts = append(texts, text)
		}
		refs[text] = append(refs[text], f.ref.String())
	}
	for _, text := range texts {
		if names := refs[text]; len(names) == 1 {
			p.std.complain(fmt.Sprintf("ferry: image %s: %s", names[0], text))
		} else {
			p.std.complain(fmt.Sprintf("ferry: %s (%s): %s", plural(len(names), "image"), someNames(names), text))
		}
	}
}

// someNames returns the first names of a list that can be long, in one line.
func someNames(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// summary says in one sentence what the failures came to.
func (p *packing) summary() string {
	text := fmt.Sprintf("%d of %s could not be fetched", len(p.failed), plural(len(p.plan.Images), "image"))
	kept := "; " + p.keptText()
	switch {
	case p.o.DryRun:
		return fmt.Sprintf("%d of %s cannot be fetched", len(p.failed), plural(len(p.plan.Images), "image"))
	case p.written:
		return text + ", and the bundle lacks them" + kept
	case len(p.images()) == 0:
		return text + "; no bundle was written"
	}
	return text + "; no bundle was written, --keep-going writes one without them" + kept
}

// failedNames returns the names of the images that failed.
func (p *packing) failedNames() []string {
	names := make([]string, len(p.failed))
	for i, f := range p.failed {
		names[i] = f.ref.String()
	}
	return names
}
