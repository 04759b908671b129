package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// What becomes of a tag that is at the target and names other content.
const (
	existingOverwrite = "overwrite"
	existingKeep      = "keep"
	existingFail      = "fail"
)

// deliverOptions are the options of every command that puts images under names at a target.
type deliverOptions struct {
	Targets []string // REGISTRY[/PREFIX], or a single oci:DIR, oci-archive:FILE or docker-archive:FILE

	Dest       registryFlags
	Names      namingOptions
	Harbor     harborFlags
	WriteNames string // file for the names; empty: none
	Existing   string // one of the constants above
	Merge      mergeFlags
	Transfers  transferFlags

	DryRun  bool
	Atomic  bool // set all tags at the end, or none
	Recheck bool // walk images whose tag is right already

	NoReferrers bool // leave what belongs to the images
	Ordinary    bool // make ordinary layers of foreign ones
}

func (o *deliverOptions) add(set *pflag.FlagSet) {
	o.Dest.add(set, sideDest)
	o.Names.add(set)
	o.Harbor.add(set)
	o.Transfers.add(set)
	set.StringVar(&o.WriteNames, "write-names", "", "write the names to `FILE`: source, tab, target")
	set.StringVar(&o.Existing, "existing", existingOverwrite,
		"a tag at the target that names other content: overwrite, keep or fail")
	o.Merge.add(set)
	set.BoolVar(&o.DryRun, "dry-run", false, "print the names at the target and what is there, and move nothing")
	set.BoolVar(&o.Atomic, "atomic", false, "set all tags at the end, and none when an image failed")
	set.BoolVar(&o.NoReferrers, "no-referrers", false, "leave signatures, SBOMs and whatever else belongs to the images")
	set.BoolVar(&o.Ordinary, "rewrite-foreign-layers", false,
		"make ordinary layers of those that name URLs, as Windows' have; such images get another digest")
	set.BoolVar(&o.Recheck, "recheck", false, "look for every blob of images whose tag is right already, too")
}

// check finds what is wrong with the options alone.
func (o *deliverOptions) check() error {
	if err := o.Transfers.check(); err != nil {
		return err
	}
	if err := o.Harbor.check(); err != nil {
		return err
	}
	if err := checkOneOf("existing", o.Existing, existingOverwrite, existingKeep, existingFail); err != nil {
		return err
	}
	if err := o.Merge.check(o.Existing); err != nil {
		return err
	}
	if err := o.Dest.check(); err != nil {
		return err
	}
	if o.Ordinary && o.Merge.Platforms {
		return usagef("--rewrite-foreign-layers: it cannot be combined with --merge-platforms")
	}
	if _, err := o.Dest.authorities(); err != nil {
		return err
	}
	for _, target := range o.Targets {
		if err := o.checkLocal(target); err != nil {
			return err
		}
	}
	return nil
}

// checkLocal finds out what cannot be given together with a target that is no registry.
func (o *deliverOptions) checkLocal(target string) error {
	archive, isArchive := parseArchive(target)
	what := "an archive"
	if !isArchive {
		what = "a folder"
	}
	switch {
	case !isLocal(target):
		return nil
	case len(o.Targets) > 1:
		return usagef("target %s: %s has to be the only target", target, what)
	case o.Names.given():
		return usagef("target %s: names are kept as they are there, so %s cannot be given", target, o.Names.flags())
	case o.Harbor.Create:
		return usagef("target %s: %s has no projects, so --create-projects cannot be given", target, what)
	case isArchive && o.Merge.Platforms:
		return usagef("target %s: an archive is written anew, so there is nothing for --merge-platforms in it", target)
	case isArchive:
		return archive.check()
	}
	return nil
}

// toLocal reports whether the target is a folder or an archive, where names are kept.
func (o *deliverOptions) toLocal() bool { return isLocal(o.Targets[0]) }

// isLocal tells a folder and an archive from a registry.
func isLocal(target string) bool {
	_, layout := layoutDir(target)
	_, archive := parseArchive(target)
	return layout || archive
}

// layoutDir returns the folder of a target oci:DIR, and whether the target is one.
func layoutDir(target string) (string, bool) { return strings.CutPrefix(target, "oci:") }

// namings returns the rules for each target. All errors are mistakes in the command line or in the file of --map.
func (o *deliverOptions) namings() ([]*registry.Naming, error) {
	namings := make([]*registry.Naming, len(o.Targets))
	var hosts []string
	for i, target := range o.Targets {
		var err error
		if namings[i], err = o.Names.naming(target); err != nil {
			return nil, err
		}
		if namings[i] != nil {
			namings[i].Merged = o.Merge.Platforms
			hosts = append(hosts, namings[i].Host)
		}
	}
	return namings, o.Dest.checkHosts(hosts)
}

