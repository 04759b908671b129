package oci

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// step is a part of the work that manifests wait for: a blob or a manifest in one repository.
type step struct {
	waiting []*manifestStep
	settled bool
	errs    []error // why it failed; empty when it did not
}

// blobKey tells blobs apart. Two descriptors of one digest and different sizes cannot both be right; which one is
// shows when they are read, and must not hurt the images that have the right one.
type blobKey struct {
	digest digest.Digest
	size   int64
}

// blobTask is a blob that at least one repository of the sink needs.
type blobTask struct {
	Descriptor
	from   []Repository
	places []*place     // of first use first
	groups []*blobGroup // the same places
	fan    *fan         // when several groups may read it at a time; else nil

	admitted bool // it may be moved: with an ordered source each blob waits for its turn
	opened   bool // the source was asked for the content
	released bool // an ordered source has been told that nobody needs it any more
}

// blobGroup is the places which a blob reaches by one transfer from the source: those of one host, as they can mount it
// from each other. What an ordered source gives only once is one group, since later places fetch it from the first.
type blobGroup struct {
	blob    *blobTask
	host    string
	places  []*place
	asking  int  // places of which it is not known yet whether they have it
	decided bool // asking has come to an end
}

// place is a blob in one repository of the sink.
type place struct {
	step
	blob  *blobTask
	group *blobGroup
	repo  Repository
	state placeState
	home  bool // it was the one to try a mount from a repository of the source
}

// placeState says how far a place is.
type placeState int

const (
	placeAsked    placeState = iota // it is not known yet whether it has its blob
	placeMissing                    // it has not
	placeMounting                   // a mount is queued or under way
	placePushing                    // a push is
	placeDone                       // it has its blob
	placeFailed
)

// placeKey is a blob or a manifest in one repository of the sink.
type placeKey struct {
	repo Repository
	blobKey
}

// manifestStep is a manifest or index in one repository of the sink.
type manifestStep struct {
	step
	node     *Node
	repo     Repository
	needs    []*step
	blobs    []*place        // those of needs that are blobs
	children []*manifestStep // and those that are manifests
	pending  int             // needs that have not settled
	images   []*image        // whose root it is
	byDigest bool            // it has to be pushed by digest; else setting its tags does it

	attached  []*attachment   // whose root it is
	follows   []*manifestStep // it is attached to these, and goes up after one of them
	followers []*manifestStep // the manifests that follow it
	admitted  bool            // one of follows is in its place
	undecided int             // of follows
	orphaned  []error         // why none of them is in its place
}

// image is one target of a job.
type image struct {
	target Target
	root   *manifestStep
	rooted bool // the root is in its place
	done   bool
	err    error
	name   string

	waits int     // attachments that have not ended
	bad   []error // why some of them failed
}

// planner turns jobs into tasks.
type planner struct {
	c         *copier
	blobs     map[blobKey]*blobTask
	places    map[placeKey]*place
	manifests map[placeKey]*manifestStep
	attached  map[attachedKey]*attachment
	configs   []*blobTask
	layers    []*blobTask
}

func (c *copier) plan(jobs []Job) error {
	p := &planner{
		c: c, blobs: map[blobKey]*blobTask{}, places: map[placeKey]*place{}, manifests: map[placeKey]*manifestStep{},
		attached: map[attachedKey]*attachment{},
	}
	c.ordered, _ = c.src.(OrderedSource)
	for _, j := range jobs {
		for _, t := range j.To {
			c.lanes.add(c, t.Host)
			c.images = append(c.images, &image{name: j.Name, target: t})
		}
	}
	images := c.images
	for _, j := range jobs {
		if err := p.addJob(j, images[:len(j.To)]); err != nil {
			return fmt.Errorf("image %s: %w", j.Name, err)
		}
		images = images[len(j.To):]
	}
	p.followAll(jobs)
	c.order(append(p.configs, p.layers...))
	return nil
}

