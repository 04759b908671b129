package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// writePlan prints what --dry-run tells after the table of names: what there is to be moved, and what each target has of it.
func (c *copying) writePlan(ctx context.Context, d *delivery) error {
	var b strings.Builder
	b.WriteString("\n" + c.describe())
	all, open, err := d.needsOfTargets(ctx)
	if err != nil {
		return err
	}
	for at, count := range d.count() {
		has, err := d.sizeAtTarget(ctx, open[at])
		if err != nil {
			return d.to.explain(err)
		}
		fmt.Fprintf(&b, "%s: %s to copy, %d complete already, %d kept as they were; %s, %s, of which it has %s\n",
			d.o.Targets[at], plural(count.sent, "image"), count.complete, count.kept,
			plural(len(all[at].list), "blob"), formatSize(all[at].size()), formatSize(has))
	}
	_, err = io.WriteString(c.std.Out, b.String())
	return err
}

// needsOfTargets returns for each target what the names are made of that are to be pushed there, and the part of it that
// can be asked for.
func (d *delivery) needsOfTargets(ctx context.Context) (all, open []*contents, err error) {
	for range d.o.Targets {
		all, open = append(all, &contents{}), append(open, &contents{})
	}
	jobs, names, err := d.jobs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i, j := range jobs {
		n := names[i]
		all[n.at].add(n.target.Repository, j.Roots()...)
		if !n.closed() && d.to.target != nil { // else there is nothing of it
			open[n.at].add(n.target.Repository, j.Roots()...)
		}
	}
	return all, open, nil
}