// origin is where a delivery gets its images.
type origin interface {
	// source returns the source of the blobs itself, so that the copy sees all of its abilities.
	source() oci.Source
	// name returns what messages call the origin.
	name() string
	// load gets ready for graph to be called for each of the images, several at a time where that helps. What is wrong
	// with one of them is for graph to say.
	load(ctx context.Context, images []*deliverable) error
	// graph returns the manifests of an image. It is called when the image is to be pushed.
	graph(ctx context.Context, img *deliverable) (*oci.Node, error)
	// original returns the index at the source of an image that was rebuilt with fewer platforms, without its children, or
	// nil. It is called after graph.
	original(ctx context.Context, img *deliverable) (*oci.Node, error)
	// referrers returns what belongs to an image, each after what it is about. It is called when the image is to be pushed
	// or is at the target already.
	referrers(ctx context.Context, img *deliverable) ([]oci.Referrer, error)
	// stops tells the errors of graph and of the copy that end the run.
	stops(err error) bool
	// blame returns an error of the copy with what is known of the side that failed, as the hints need it.
	blame(err error) error
	// sayEnded says what else there is to say when err has ended the copy early.
	sayEnded(err error)
}

// deliverWords are the words in which a command speaks of its delivery.
type deliverWords struct {
	command string // "unpack"
	done    string // what becomes of an image that is sent: "pushed"
	undone  string // as in: could not be "unpacked"
	source  string // "the bundle"
	counted bool   // manifests come from registries that count it, so none is loaded for a plan that is refused already
}

// delivery puts images under names at a target: what unpack and copy share. Plan finds the names and what they mean at
// the target, and moves nothing; then comes either writePlan or run.
type delivery struct {
	o     *deliverOptions
	std   *stdio
	words deliverWords
	from  origin
	to    *destination
	// steps come one after the other when the names and what they mean at the target are known, and before it is decided
	// what is to be done about each. A step may refuse the plan, and may change what a name is to mean, see plannedName.
	steps []func(ctx context.Context, names []*plannedName) error

	// wasPublic reports whether everybody may pull the image where it comes from, as far as that is known.
	wasPublic func(context.Context, *deliverable) bool

	keepGoing bool // an end without any image is partial, too

	images []*deliverable
	failed []failedImage  // images that were asked for, and of which it is known before the copy that they cannot be had
	names  []*plannedName // one for each image and each of its names, in the order of images

	projects []*harborProject // those that the names are in, in their order
	problems []planProblem    // why the plan cannot be carried out
}

// deliverable is an image that is to be at the target.
type deliverable struct {
	ref    oci.Reference
	line   string        // its name on stdout when it failed, as it can be given to ferry again
	digest digest.Digest // of its manifest or index
	from   []oci.Repository
}

// plannedName is one image under one name at the target.
type plannedName struct {
	image    *deliverable
	target   registry.TargetName
	at       int            // which of the targets it is
	project  *harborProject // nil when the target is no Harbor
	want     digest.Digest  // what the name is to mean: the image, unless a step says otherwise
	root     *oci.Node      // of want; nil until it is needed, when a step has not set it
	current  digest.Digest  // what the name means at the target before the run; empty: nothing
	merge    *nameMerge     // nil unless it is merged with others
	ordinary bool           // it has got another digest by rewriteForeign
	left     int            // referrers that are not pushed, since what they are about is not
	action   action
	err      error // why the image is not at the target after the run
	down     bool  // because the target cannot be spoken to
}

// action is what is to be done about a name.
type action int

const (
	actionPush     action = iota
	actionComplete        // the tag names the image already
	actionKeep            // the tag names other content and stays
)

// closed reports whether the name cannot even be asked for.
func (n *plannedName) closed() bool {
	return n.down || n.project != nil && (n.project.missing || n.project.refused)
}

// changes reports whether the name means other content at the target now.
func (n *plannedName) changes() bool { return n.current != "" && n.current != n.want }

// targetName returns the name by which the image can be pulled from the target.
func (n *plannedName) targetName() string {
	ref := oci.Reference{Repository: n.target.Repository, Tag: n.target.Tag}
	if ref.Tag == "" {
		ref.Digest = n.want
	}
	return ref.String()
}

