package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Attached is a manifest that is about an image and no part of it, such as a signature. It goes where the image goes.
type Attached struct {
	Root *Node // the manifest or index, with all below it
	// Tag is the one that it goes by, the same in each repository; empty when it is to be there by digest only.
	Tag string
	// Subject is what it is about. When that is a manifest of another Attached of the job, this one follows that; else
	// it follows the image.
	Subject digest.Digest
}

// Attacher is a [Sink] that has to be told of attached manifests which it has already: they may not be listed where
// those who look for them look.
type Attacher interface {
	// Attach makes sure that the manifest d, which to holds and whose bytes are raw, can be found by its subject. It reports
	// whether it had to change something for that.
	Attach(ctx context.Context, to Repository, d Descriptor, raw []byte) (changed bool, err error)
}

// Roots returns what the job moves: the root of the image, and of all that is attached to it.
func (j *Job) Roots() []*Node {
	roots := []*Node{j.Root}
	for _, a := range j.Attached {
		roots = append(roots, a.Root)
	}
	return roots
}

// attachment is an [Attached] in one repository of the sink.
type attachment struct {
	root   *manifestStep
	tag    string
	images []*image // that wait for it
	held   bool     // its tag is all that is missing, and is set after everything else
}

// attachedKey tells attachments apart.
type attachedKey struct {
	placeKey
	tag string
}

// addAttached makes the steps for a manifest that is attached to img, unless they are there.
func (p *planner) addAttached(a Attached, from []Repository, img *image) error {
	if a.Root == nil {
		return errors.New("no attached manifest")
	}
	to := img.target.Repository
	if err := a.Root.Walk(func(n *Node) error { return p.addNode(n, from, to) }); err != nil {
		return err
	}
	key := attachedKey{placeKey{to, keyOf(a.Root.Descriptor)}, a.Tag}
	at := p.attached[key]
	if at == nil {
		at = &attachment{root: p.manifests[key.placeKey], tag: a.Tag}
		at.root.attached = append(at.root.attached, at)
		at.root.byDigest = at.root.byDigest || a.Tag == "" || p.c.o.HoldTags
		p.attached[key] = at
		p.c.attached = append(p.c.attached, at)
	}
	img.root.byDigest = true
	if !slices.Contains(at.images, img) {
		at.images = append(at.images, img)
		img.waits++
	}
	return nil
}

// followAll says of all attached manifests what has to be in its place before them. All steps are there by now.
func (p *planner) followAll(jobs []Job) {
	images := p.c.images
	for _, j := range jobs {
		for _, img := range images[:len(j.To)] {
			p.follow(j, img)
		}
		images = images[len(j.To):]
	}
	for _, a := range p.c.attached {
		if len(a.root.follows) > 0 && a.root.undecided == 0 {
			a.root.undecided = len(a.root.follows)
			a.root.pending++
		}
	}
}

func (p *planner) follow(j Job, img *image) {
	step := func(n *Node) *manifestStep {
		return p.manifests[placeKey{img.target.Repository, keyOf(n.Descriptor)}]
	}
	subjects := map[digest.Digest]*manifestStep{}
	for _, a := range j.Attached {
		_ = a.Root.Walk(func(n *Node) error { subjects[n.Digest] = step(a.Root); return nil }) // its function never fails
	}
	for _, a := range j.Attached {
		m, first := step(a.Root), img.root
		if s := subjects[a.Subject]; s != nil {
			first = s
		}
		// A tag can make anything an attachment of anything: what would wait for itself does not wait.
		if slices.Contains(m.follows, first) || first.reaches(m, map[*manifestStep]bool{}) {
			continue
		}
		m.follows = append(m.follows, first)
		first.followers = append(first.followers, m)
		first.byDigest = true
	}
}

// reaches reports whether m is other, or waits for it.
func (m *manifestStep) reaches(other *manifestStep, seen map[*manifestStep]bool) bool {
	if m == other {
		return true
	}
	if seen[m] {
		return false
	}
	seen[m] = true
	waits := func(n *manifestStep) bool { return n.reaches(other, seen) }
	return slices.ContainsFunc(m.children, waits) || slices.ContainsFunc(m.follows, waits)
}

// wanted reports whether m is wanted for itself, and not only as something attached.
func (m *manifestStep) wanted() bool { return len(m.images) > 0 || len(m.waiting) > 0 }

// admitFollowers lets the manifests go on that follow m, which has ended. One whose subjects have all failed fails with
// them, unless it is wanted for itself. The caller holds c.mu.
func (c *copier) admitFollowers(m *manifestStep, errs []error) {
	for _, f := range m.followers {
		f.undecided--
		if f.admitted || len(errs) > 0 && f.undecided > 0 {
			continue
		}
		f.admitted = true
		if len(errs) > 0 && !f.wanted() {
			f.orphaned = errs
		}
		f.pending--
		if f.pending == 0 {
			c.ready(f)
		}
	}
}

