package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
)

// copier is one run of [Copy].
type copier struct {
	src     Source
	dst     Sink
	o       CopyOptions
	ordered OrderedSource // src, if it is one
	cancel  context.CancelCauseFunc

	blobs     []*blobTask     // in the order in which they are taken
	manifests []*manifestStep // children before their index
	whole     []*manifestStep // roots that nobody has to look for, see Target.Whole
	images    []*image
	attached  []*attachment

	mu    sync.Mutex // guards what follows and the states of all tasks and steps
	lanes lanes
	next  int // the first of blobs that waits for its turn, when ordered
	total Report

	fans fans // their state

	events sync.Mutex // one event at a time
}

// begin queues what can be done at once.
func (c *copier) begin() {
	c.releaseUnneeded()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.blobs {
		for _, p := range b.places {
			c.add(classAsk, p.repo, func(ctx context.Context) { c.ask(ctx, p) })
		}
	}
	var free []*manifestStep // before any of them is begun, which may free others
	for _, m := range c.manifests {
		if m.pending == 0 {
			free = append(free, m)
		}
	}
	for _, m := range c.whole {
		c.manifestEnded(m, nil)
	}
	for _, m := range free {
		c.ready(m)
	}
}

// holdsTags reports whether tags are set after everything else.
func (c *copier) holdsTags() bool {
	seen, ok := c.ordered.(SeenSource)
	return c.o.HoldTags || c.ordered != nil && !(ok && seen.EndSeen())
}

// releaseUnneeded tells an ordered source which of its blobs no job needs.
func (c *copier) releaseUnneeded() {
	if c.ordered == nil {
		return
	}
	needed := map[digest.Digest]bool{}
	for _, b := range c.blobs {
		needed[b.Digest] = true
	}
	for _, d := range c.ordered.InOrder() {
		if !needed[d.Digest] {
			c.ordered.Release(d)
		}
	}
}

// settle ends a step, with the errors that made it fail if it did, and goes on with the manifests that waited for it.
// The caller holds c.mu.
func (c *copier) settle(s *step, errs ...error) {
	s.settled, s.errs = true, errs
	for _, m := range s.waiting {
		m.pending--
		if m.pending == 0 {
			c.ready(m)
		}
	}
}

// ready goes on with a manifest for which everything that it needs has settled. The caller holds c.mu.
func (c *copier) ready(m *manifestStep) {
	errs := slices.Clone(m.orphaned)
	for _, s := range m.needs {
		errs = append(errs, s.errs...)
	}
	errs = distinct(errs)
	switch {
	case len(errs) > 0:
		c.manifestEnded(m, errs)
	case m.byDigest:
		c.add(classManifest, m.repo, func(ctx context.Context) { c.pushManifest(ctx, m) })
	default:
		c.manifestEnded(m, nil)
	}
}

// manifestEnded settles a manifest and goes on with the images whose root it is. The caller holds c.mu.
func (c *copier) manifestEnded(m *manifestStep, errs []error) {
	c.settle(&m.step, errs...)
	for _, img := range m.images {
		if len(errs) > 0 {
			img.done, img.err = true, joined(errs)
			continue
		}
		img.rooted = true
		c.imageReady(img)
	}
	c.attachedRootEnded(m, errs)
	c.admitFollowers(m, errs)
}

// releaseTags queues the tags that were held; with HoldTags it fails them all when an image has failed.
func (c *copier) releaseTags() {
	c.mu.Lock()
	defer c.mu.Unlock()
	bad := false
	for _, img := range c.images {
		bad = bad || c.o.HoldTags && img.err != nil
	}
	for _, img := range c.images {
		switch {
		case img.done:
		case bad:
			img.done, img.err = true, ErrHeld
		default:
			c.add(classManifest, img.target.Repository, func(ctx context.Context) { c.tag(ctx, img) })
		}
	}
}