// run moves what the plan says and reports it.
func (d *delivery) run(ctx context.Context) error {
	if err := d.createProjects(ctx); err != nil {
		return d.to.explain(err)
	}
	jobs, names, err := d.jobs(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", d.from.name(), err)
	}
	report, err := d.copy(ctx, jobs)
	for i, o := range report.Outcomes {
		names[i].err = withAttestations(names[i].root, d.blame(o.Err))
	}
	if err == nil {
		err = d.nameUntagged(ctx, jobs, names)
	}
	if lerr := d.writeNames(false); err == nil {
		err = lerr
	}
	return d.report(report, d.blame(err))
}

// jobs returns the work of the copy, and for each job the name that it is about. An image whose manifests cannot be had
// fails alone, unless the origin says that this ends the run.
func (d *delivery) jobs(ctx context.Context) (jobs []oci.Job, names []*plannedName, err error) {
	parts := map[*deliverable]*imageParts{}
	for _, n := range d.names {
		if n.action == actionKeep || n.err != nil {
			continue
		}
		job, err := d.job(ctx, n, parts)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil && d.from.stops(err):
			return nil, nil, err
		case err != nil:
			n.err = err
		case job != nil:
			jobs, names = append(jobs, *job), append(names, n)
		}
	}
	return jobs, names, nil
}

// imageParts is what the origin has given of an image.
type imageParts struct {
	root      *oci.Node
	referrers []oci.Referrer
}

// job returns the work for one name: nil when there is none. An image that is complete at the target gets what belongs to
// it, as it may have been signed since.
func (d *delivery) job(ctx context.Context, n *plannedName, parts map[*deliverable]*imageParts) (_ *oci.Job, err error) {
	of := parts[n.image]
	if of == nil {
		of = &imageParts{}
		if of.referrers, err = d.referrers(ctx, n.image); err != nil {
			return nil, err
		}
		parts[n.image] = of
	}
	to := oci.Target{
		Repository: n.target.Repository, Tag: n.target.Tag, Current: n.current, Whole: n.action == actionComplete,
	}
	if to.Whole && len(of.referrers) == 0 {
		return nil, nil
	}
	if n.root == nil && of.root == nil {
		if of.root, err = d.from.graph(ctx, n.image); err != nil {
			return nil, err
		}
	}
	if n.root == nil {
		n.root = of.root
	}
	attached, left := oci.AttachTo(n.root, of.referrers)
	if n.left = len(left); to.Whole && len(attached) == 0 {
		return nil, nil
	}
	return &oci.Job{
		Name: n.image.ref.Name(), Root: n.root, From: n.image.from, To: []oci.Target{to}, Attached: attached,
	}, nil
}

// referrers returns what is to go along with an image.
func (d *delivery) referrers(ctx context.Context, img *deliverable) ([]oci.Referrer, error) {
	if d.o.NoReferrers {
		return nil, nil
	}
	return d.from.referrers(ctx, img)
}

// copy runs the copy with its progress. The report is never nil.
func (d *delivery) copy(ctx context.Context, jobs []oci.Job) (*oci.Report, error) {
	watch := newCopyWatch(d.std, d.words.command, jobs)
	defer watch.end()
	o := oci.CopyOptions{
		Transfers: d.o.Transfers.N, LargestFirst: !d.o.toArchive(), HoldTags: d.o.Atomic, Stop: d.from.stops, Lost: d.loses,
		KeepAttached: d.o.Existing != existingOverwrite, Events: watch.event,
	}
	if d.o.toArchive() {
		o.Transfers = 1 // which makes the order of the blobs certain, and lets a source that has one keep to it
	}
	return oci.Copy(ctx, d.from.source(), d.to.target, jobs, o)
}

// loses tells the errors after which one of several targets is given up.
func (d *delivery) loses(err error) bool {
	var unreachable *registry.UnreachableError
	return len(d.o.Targets) > 1 && errors.As(err, &unreachable)
}

// blame returns an error of the copy with what is known of the side that failed.
func (d *delivery) blame(err error) error {
	if err == nil || errors.Is(err, oci.ErrHeld) {
		return err
	}
	return d.from.blame(err)
}

// nameUntagged gives the images that have only a digest their names in a layout or an archive, which without a name could not be
// found there. A registry needs no such name.
func (d *delivery) nameUntagged(ctx context.Context, jobs []oci.Job, names []*plannedName) error {
	if !d.o.toLocal() {
		return nil
	}
	for i, n := range names {
		if n.target.Tag != "" || n.err != nil {
			continue
		}
		root, at := jobs[i].Root, n.target.Repository
		at.Path += "@" + root.Digest.String()
		if err := d.to.Tag(ctx, at, "", root.Descriptor, root.Raw); err != nil {
			return err
		}
	}
	return nil
}
