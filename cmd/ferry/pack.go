package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// packOptions are the options of ferry pack.
type packOptions struct {
	Images []string // references
	Files  []string // lists of references; "-" is stdin
	Output string   // its ending is the compressor

	Source    registryFlags
	Platforms []string // none: all
	Missing   string   // what becomes of images that lack one of them: fail, available or drop
	Repin     bool     // filter references with a digest, too
	Store     string   // folder that is kept; empty: one of this output's own
	Level     string
	Labels    []string // key=value
	Created   string   // RFC 3339; empty: SOURCE_DATE_EPOCH or none
	Transfers int
	Jobs      int

	DryRun    bool
	KeepGoing bool // write the bundle without the images that failed
	Refresh   bool // forget what an earlier run resolved
}

// The values of --platform-missing.
var missingPolicies = map[string]oci.MissingPolicy{
	"fail": oci.MissingFail, "available": oci.MissingAvailable, "drop": oci.MissingDrop,
}

func newPackCommand(std *stdio) *cobra.Command {
	var o packOptions
	cmd := &cobra.Command{
		Use:   "pack [IMAGE...] -o BUNDLE",
		Short: "Fetch images and write them into one bundle",
		Long: `Fetch images, every platform unless --platform chooses, and write them into one bundle. The ending of BUNDLE chooses the
compressor: .tar.zst, .tar.xz or .tar. Beside it appears BUNDLE.sha256.

A list (-f) has one reference a line; # begins a comment, and Docker's short forms are known. Each blob is fetched
once, whatever number of images share it, into a store on the disk: a folder of this bundle's own under the user's
cache folder, removed when the bundle is whole, or the one of --store, which is kept, so that the next pack fetches only
what is new. A run that was stopped, however hard, goes on where it was when the same command is given again, with the
images that it resolved then; --refresh resolves them anew.

An image that cannot be fetched does not stop the others, but no bundle is written then, unless --keep-going: the
bundle says what is missing. The images that failed are printed on stdout, as lines for -f, and the exit code is 4.`,
		Example: `  ferry pack -f images.list -o k8s.tar.zst
  ferry pack -f images.list --platform linux/amd64,linux/arm64 -o k8s.tar.zst
  ferry pack --dry-run -f images.list -o k8s.tar.zst
  ferry pack --store /var/cache/ferry -f images.list -o k8s.tar.xz
  ferry pack nginx:1.27 registry.k8s.io/pause:3.9 -o two.tar.zst`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Images = args
			return runPack(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	set.StringArrayVarP(&o.Files, "file", "f", nil, "read references from `FILE`, - is stdin (repeatable)")
	set.StringVarP(&o.Output, "output", "o", "", "write the bundle to `BUNDLE`")
	set.StringSliceVar(&o.Platforms, "platform", nil, "keep only these `PLATFORMS`, such as linux/amd64,linux/arm64")
	set.StringVar(&o.Missing, "platform-missing", "fail",
		"an image that lacks one of them: fail, take what is available, or drop the image")
	set.BoolVar(&o.Repin, "repin", false, "filter images that are named by digest, too; they get another digest")
	set.StringVar(&o.Store, "store", "", "keep what is fetched in the folder `DIR` for later runs")
	set.StringVar(&o.Level, "level", "default", "compress what is not compressed yet: fastest, default, better or best")
	set.StringArrayVar(&o.Labels, "label", nil, "put `KEY=VALUE` into the bundle (repeatable)")
	set.StringVar(&o.Created, "created", "", "put this `TIME` (RFC 3339) into the bundle (default SOURCE_DATE_EPOCH, else none)")
	set.BoolVar(&o.DryRun, "dry-run", false, "print the plan and fetch nothing but manifests")
	set.BoolVar(&o.KeepGoing, "keep-going", false, "write the bundle without the images that could not be fetched")
	set.BoolVar(&o.Refresh, "refresh", false, "resolve tags anew, even if an earlier run that was stopped has done so")
	o.Source.add(set, sideSource)
	addTransfers(set, &o.Transfers)
	addJobs(set, &o.Jobs)
	return cmd
}

// packing is one run of ferry pack.
type packing struct {
	o        *packOptions
	std      *stdio
	platform []oci.Platform
	writer   compress.WriterOptions
	labels   map[string]string
	created  *time.Time
	refs     []oci.Reference

	from    *remote
	store   *oci.Store
	journal *oci.Journal
	plan    *oci.Plan
	failed  []failedImage // in the order in which they failed
}

// failedImage is an image that will not be in the bundle.
type failedImage struct {
	ref oci.Reference
	err error
}

func runPack(ctx context.Context, o packOptions, std *stdio) (err error) {
	p := &packing{o: &o, std: std}
	if err := p.check(); err != nil {
		return err
	}
	if p.refs, err = readRefs(o.Images, o.Files, std); err != nil {
		return err
	}
	if p.from, err = newRemote(&o.Source, std); err != nil {
		return err
	}
	defer p.from.Close()
	if err := p.openStore(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.closeStore(err == nil && !o.DryRun)) }()
	if err := p.makePlan(ctx); err != nil {
		return err
	}
	needs, err := p.needs(ctx)
	if err != nil {
		return err
	}
	if o.DryRun {
		return errors.Join(p.writePlan(std.Out, needs), p.verdict())
	}
	p.sayPlan(needs)
	if err := needs.check(); err != nil {
		return err
	}
	return p.run(ctx)
}

// check finds what is wrong with the options alone, and with the place of the output.
func (p *packing) check() (err error) {
	o := p.o
	if o.Output == "" {
		return usagef("-o BUNDLE is missing")
	}
	if p.writer.Format, err = compress.FormatByName(o.Output); err != nil {
		return &usageError{err}
	}
	if p.writer.Level, err = compress.ParseLevel(o.Level); err != nil {
		return &usageError{fmt.Errorf("--level: %w", err)}
	}
	if _, ok := missingPolicies[o.Missing]; !ok {
		return checkOneOf("platform-missing", o.Missing, "fail", "available", "drop")
	}
	for _, s := range o.Platforms {
		platform, err := oci.ParsePlatform(s)
		if err != nil {
			return &usageError{fmt.Errorf("--platform: %w", err)}
		}
		p.platform = append(p.platform, platform)
	}
	if err := errors.Join(checkAtLeast("transfers", o.Transfers, 1), checkAtLeast("jobs", o.Jobs, 0)); err != nil {
		return err
	}
	if err := p.checkLabels(); err != nil {
		return err
	}
	p.writer.Jobs = o.Jobs
	if p.writer.Format == compress.XZ {
		p.writer.XZProgram, _ = exec.LookPath("xz") // without it the library does the work
	}
	info, err := os.Stat(filepath.Dir(o.Output))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: not a folder", filepath.Dir(o.Output))
	}
	return err
}

