package oci

import (
	"context"
	"slices"
)

// ask finds out whether the place has its blob.
func (c *copier) ask(ctx context.Context, p *place) {
	err, has := c.lost(p.repo), false
	if err == nil {
		has, err = c.dst.Has(ctx, p.repo, p.blob.Descriptor)
	}
	if err != nil {
		err = c.fault(ctx, &CopyError{Op: "check", Repository: p.repo, Digest: p.blob.Digest, Err: err})
	}
	state := placeMissing
	switch {
	case err != nil:
		c.emitBlob(EventFailed, p, err)
		state = placeFailed
	case has:
		c.emitBlob(EventSkipped, p, nil)
		state = placeDone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.group.asking--
	if has && err == nil {
		c.total.Skipped++
		c.total.SkippedBytes += p.blob.Size
	}
	c.placeIs(p, state, err)
}

// mount takes the blob over from another repository of the same host, or else pushes it.
func (c *copier) mount(ctx context.Context, p *place, from Repository) {
	mounted, err := c.dst.(Mounter).Mount(ctx, from, p.repo, p.blob.Descriptor)
	if err != nil || !mounted { // why does not matter: the content is at hand
		c.push(ctx, p)
		return
	}
	c.emitBlob(EventMounted, p, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Mounted++
	c.total.SkippedBytes += p.blob.Size
	c.placeIs(p, placeDone, nil)
}

// push brings the blob to the place from the source.
func (c *copier) push(ctx context.Context, p *place) {
	t := &transfer{c: c, place: p}
	cerr := t.run(ctx)
	p.blob.fan.leave(p.group.host)
	if cerr != nil {
		err := c.fault(ctx, cerr)
		c.emitBlob(EventFailed, p, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		if cerr.Source {
			c.failMissing(p, err)
		}
		c.placeIs(p, placeFailed, err)
		return
	}
	moved := t.begun() // else the sink had it without reading any content
	kind := EventSkipped
	if moved {
		kind = EventDone
	}
	c.emitBlob(kind, p, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if moved {
		c.total.Moved++
	} else {
		c.total.Skipped++
		c.total.SkippedBytes += p.blob.Size
	}
	c.placeIs(p, placeDone, nil)
}

func (c *copier) emitBlob(kind EventKind, p *place, err error) {
	c.emit(Event{Kind: kind, Descriptor: p.blob.Descriptor, Repository: p.repo, Bytes: p.blob.Size, Err: err})
}

// failMissing fails the places that waited for p, which the source could not serve. The caller holds c.mu.
func (c *copier) failMissing(p *place, err error) {
	for _, q := range p.group.places {
		if q.state == placeMissing {
			q.state = placeFailed
			c.settle(&q.step, err)
		}
	}
}

// placeIs sets the state of a place and goes on with what depends on it. The caller holds c.mu.
func (c *copier) placeIs(p *place, state placeState, err error) {
	p.state = state
	switch state {
	case placeDone:
		c.settle(&p.step)
	case placeFailed:
		c.settle(&p.step, err)
	}
	if p.group.asking > 0 {
		return
	}
	if !p.group.decided {
		c.decide(p.group)
	} else {
		c.move(p.group)
	}
	c.release(p.blob)
}

// release tells an ordered source that nobody needs the blob any more, when that is so: all places have settled, or none
// needs the source, which then is not kept waiting for mounts. The caller holds c.mu.
func (c *copier) release(b *blobTask) {
	if c.ordered == nil || b.released || b.opened && !b.settled() || c.needsSource(b) {
		return
	}
	b.released = true
	c.ordered.Release(b.Descriptor)
}

// settled reports whether no place needs the blob any more. The caller holds c.mu of its copier.
func (b *blobTask) settled() bool {
	return !slices.ContainsFunc(b.places, func(p *place) bool { return p.state != placeDone && p.state != placeFailed })
}

// decide is called once for each group of places of a blob, when all of them have been asked. With an ordered source a
// blob that has to come from it waits until all before it have been decided and begun. The caller holds c.mu.
func (c *copier) decide(g *blobGroup) {
	g.decided = true
	if c.ordered == nil || !c.needsSource(g.blob) {
		g.blob.admitted = true
		c.move(g)
	}
	if c.ordered == nil {
		return
	}
	for ; c.next < len(c.blobs) && c.blobs[c.next].groups[0].decided; c.next++ {
		if n := c.blobs[c.next]; !n.admitted {
			n.admitted = true
			c.move(n.groups[0])
		}
	}
}

// needsSource reports whether some place lacks the blob and cannot mount it, or is being pushed to. The caller holds
// c.mu.
func (c *copier) needsSource(b *blobTask) bool {
	for _, p := range b.places {
		_, _, mountable := c.mountable(p)
		if p.state == placePushing || p.state == placeMissing && !mountable {
			return true
		}
	}
	return false
}

// mountable returns a repository from which the place can mount its blob: one of the sink that has it, else one of the
// source, where that is on the same host. The caller holds c.mu.
func (c *copier) mountable(p *place) (from Repository, home, ok bool) {
	if _, ok := c.dst.(Mounter); !ok {
		return Repository{}, false, false
	}
	for _, q := range p.blob.places {
		if q.state == placeDone && q.repo.Host == p.repo.Host {
			return q.repo, false, true
		}
	}
	for _, r := range p.blob.from {
		if r.Host != "" && r.Host == p.repo.Host && r != p.repo {
			return r, true, true
		}
	}
	return Repository{}, false, false
}

// move queues what can be done for a group of an admitted blob: a push to the first place that lacks it, or a mount from
// the source, and when a place has it, mounts and pushes to all others. The caller holds c.mu.
func (c *copier) move(g *blobGroup) {
	has, busy := false, false
	for _, p := range g.places {
		has = has || p.state == placeDone
		busy = busy || p.state == placePushing || p.state == placeMounting && p.home
	}
	for _, p := range g.places {
		if p.state != placeMissing || busy && !has {
			continue
		}
		if from, home, ok := c.mountable(p); ok {
			p.state, p.home = placeMounting, home
			busy = busy || home
			c.add(classMount, p.repo, func(ctx context.Context) { c.mount(ctx, p, from) })
			continue
		}
		p.state, busy = placePushing, true
		c.add(classPush, p.repo, func(ctx context.Context) { c.push(ctx, p) })
	}
	if !busy {
		g.blob.fan.leave(g.host) // it reads nothing, or not now
	}
}