// attachedRootEnded goes on with the attachments whose root is m, which has ended. The caller holds c.mu.
func (c *copier) attachedRootEnded(m *manifestStep, errs []error) {
	for _, a := range m.attached {
		switch {
		case len(errs) > 0 || a.tag == "":
			c.attachedEnded(a, errs)
		case c.holdsTags():
			a.held = true
		default:
			c.add(classManifest, a.root.repo, func(ctx context.Context) { c.tagAttached(ctx, a) })
		}
	}
}

// attachedEnded goes on with the images that waited for a. The caller holds c.mu.
func (c *copier) attachedEnded(a *attachment, errs []error) {
	for _, img := range a.images {
		img.waits--
		img.bad = append(img.bad, errs...)
		c.imageReady(img)
	}
}

// imageReady goes on with an image when its root and all that is attached to it are in their place. The caller holds
// c.mu.
func (c *copier) imageReady(img *image) {
	switch {
	case img.done || !img.rooted || img.waits > 0:
	case len(img.bad) > 0:
		img.done, img.err = true, &AttachedError{Err: joined(img.bad)}
	case img.target.Tag == "" || img.target.Current == img.root.node.Digest:
		img.done = true
	case !c.holdsTags():
		c.add(classManifest, img.target.Repository, func(ctx context.Context) { c.tag(ctx, img) })
	}
}

// AttachedError is why an image has not got its tag though it is there: something attached to it failed.
type AttachedError struct{ Err error }

func (e *AttachedError) Error() string {
	return fmt.Sprintf("the image is there without its tag, as something that belongs to it is not: %v", e.Err)
}

func (e *AttachedError) Unwrap() error { return e.Err }

// releaseAttached queues the tags of attached manifests that were held, unless an image failed and there shall be all
// tags or none.
func (c *copier) releaseAttached() {
	c.mu.Lock()
	defer c.mu.Unlock()
	bad := false
	for _, img := range c.images {
		if len(img.bad) > 0 && !img.done { // it may still wait for tags that are held
			img.done, img.err = true, &AttachedError{Err: joined(img.bad)}
		}
		bad = bad || img.err != nil
	}
	if bad && c.o.HoldTags {
		return
	}
	for _, a := range c.attached {
		if a.held {
			c.add(classManifest, a.root.repo, func(ctx context.Context) { c.tagAttached(ctx, a) })
		}
	}
}

// tagAttached gives an attached manifest its tag, unless it has it.
func (c *copier) tagAttached(ctx context.Context, a *attachment) {
	m := a.root
	was, set, err := c.retag(ctx, a)
	changed := false
	if err == nil && (set || was.Digest == m.node.Digest) {
		changed, err = c.attach(ctx, m)
	}
	e := Event{Kind: EventTag, Descriptor: m.node.Descriptor, Repository: m.repo, Tag: a.tag}
	var errs []error
	if err != nil {
		errs = []error{c.fault(ctx, &CopyError{Op: "tag", Repository: m.repo, Tag: a.tag, Digest: m.node.Digest, Err: err})}
		e.Kind, e.Err = EventFailed, errs[0]
	}
	if set || err != nil {
		c.emit(e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.countAttached(set || changed)
		if set {
			c.total.Tags++
		}
		if was.Digest != "" && was.Digest != m.node.Digest {
			c.total.Retagged = append(c.total.Retagged,
				RetaggedTag{Repository: m.repo, Tag: a.tag, From: was.Digest, To: m.node.Digest, Kept: !set})
		}
	}
	c.attachedEnded(a, errs)
}

// retag makes the tag of a name its root. It returns what it named before, and whether it was set.
func (c *copier) retag(ctx context.Context, a *attachment) (was Descriptor, set bool, err error) {
	tagger, ok := c.dst.(Tagger)
	if !ok {
		return was, false, errNoTags
	}
	m := a.root
	was, err = tagger.Tagged(ctx, m.repo, a.tag)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return was, false, err
	case err == nil && (was.Digest == m.node.Digest || c.o.KeepAttached):
		return was, false, nil
	}
	err = c.put(ctx, m, func() error { return tagger.Tag(ctx, m.repo, a.tag, m.node.Descriptor, m.node.Raw) })
	return was, err == nil, err
}

// attach tells the sink that the manifest m, which is there, is attached to its subject, when it has one.
func (c *copier) attach(ctx context.Context, m *manifestStep) (changed bool, err error) {
	attacher, ok := c.dst.(Attacher)
	if !ok || m.node.Manifest.Subject == nil {
		return false, nil
	}
	return attacher.Attach(ctx, m.repo, m.node.Descriptor, m.node.Raw)
}

// countAttached counts an attached manifest that is in its place. The caller holds c.mu.
func (c *copier) countAttached(moved bool) {
	if moved {
		c.total.Attached++
	} else {
		c.total.AttachedSame++
	}
}

// untagged reports whether m is attached somewhere by digest alone.
func (m *manifestStep) untagged() bool {
	return slices.ContainsFunc(m.attached, func(a *attachment) bool { return a.tag == "" })
}
