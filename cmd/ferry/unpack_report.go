package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// report prints what was done and returns the error that the run ends with. ended is why it ended early, if it did.
func (u *unpacking) report(r *oci.Report, ended error) error {
	u.say(r, ended == nil)
	if ended != nil {
		u.sayHit(ended)
		if !isDamage(ended) {
			u.std.say("what was pushed stays there, and the same command goes on from it")
		}
		return ended
	}
	return u.verdict()
}

// say prints the summary: counts, changed tags, renamed images.
func (u *unpacking) say(r *oci.Report, whole bool) {
	var pushed, complete, kept, failed int
	for _, n := range u.names {
		switch {
		case n.action == actionComplete:
			complete++
		case n.action == actionKeep:
			kept++
		case n.err != nil:
			failed++
		default:
			pushed++
		}
		u.sayName(n)
	}
	nothing := whole && failed == 0 && r.Moved+r.Mounted+r.Manifests+r.Tags == 0
	if nothing { // what was looked at again, as an image without a tag always is, was complete
		pushed, complete = 0, complete+pushed
	}
	rest := "failed"
	if !whole { // the run ended before most of them were tried
		rest = "not finished"
	}
	u.std.say("images: %d pushed, %d complete already, %d kept as they were, %d %s", pushed, complete, kept, failed, rest)
	u.std.say("blobs: %d uploaded, %d mounted, %d there already; %s read from the bundle",
		r.Moved, r.Mounted, r.Skipped, formatSize(r.MovedBytes))
	if nothing {
		u.std.say("nothing was moved: the target has all of it already")
	}
}

// sayName prints what is to be known about one name: that it was renamed, or that its tag has changed or was kept.
func (u *unpacking) sayName(n *plannedName) {
	if len(n.target.Renamed) > 0 && n.err == nil {
		u.std.say("renamed: %s is %s (%s)", n.source.Name(), n.target, strings.Join(n.target.Renamed, ", "))
	}
	switch {
	case !n.changes() || n.err != nil:
	case n.action == actionKeep:
		u.std.say("kept: %s is still %s, the bundle has %s", n.target, n.current, n.image.Digest)
	default:
		u.std.say("changed: %s from %s to %s", n.target, n.current, n.image.Digest)
	}
}

// sayHit prints the images that damage hits.
func (u *unpacking) sayHit(err error) {
	var damage *bundle.DamageError
	if !errors.As(err, &damage) {
		return
	}
	for _, name := range damage.Images {
		u.std.complain("  hits " + oneLine(name))
	}
}

// verdict lists the images that failed, on stdout as lines that can be fed back, and returns the error that they make.
func (u *unpacking) verdict() error {
	var first error
	var why explainer
	failed, listed := 0, map[string]bool{}
	for _, n := range u.names {
		if n.err == nil {
			continue
		}
		failed++
		if first == nil || errors.Is(first, oci.ErrHeld) {
			first = n.err
		}
		why.add(n.source.Name(), n.err)
		if name := n.source.Name(); !listed[name] {
			listed[name] = true
			if _, err := fmt.Fprintln(u.std.Out, name); err != nil {
				return err
			}
		}
	}
	if failed == 0 {
		return nil
	}
	why.explain(u.std)
	err := error(&summaryError{text: fmt.Sprintf("%d of %s could not be unpacked", failed, plural(len(u.names), "image")), err: first})
	if failed < len(u.names) || u.o.KeepGoing {
		return &partialError{err}
	}
	return err
}

// summaryError stands for errors that were printed already. The one inside is for the hints and the exit code.
type summaryError struct {
	text string
	err  error
}

func (e *summaryError) Error() string { return e.text }
func (e *summaryError) Unwrap() error { return e.err }

// writeNames writes the file of --write-names: the names that mean at the target what they should, or that were kept; with
// planned those that are to be.
func (u *unpacking) writeNames(planned bool) error {
	if u.o.WriteNames == "" {
		return nil
	}
	var b strings.Builder
	for _, n := range u.names {
		if planned || n.err == nil {
			fmt.Fprintf(&b, "%s\t%s\n", n.source.Name(), n.targetName())
		}
	}
	if err := writeWhole(u.o.WriteNames, []byte(b.String())); err != nil {
		return fmt.Errorf("--write-names: %w", err)
	}
	return nil
}

// targetName returns the name by which the image can be pulled from the target.
func (n *plannedName) targetName() string {
	ref := oci.Reference{Repository: n.target.Repository, Tag: n.target.Tag}
	if ref.Tag == "" {
		ref.Digest = n.image.Digest
	}
	return ref.String()
}
