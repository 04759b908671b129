package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
)

// checkQuotas finds the projects into which what is to be pushed does not fit.
func (d *delivery) checkQuotas(ctx context.Context) error {
	for _, p := range d.projects {
		if p.refused || p.missing || len(p.pushes()) == 0 {
			continue
		}
		if err := d.checkQuota(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// checkQuota finds out whether what is to be pushed fits into the project. Harbor counts each content once a project,
// manifests too, and finds out at the end of an upload that one was too much.
//
// What other repositories of the project have is not looked for, so what is needed may be less than is said.
func (d *delivery) checkQuota(ctx context.Context, p *harborProject) error {
	if d.o.Harbor.IgnoreQuota {
		return nil
	}
	quota, known, err := p.client.Quota(ctx, p.name)
	if err != nil || !known || quota.Hard < 0 {
		return err
	}
	p.quota = &quota
	needs, err := d.needs(ctx, p)
	if err != nil {
		return err
	}
	free := quota.Hard - quota.Used
	if needs.size() <= free {
		return nil
	}
	whole, err := d.whole(ctx, p)
	if err != nil {
		return err
	}
	lacking, found := needs.without(whole), int64(0)
	if quota.Used > whole.size() {
		if found, err = d.sizeAtTarget(ctx, lacking); err != nil {
			return err
		}
	}
	lacks := lacking.size() - found
	if lacks <= free {
		return nil
	}
	text := fmt.Sprintf("%s: quota %s, ", p, formatBinary(quota.Hard))
	if quota.Used > 0 {
		text += formatBinary(quota.Used) + " of it used, "
	}
	text += "needs "
	if quota.Used > whole.size()+found { // what else is there may be some of it
		text += "at most "
	}
	d.problem(text+formatBinary(lacks), "have it raised (Administration > Project Quotas), or --ignore-quota", nil)
	return nil
}

// contents are what images are made of, each digest once, with the repositories of the target that need it.
type contents struct {
	list  []oci.Descriptor
	repos map[digest.Digest][]oci.Repository
}

// add adds what graphs are made of, which the repository to needs.
func (c *contents) add(to oci.Repository, roots ...*oci.Node) {
	if c.repos == nil {
		c.repos = map[digest.Digest][]oci.Repository{}
	}
	manifests, configs, layers := oci.Blobs(roots...)
	for _, blob := range slices.Concat(manifests, configs, layers) {
		at := c.repos[blob.Digest]
		if at == nil {
			c.list = append(c.list, blob)
		}
		if !slices.Contains(at, to) {
			c.repos[blob.Digest] = append(at, to)
		}
	}
}

func (c *contents) size() int64 {
	sum := int64(0)
	for _, d := range c.list {
		sum += d.Size
	}
	return sum
}

// without returns what is not in other.
func (c *contents) without(other *contents) *contents {
	isThere := func(d oci.Descriptor) bool { return other.repos[d.Digest] != nil }
	return &contents{list: slices.DeleteFunc(slices.Clone(c.list), isThere), repos: c.repos}
}

// needs returns what the names of the project that are to be pushed are made of.
func (d *delivery) needs(ctx context.Context, p *harborProject) (*contents, error) {
	jobs, _, err := d.jobs(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.from.name(), err)
	}
	c := &contents{}
	for _, j := range jobs {
		for _, to := range j.To {
			if p.has(to.Repository) {
				c.add(to.Repository, j.Roots()...)
			}
		}
	}
	return c, nil
}

func (p *harborProject) has(repo oci.Repository) bool {
	return slices.ContainsFunc(p.names, func(n *plannedName) bool { return n.target.Repository == repo })
}

// whole returns what those images of the plan are made of that are complete in the project.
func (d *delivery) whole(ctx context.Context, p *harborProject) (*contents, error) {
	c := &contents{}
	for _, n := range p.names {
		if n.action != actionComplete {
			continue
		}
		root, err := n.root, error(nil)
		if root == nil {
			root, err = d.from.graph(ctx, n.image)
		}
		switch {
		case err == nil:
			c.add(n.target.Repository, root)
		case ctx.Err() != nil || d.from.stops(err):
			return nil, err
		} // else it counts as if it were not there
	}
	return c, nil
}

// sizeAtTarget returns how many bytes of the contents are in one of the repositories that need them.
func (d *delivery) sizeAtTarget(ctx context.Context, c *contents) (int64, error) {
	var found atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.o.Transfers.N)
	for _, blob := range c.list {
		group.Go(func() error {
			for _, repo := range c.repos[blob.Digest] {
				has, err := d.to.Has(ctx, repo, blob)
				if err != nil {
					return err
				}
				if has {
					found.Add(blob.Size)
					return nil
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return found.Load(), err
}