func (p *packing) checkLabels() error {
	p.labels = map[string]string{}
	for _, label := range p.o.Labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return usagef("--label %q: KEY=VALUE is needed", label)
		}
		p.labels[key] = value
	}
	created := p.o.Created
	if epoch := p.std.Getenv("SOURCE_DATE_EPOCH"); created == "" && epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 {
			return usagef("SOURCE_DATE_EPOCH %q: seconds since 1970 are needed", epoch)
		}
		created = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	if created == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, created)
	if err != nil || at.Unix() < 0 {
		return usagef("--created %q: a time such as 2026-11-23T10:00:00Z is needed", created)
	}
	at = at.UTC().Truncate(time.Second)
	p.created = &at
	return nil
}

// readRefs returns the references of the command line and of the lists.
func readRefs(args, files []string, std *stdio) ([]oci.Reference, error) {
	refs, err := oci.ParseList("command line", strings.NewReader(strings.Join(args, "\n")))
	errs := []error{err}
	for _, name := range files {
		more, err := readList(name, std)
		errs = append(errs, err)
		refs = append(refs, more...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	refs = oci.Unique(refs)
	if len(refs) == 0 {
		return nil, usagef("no image: name some, or give a list with -f FILE")
	}
	return refs, nil
}

func readList(name string, std *stdio) ([]oci.Reference, error) {
	if name == "-" {
		return oci.ParseList("stdin", std.In)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, &usageError{err}
	}
	defer f.Close()
	return oci.ParseList(name, f)
}

// openStore opens the store and, in it, the journal of this very plan.
func (p *packing) openStore() error {
	dir := p.o.Store
	if dir == "" {
		var err error
		if dir, err = ownStore(p.o.Output); err != nil {
			return err
		}
	}
	store, err := oci.OpenStore(dir)
	if err != nil {
		return err
	}
	p.store = store
	p.journal, err = store.Journal(p.journalKey())
	if err == nil && p.o.Refresh {
		if err = p.journal.Remove(); err == nil {
			p.journal, err = store.Journal(p.journalKey())
		}
	}
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// ownStore returns the folder for the store of an output that has no --store: always the same for the same output, and
// never beside it, where the small disk is.
func ownStore(output string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the store: %w; give one with --store DIR", err)
	}
	path, err := filepath.Abs(output)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(cache, "ferry", fmt.Sprintf("%s-%x", strings.ToLower(safeName(filepath.Base(path))), sum[:6])), nil
}

// safeName returns name with all but plain letters, digits, dots and dashes replaced, and not too long.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), 60)]
}

// journalKey names what is to be packed: a run with the same references goes on with what one before has resolved.
func (p *packing) journalKey() string {
	var names []string
	for _, ref := range p.refs {
		names = append(names, ref.String())
	}
	slices.Sort(names)
	path, _ := filepath.Abs(p.o.Output) // a relative path serves as well
	sum := sha256.Sum256([]byte(strings.Join(append(names, path), "\n")))
	return fmt.Sprintf("pack-%x", sum[:12])
}

// closeStore closes the store. After a run that has done all, the journal goes, and with it a store that is of this
// output alone.
func (p *packing) closeStore(done bool) error {
	switch {
	case done && p.o.Store == "":
		return p.store.Remove()
	case done:
		return errors.Join(p.journal.Remove(), p.store.Close())
	}
	return p.store.Close()
}

// makePlan resolves all references.
func (p *packing) makePlan(ctx context.Context) (err error) {
	p.plan, err = oci.MakePlan(ctx, p.refs, p.from, p.from, p.journal, oci.PlanOptions{
		Platforms: p.platform, Missing: missingPolicies[p.o.Missing], Repin: p.o.Repin, Parallel: p.o.Transfers,
		Events: p.planned,
	})
	var lacks *oci.MissingPlatformsError
	if errors.As(err, &lacks) {
		if err := writePlatforms(p.std.Err, lacks); err != nil {
			return err
		}
		return &partialError{err}
	}
	if err != nil {
		return p.from.explain(err)
	}
	for _, image := range p.plan.Failed() {
		p.failed = append(p.failed, failedImage{image.Ref, p.from.explain(image.Err)})
	}
	return nil
}

func (p *packing) planned(e oci.PlanEvent) {
	if e.Err != nil {
		p.std.detail("%d of %d: %s: %v", e.Done, e.Total, e.Ref, e.Err)
		return
	}
	p.std.detail("%d of %d: %s", e.Done, e.Total, e.Ref)
}

// contents returns what the bundle is to hold: all images but those that failed.
func (p *packing) contents() bundle.Contents {
	c := bundle.Contents{Labels: p.labels, Created: p.created}
	gone := map[string]bool{}
	for _, f := range p.failed {
		gone[f.ref.String()] = true
		c.Missing = append(c.Missing, bundle.Missing{Name: f.ref.String(), Reason: oneLine(f.err.Error())})
	}
	for _, image := range p.plan.Images {
		if gone[image.Ref.String()] {
			continue
		}
		e := bundle.Entry{Name: entryName(image), Root: image.Root, Pinned: image.Ref.Digest == image.Root.Digest}
		if image.Original != nil {
			e.Original = &image.Original.Descriptor
		}
		c.Images = append(c.Images, e)
	}
	return c
}

// entryName returns the name of an image in the bundle. One that was named by the digest of an index which had to be
// rebuilt is named by its new one.
func entryName(image oci.PlannedImage) string {
	ref := image.Ref
	if ref.Tag == "" && ref.Digest != "" {
		ref.Digest = image.Root.Digest
	}
	return ref.Name()
}

// verdict lists the images that failed: why on stderr, and their names on stdout, as lines that can be fed back.
func (p *packing) verdict() error {
	if len(p.failed) == 0 {
		return nil
	}
	for _, f := range p.failed {
		p.std.complain(fmt.Sprintf("ferry: image %s: %v", f.ref, f.err))
		if _, err := fmt.Fprintln(p.std.Out, f.ref); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%d of %s could not be fetched", len(p.failed), plural(len(p.refs), "image"))
	if !p.o.KeepGoing && !p.o.DryRun {
		text += "; no bundle was written (--keep-going writes it without them), and what was fetched is kept for the next run"
	}
	return &partialError{&summaryError{text: text, err: p.failed[0].err}}
}
