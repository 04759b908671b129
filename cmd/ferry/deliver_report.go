package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// report prints what was done and returns the error that the run ends with. ended is why it ended early, if it did.
func (d *delivery) report(r *oci.Report, ended error) error {
	d.say(r, ended == nil)
	if ended != nil {
		d.from.sayEnded(ended)
		return ended
	}
	return d.verdict()
}

// deliveryCounts are numbers of names at one target.
type deliveryCounts struct{ sent, complete, kept, failed int }

func (d *delivery) count() []deliveryCounts {
	counts := make([]deliveryCounts, len(d.o.Targets))
	for _, n := range d.names {
		c := &counts[n.at]
		switch {
		case n.err != nil:
			c.failed++
		case n.action == actionComplete:
			c.complete++
		case n.action == actionKeep:
			c.kept++
		default:
			c.sent++
		}
	}
	return counts
}

// say prints the summary: counts, changed tags, renamed images.
func (d *delivery) say(r *oci.Report, whole bool) {
	for _, n := range d.names {
		d.sayName(n)
	}
	counts := d.count()
	failed := 0
	for _, c := range counts {
		failed += c.failed
	}
	nothing := whole && failed == 0 && r.Moved+r.Mounted+r.Manifests+r.Tags+r.Attached == 0
	rest := "failed"
	if !whole { // the run ended before most of them were tried
		rest = "not finished"
	}
	if d.o.toArchive() {
		d.std.say("images: %d written, %d %s", counts[0].sent, counts[0].failed, rest)
		d.std.say("blobs: %d written; %s read from %s", r.Moved, formatSize(r.MovedBytes), d.words.source)
	} else {
		d.sayCounts(r, counts, nothing, rest)
	}
	d.sayReferrers(r)
	sayRetries(d.std, d.from.source(), d.to.target)
	if nothing {
		d.std.say("nothing was moved: the target has all of it already")
	}
	d.sayPrivate()
}

// sayCounts prints what came to each of the targets.
func (d *delivery) sayCounts(r *oci.Report, counts []deliveryCounts, nothing bool, rest string) {
	for at, c := range counts {
		if nothing { // what was looked at again, as an image without a tag always is, was complete
			c.sent, c.complete = 0, c.complete+c.sent
		}
		to := ""
		if len(counts) > 1 {
			to = " to " + d.o.Targets[at]
		}
		d.std.say("images: %d %s%s, %d complete already, %d kept as they were, %d %s",
			c.sent, d.words.done, to, c.complete, c.kept, c.failed, rest)
	}
	d.std.say("blobs: %d uploaded, %d mounted, %d there already; %s read from %s",
		r.Moved, r.Mounted, r.Skipped, formatSize(r.MovedBytes), d.words.source)
}

// sayReferrers prints what became of what belongs to the images, and which of its tags have changed or were kept.
func (d *delivery) sayReferrers(r *oci.Report) {
	for _, t := range r.Retagged {
		at := oci.Reference{Repository: t.Repository, Tag: t.Tag}
		if t.Kept {
			d.std.say("kept: %s is still %s, %s has %s", at, t.From, d.words.source, t.To)
		} else {
			d.std.say("changed: %s from %s to %s", at, t.From, t.To)
		}
	}
	left := 0
	for _, n := range d.names {
		left += n.left
	}
	if r.Attached+r.AttachedSame+left == 0 {
		return
	}
	text := fmt.Sprintf("referrers: %d %s, %d there already", r.Attached, d.words.done, r.AttachedSame)
	if left > 0 {
		text += fmt.Sprintf(", %d left, as what they are about is not at the target", left)
	}
	d.std.say("%s", text)
}

// sayName prints what is to be known about one name: that it was renamed, or that its tag has changed or was kept.
func (d *delivery) sayName(n *plannedName) {
	if len(n.target.Renamed) > 0 && n.err == nil {
		d.std.say("renamed: %s is %s (%s)", n.image.ref.Name(), n.target, strings.Join(n.target.Renamed, ", "))
	}
	if n.ordinary && n.err == nil {
		d.std.say("rewritten: %s has ordinary layers in place of foreign ones, and is %s, not %s", n.target, n.want, n.image.digest)
	}
	switch {
	case n.err != nil:
	case n.merge != nil && n != n.merge.names[0]: // it is said once
	case n.merge != nil && n.current != n.want:
		d.std.say("merged: %s is %s now: %s", n.target, n.want, n.merge)
	case !n.changes():
	case n.action == actionKeep:
		d.std.say("kept: %s is still %s, %s has %s", n.target, n.current, d.words.source, n.want)
	default:
		d.std.say("changed: %s from %s to %s", n.target, n.current, n.want)
	}
}

// lacks reports whether it is known of some image that it cannot be had, or, when there shall be all tags or none, that it
// cannot come to some target. What a quota keeps back today can be had tomorrow, when what moves now is done.
func (d *delivery) lacks() bool {
	var quota *registry.QuotaError
	return slices.ContainsFunc(d.failed, func(f failedImage) bool { return !errors.As(f.err, &quota) }) ||
		slices.ContainsFunc(d.names, func(n *plannedName) bool {
			return n.err != nil && (d.o.Atomic || !n.down && !errors.As(n.err, &quota))
		})
}

// verdict lists the images that failed, on stdout as lines that can be fed back, and returns the error that they make. The
// stdout of a dry run is its plan, which names them.
func (d *delivery) verdict() error {
	var first error
	var why explainer
	var lines []string
	var all []error
	add := func(name, line string, err error) {
		all = append(all, err)
		if first == nil || errors.Is(first, oci.ErrHeld) {
			first = err
		}
		why.add(name, err)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, f := range d.failed {
		add(f.ref.String(), f.ref.String(), f.err)
	}
	someWhole := false
	for _, n := range d.names {
		if n.err != nil {
			add(n.image.ref.Name(), n.image.line, n.err)
		} else {
			someWhole = true
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if !d.o.DryRun {
		if _, err := fmt.Fprintln(d.std.Out, strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	why.explain(d.std)
	text := fmt.Sprintf("%d of %s could not be %s", len(lines), plural(len(d.images)+len(d.failed), "image"), d.words.undone)
	if len(d.o.Targets) > 1 {
		text += " to all targets"
	}
	err := error(&summaryError{text: text, err: first, all: all})
	if someWhole || d.keepGoing {
		return &partialError{err}
	}
	return err
}

// summaryError stands for errors that were printed already. The one inside is for the exit code and the hints.
type summaryError struct {
	text string
	err  error
	all  []error // err and others, for hints about several; may be nil
}

func (e *summaryError) Error() string { return e.text }
func (e *summaryError) Unwrap() error { return e.err }

// writeNames writes the file of --write-names: the names that mean at the target what they should, or that were kept; with
// planned those that are to be.
func (d *delivery) writeNames(planned bool) error {
	if d.o.WriteNames == "" {
		return nil
	}
	var b strings.Builder
	for _, n := range d.names {
		if planned || n.err == nil {
			fmt.Fprintf(&b, "%s\t%s\n", n.image.ref.Name(), n.targetName())
		}
	}
	if err := writeWhole(d.o.WriteNames, []byte(b.String())); err != nil {
		return fmt.Errorf("--write-names: %w", err)
	}
	return nil
}