// pushManifest pushes a manifest by digest unless the repository has it.
func (c *copier) pushManifest(ctx context.Context, m *manifestStep) {
	op, err := c.ensure(ctx, m)
	changed := false
	if err == nil && m.untagged() {
		changed, err = c.attach(ctx, m)
	}
	var errs []error
	if err != nil {
		errs = []error{c.fault(ctx, &CopyError{Op: op, Repository: m.repo, Digest: m.node.Digest, Err: err})}
		c.emit(Event{Kind: EventFailed, Descriptor: m.node.Descriptor, Repository: m.repo, Err: errs[0]})
	} else {
		c.emit(Event{Kind: EventManifest, Descriptor: m.node.Descriptor, Repository: m.repo, Bytes: m.node.Size})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "push" && err == nil {
		c.total.Manifests++
	}
	if m.untagged() && err == nil {
		c.countAttached(op == "push" || changed)
	}
	c.manifestEnded(m, errs)
}

// ensure pushes a manifest by digest unless the repository has it, and returns what it did: "check" or "push".
func (c *copier) ensure(ctx context.Context, m *manifestStep) (op string, err error) {
	if err := c.lost(m.repo); err != nil {
		return "check", err
	}
	if has, err := c.dst.Has(ctx, m.repo, m.node.Descriptor); has || err != nil {
		return "check", err
	}
	return "push", c.put(ctx, m, func() error {
		return c.dst.Push(ctx, m.repo, m.node.Descriptor, rawContent(m.node.Raw))
	})
}

// tag sets the tag of an image that is complete but for it.
func (c *copier) tag(ctx context.Context, img *image) {
	t, root := img.target, img.root.node
	err := errNoTags
	if tagger, ok := c.dst.(Tagger); ok {
		err = c.put(ctx, img.root, func() error {
			return tagger.Tag(ctx, t.Repository, t.Tag, root.Descriptor, root.Raw)
		})
	}
	e := Event{Kind: EventTag, Descriptor: root.Descriptor, Repository: t.Repository, Tag: t.Tag}
	if err != nil {
		err = c.fault(ctx, &CopyError{Op: "tag", Repository: t.Repository, Tag: t.Tag, Digest: root.Digest, Err: err})
		e.Kind, e.Err = EventFailed, err
	}
	c.emit(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	img.done, img.err = true, err
	if err == nil {
		c.total.Tags++
	}
}

// put runs a push or a tag of m. When the sink lacks something below m that it was found to have, as after a clean-up at
// the registry, that is pushed again, once.
func (c *copier) put(ctx context.Context, m *manifestStep, run func() error) error {
	if err := c.lost(m.repo); err != nil {
		return err
	}
	err := run()
	if !errors.Is(err, ErrIncomplete) {
		return err
	}
	if rerr := c.restore(ctx, m); rerr != nil {
		return errors.Join(err, rerr)
	}
	return run()
}

// restore pushes what the repository of m lacks of all that m points to.
func (c *copier) restore(ctx context.Context, m *manifestStep) error {
	for _, p := range m.blobs {
		has, err := c.dst.Has(ctx, p.repo, p.blob.Descriptor)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := (&transfer{c: c, place: p}).run(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		c.total.Moved++
		c.mu.Unlock()
	}
	for _, child := range m.children {
		if _, err := c.ensure(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

var errNoTags = errors.New("the target keeps no tags")

// fault returns what a failed operation is recorded with, and ends the copy when the error is one to stop at.
func (c *copier) fault(ctx context.Context, err *CopyError) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.stops(err) {
		c.cancel(err)
	}
	if !err.Source && c.o.Lost != nil && c.o.Lost(err) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if lane := c.lanes.byHost[err.Repository.Host]; lane.lost == nil {
			lane.lost = err.Err
		}
	}
	return err
}

// lost returns why the host of the repository is not spoken to any more, nil when it is.
func (c *copier) lost(to Repository) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes.byHost[to.Host].lost
}

func (c *copier) stops(err *CopyError) bool { return c.o.Stop != nil && c.o.Stop(err) }

func (c *copier) emit(e Event) {
	if c.o.Events == nil {
		return
	}
	c.events.Lock()
	defer c.events.Unlock()
	c.o.Events(e)
}

// report sums up. What has not come to its end did not because of early.
func (c *copier) report(early error) *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.total
	for _, img := range c.images {
		o := Outcome{Job: img.name, Target: img.target, Err: img.err}
		if img.root != nil {
			o.Descriptor = img.root.node.Descriptor
		}
		if !img.done {
			o.Err = early
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	return &r
}

// distinct returns errs without those that are there twice. Not every error can be compared, but those of steps can.
func distinct(errs []error) []error {
	seen := map[error]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		twice := seen[err]
		seen[err] = true
		return twice
	})
}

// joined makes one error of several. It prints the first and how many follow it.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return manyErrors(errs)
}

type manyErrors []error

func (m manyErrors) Error() string   { return fmt.Sprintf("%v (and %d more)", m[0], len(m)-1) }
func (m manyErrors) Unwrap() []error { return m }
