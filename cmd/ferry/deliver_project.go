package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// wantsPublic reports whether everybody may pull from a project that is made: when --project-public says so, or when that
// was so where each of its images comes from.
func (d *delivery) wantsPublic(ctx context.Context, p *harborProject) bool {
	if d.o.Harbor.Public {
		return true
	}
	return !slices.ContainsFunc(p.names, func(n *plannedName) bool { return !d.wasPublic(ctx, n.image) })
}

func visibility(public bool) string {
	if public {
		return "public"
	}
	return "private"
}

// createProjects makes the projects that are missing, and says so. What is known of a project only when it is there, its
// quota, is looked at then.
func (d *delivery) createProjects(ctx context.Context) error {
	for _, p := range d.projects {
		if !p.missing || len(p.pushes()) == 0 {
			continue
		}
		public := d.wantsPublic(ctx, p)
		created, err := p.client.CreateProject(ctx, p.name, public)
		if err != nil {
			return err
		}
		p.missing, p.public = false, public
		if created {
			d.std.say("created: %s, %s", p, visibility(public))
		} else if err := d.checkRaced(ctx, p); err != nil {
			return err
		}
		if err := d.checkQuota(ctx, p); err != nil {
			return err
		}
	}
	return d.refusal()
}

// checkRaced looks at a project that somebody else has created since the plan was made.
func (d *delivery) checkRaced(ctx context.Context, p *harborProject) error {
	d.std.say("%s: somebody else has created it meanwhile", p)
	if err := p.look(ctx); err != nil {
		return err
	}
	if err := d.survey(ctx, p.names); err != nil {
		return err
	}
	for _, n := range p.names {
		if n.changes() { // what is to become of it, the plan did not say
			d.problem(fmt.Sprintf("%s: somebody else has pushed it meanwhile", n.target), "give the same command again", nil)
		}
	}
	return nil
}

// writeProjects writes the projects of Harbors that the plan takes.
func (d *delivery) writeProjects(w io.Writer) error {
	for _, p := range d.projects {
		words := []string{plural(len(p.names), "name")}
		switch {
		case p.name == "":
			continue
		case p.missing:
			words = append(words, "not there")
		case !p.hidden:
			words = append(words, visibility(p.public))
		}
		if p.quota != nil {
			words = append(words, fmt.Sprintf("quota %s, %s of it used", formatBinary(p.quota.Hard), formatBinary(p.quota.Used)))
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", p, strings.Join(words, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// sayPrivate says what it takes to pull from the private projects that have got something.
func (d *delivery) sayPrivate() {
	private := map[string][]string{} // by host
	var hosts []string
	for _, p := range d.projects {
		if p.public || p.hidden || len(p.pushes()) == 0 {
			continue
		}
		host := p.client.Host()
		if private[host] == nil {
			hosts = append(hosts, host)
		}
		private[host] = append(private[host], p.name)
	}
	for _, host := range hosts {
		d.std.say("private at %s: %s; to pull from there nodes need a secret:", host, strings.Join(private[host], ", "))
		d.std.say("  kubectl create secret docker-registry NAME --docker-server=%s --docker-username=USER --docker-password=PASSWORD", host)
	}
}
