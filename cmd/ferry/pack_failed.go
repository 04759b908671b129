package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// images returns the planned images but those that failed or are gone.
func (p *packing) images() []oci.PlannedImage {
	gone := map[string]bool{}
	for _, f := range p.failed {
		gone[f.ref.String()] = true
	}
	for _, ref := range p.gone {
		gone[ref.String()] = true
	}
	return slices.DeleteFunc(slices.Clone(p.plan.Images), func(i oci.PlannedImage) bool { return gone[i.Ref.String()] })
}

// verdict lists the images that failed: why on stderr, and their names on stdout, as lines that can be fed back. The
// stdout of a dry run is its plan, which names them.
func (p *packing) verdict(ctx context.Context) error {
	p.warnGone()
	switch {
	case len(p.plan.Images) == 0:
		return &partialError{errors.New("no image is left to pack: each lacks a platform that was asked for")}
	case len(p.failed) == 0 && len(p.images()) == 0:
		return &partialError{errors.New("no image is left to pack: each was deleted since the registry was listed")}
	case len(p.failed) == 0:
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
	return &partialError{&summaryError{text: p.summary(ctx), err: errors.Join(errs...)}}
}

// explainFailed says why images failed. What all images of a host fail with, as with its certificate, is said once.
func (p *packing) explainFailed() {
	var e explainer
	for _, f := range p.failed {
		e.add(f.ref.String(), f.err)
	}
	e.explain(p.std)
}

// explainer says why images failed, once for all that failed with the same text.
type explainer struct {
	texts  []string            // in the order in which they came
	images map[string][]string // their names, by text
}

func (e *explainer) add(image string, err error) {
	if e.images == nil {
		e.images = map[string][]string{}
	}
	text := err.Error()
	if e.images[text] == nil {
		e.texts = append(e.texts, text)
	}
	e.images[text] = append(e.images[text], image)
}

func (e *explainer) explain(std *stdio) {
	for _, text := range e.texts {
		if names := e.images[text]; len(names) == 1 {
			std.complain(fmt.Sprintf("ferry: image %s: %s", names[0], text))
		} else {
			std.complain(fmt.Sprintf("ferry: %s (%s): %s", plural(len(names), "image"), someNames(names), text))
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
func (p *packing) summary(ctx context.Context) string {
	text := fmt.Sprintf("%d of %s could not be fetched", len(p.failed), plural(len(p.plan.Images), "image"))
	kept := "; " + p.keptText(ctx)
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