func (p *planner) addJob(j Job, images []*image) error {
	if j.Root == nil {
		return fmt.Errorf("no manifest")
	}
	from := j.From
	if len(from) == 0 {
		from = []Repository{{}}
	}
	for _, img := range images {
		if err := p.addRoot(j.Root, from, img); err != nil {
			return err
		}
		for _, a := range j.Attached {
			if err := p.addAttached(a, from, img); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRoot makes the steps for the image itself.
func (p *planner) addRoot(root *Node, from []Repository, img *image) error {
	if img.target.Whole {
		img.root = &manifestStep{node: root, repo: img.target.Repository}
		img.root.images = []*image{img}
		p.c.whole = append(p.c.whole, img.root)
		return nil
	}
	err := root.Walk(func(n *Node) error { return p.addNode(n, from, img.target.Repository) })
	if err != nil {
		return err
	}
	img.root = p.manifests[placeKey{img.target.Repository, keyOf(root.Descriptor)}]
	img.root.images = append(img.root.images, img)
	if img.target.Tag == "" || img.target.Current == root.Digest || p.c.o.HoldTags {
		img.root.byDigest = true
	}
	return nil
}

func keyOf(d Descriptor) blobKey { return blobKey{d.Digest, d.Size} }

// addNode makes the step for the manifest n in the repository to, or adds to it; its children have theirs.
func (p *planner) addNode(n *Node, from []Repository, to Repository) error {
	if n.Manifest == nil {
		return fmt.Errorf("manifest %s: not parsed", n.Digest)
	}
	m := p.manifests[placeKey{to, keyOf(n.Descriptor)}]
	isNew := m == nil
	if isNew {
		m = &manifestStep{node: n, repo: to}
		p.manifests[placeKey{to, keyOf(n.Descriptor)}] = m
		p.c.manifests = append(p.c.manifests, m)
	}
	seen := map[*step]bool{}
	need := func(s *step) bool {
		if !isNew || seen[s] {
			return false
		}
		seen[s] = true
		m.needs = append(m.needs, s)
		m.pending++
		s.waiting = append(s.waiting, m)
		return true
	}
	for _, child := range n.Children {
		cm := p.manifests[placeKey{to, keyOf(child.Descriptor)}]
		cm.byDigest = true
		if need(&cm.step) {
			m.children = append(m.children, cm)
		}
	}
	needBlob := func(d Descriptor, list *[]*blobTask) {
		if at := p.addBlob(d, from, to, list); need(&at.step) {
			m.blobs = append(m.blobs, at)
		}
	}
	if n.Manifest.Config != nil {
		needBlob(*n.Manifest.Config, &p.configs)
	}
	for _, d := range n.Manifest.Layers {
		needBlob(d, &p.layers)
	}
	for _, d := range n.Manifest.Manifests {
		if !IsManifest(d.MediaType) { // an index may list what is a blob to registries
			needBlob(d, &p.layers)
		}
	}
	return nil
}

// addBlob notes that to needs the blob d and that the repositories from have it. A new blob goes to the end of list.
func (p *planner) addBlob(d Descriptor, from []Repository, to Repository, list *[]*blobTask) *place {
	b := p.blobs[keyOf(d)]
	if b == nil {
		b = &blobTask{Descriptor: d}
		p.blobs[keyOf(d)] = b
		*list = append(*list, b)
	}
	for _, r := range from {
		if !slices.Contains(b.from, r) {
			b.from = append(b.from, r)
		}
	}
	key := placeKey{to, keyOf(d)}
	if p.places[key] == nil {
		g := b.group(p.c.groupOf(to))
		at := &place{blob: b, group: g, repo: to}
		p.places[key] = at
		b.places, g.places = append(b.places, at), append(g.places, at)
		g.asking++
	}
	return p.places[key]
}

// groupOf returns the name of the group that the repository of the sink belongs to.
func (c *copier) groupOf(to Repository) string {
	if c.ordered != nil {
		return ""
	}
	return to.Host
}

// group returns the group of that name, which comes to be with that.
func (b *blobTask) group(host string) *blobGroup {
	for _, g := range b.groups {
		if g.host == host {
			return g
		}
	}
	g := &blobGroup{blob: b, host: host}
	b.groups = append(b.groups, g)
	return g
}

// order sets the order in which the blobs are taken. It tells a source that gives its blobs in order which of them
// nobody needs.
func (c *copier) order(blobs []*blobTask) {
	c.blobs = blobs
	if c.ordered == nil {
		if c.o.LargestFirst {
			slices.SortStableFunc(c.blobs, func(a, b *blobTask) int { return cmp.Compare(b.Size, a.Size) })
		}
		for _, b := range c.blobs {
			if len(b.groups) > 1 {
				b.fan = newFan(c, b)
			}
		}
		return
	}
	at := map[digest.Digest]int{}
	for i, d := range c.ordered.InOrder() {
		if _, ok := at[d.Digest]; !ok {
			at[d.Digest] = i
		}
	}
	position := func(b *blobTask) int {
		if i, ok := at[b.Digest]; ok {
			return i
		}
		return len(at)
	}
	slices.SortStableFunc(c.blobs, func(a, b *blobTask) int { return cmp.Compare(position(a), position(b)) })
}
