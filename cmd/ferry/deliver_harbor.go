package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
	"github.com/ferry-oci/ferry/registry/harbor"
)

// harborFlags say what may be done at a target that is a Harbor.
type harborFlags struct {
	Create      bool // make the projects that are missing
	Public      bool // and let everybody pull from them
	IgnoreQuota bool
}

func (f *harborFlags) add(set *pflag.FlagSet) {
	set.BoolVar(&f.Create, "create-projects", false,
		"make the projects that a Harbor lacks: public as the source had them, where that is known, else private")
	set.BoolVar(&f.Public, "project-public", false, "with --create-projects: let everybody pull from all of them")
	set.BoolVar(&f.IgnoreQuota, "ignore-quota", false, "push though the quota of a Harbor's project looks too small")
}

func (f *harborFlags) check() error {
	if f.Public && !f.Create {
		return usagef("--project-public: is about the projects that --create-projects makes, which is not given")
	}
	return nil
}

// harborProject is a project of a Harbor that names of a delivery are in.
type harborProject struct {
	client *harbor.Client
	name   string
	names  []*plannedName

	missing bool
	quota   *harbor.Quota // nil when there is none, or it is not known
	hidden  bool          // Harbor does not tell this user how it is set up
	proxy   bool
	public  bool
	refused bool // nothing of it can be asked for, and nothing pushed
}

func (p *harborProject) String() string {
	return fmt.Sprintf("project %s of %s", p.name, p.client.Host())
}

// pushes returns the names that are to be pushed.
func (p *harborProject) pushes() []*plannedName {
	return slices.DeleteFunc(slices.Clone(p.names), func(n *plannedName) bool { return n.action != actionPush || n.err != nil })
}

// planProblem is something at the target that keeps the plan from being carried out.
type planProblem struct {
	what   string
	remedy string
	err    error // for the hints; may be nil
}

// refusedError says all that keeps a plan from being carried out.
type refusedError struct{ problems []planProblem }

func (e *refusedError) Error() string {
	lines := []string{"the target does not take what is planned:"}
	for _, p := range e.problems {
		lines = append(lines, fmt.Sprintf("%s; %s", p.what, p.remedy))
	}
	return strings.Join(lines, "\n")
}

func (e *refusedError) Unwrap() []error {
	var errs []error
	for _, p := range e.problems {
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	return errs
}

// refusal returns the problems that were found as an error, or nil.
func (d *delivery) refusal() error {
	if len(d.problems) == 0 {
		return nil
	}
	return &refusedError{d.problems}
}

func (d *delivery) problem(what, remedy string, err error) {
	d.problems = append(d.problems, planProblem{what, remedy, err})
}

// findProjects finds out which targets are Harbors, and of which projects there the names are. A repository of a project
// that is not there, or that the user may not see, cannot even be asked for.
func (d *delivery) findProjects(ctx context.Context) error {
	if d.to.registry == nil {
		return nil
	}
	clients := map[string]*harbor.Client{}
	byName := map[string]*harborProject{}
	for _, n := range d.names {
		if n.down {
			continue
		}
		host := n.target.Repository.Host
		client, asked := clients[host]
		if !asked {
			var err error
			if client, err = d.findHarbor(ctx, host); err != nil {
				return err
			}
			clients[host] = client
		}
		if client == nil {
			continue
		}
		name, _, ok := strings.Cut(n.target.Repository.Path, "/")
		if !ok {
			name = ""
		}
		key := host + "/" + name
		if byName[key] == nil {
			byName[key] = &harborProject{client: client, name: name, refused: !ok}
			d.projects = append(d.projects, byName[key])
		}
		n.project = byName[key]
		n.project.names = append(n.project.names, n)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(d.o.Transfers.N)
	for _, p := range d.projects {
		group.Go(func() error { return p.look(gctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return d.findClosed(ctx)
}

// findHarbor returns a client for a host that is a Harbor, else nil. A host that has trouble with the question is none.
func (d *delivery) findHarbor(ctx context.Context, host string) (*harbor.Client, error) {
	client, err := harbor.Find(ctx, d.to.registry, host)
	var status *registry.Error
	if errors.As(err, &status) {
		d.std.detail("%s: taken for no Harbor: %v", host, err)
		return nil, nil
	}
	if client != nil {
		d.std.detail("%s: a Harbor", host)
	}
	return client, err
}

// look asks how the project is set up.
func (p *harborProject) look(ctx context.Context) error {
	if p.name == "" {
		return nil
	}
	has, err := p.client.HasProject(ctx, p.name)
	if err != nil || !has {
		p.missing = !has
		return err
	}
	set, err := p.client.Project(ctx, p.name)
	if errors.Is(err, oci.ErrDenied) || errors.Is(err, oci.ErrNotFound) {
		p.hidden = true
		return nil
	}
	p.proxy, p.public = set.IsProxy(), set.Public()
	return err
}

// findClosed finds the projects whose tags are not to be asked for. A cache would answer with what the other registry has.
func (d *delivery) findClosed(ctx context.Context) error {
	for _, p := range d.projects {
		switch {
		case p.name == "":
			var names []string
			for _, n := range p.names {
				names = append(names, n.target.String())
			}
			d.problem(someNames(names)+": a Harbor has no repository outside of a project",
				"name a project, as in "+p.client.Host()+"/PROJECT, or give --root PROJECT", nil)
		case p.proxy:
			p.refused = true
			d.problem(p.String()+": a cache of another registry, to which nothing can be pushed", "choose another project", nil)
		case p.hidden:
			may, err := d.mayPush(ctx, p, p.names[0])
			if err != nil {
				return err
			}
			p.refused = !may
		}
	}
	return nil
}

// mayPush reports whether the user may push under the name, and notes the problem if not. What Harbor does not tell shows
// in the push.
func (d *delivery) mayPush(ctx context.Context, p *harborProject, n *plannedName) (bool, error) {
	may, known, err := p.client.MayPush(ctx, n.target.Repository.Path)
	if err != nil {
		return false, err
	}
	if known && !may {
		d.problem(p.String()+": the user may not push there",
			"it takes the role of a developer, or a robot with the right to push repositories", oci.ErrDenied)
		return false, nil
	}
	return true, nil
}

// checkProjects finds what keeps Harbors from taking the names that are to be pushed, but for quotas.
func (d *delivery) checkProjects(ctx context.Context) error {
	for _, p := range d.projects {
		pushes := p.pushes()
		if p.refused || len(pushes) == 0 {
			continue
		}
		if p.missing {
			d.checkMissing(ctx, p)
			continue
		}
		if !p.hidden { // else that was asked already
			if may, err := d.mayPush(ctx, p, pushes[0]); err != nil || !may {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := d.checkImmutable(ctx, p, pushes); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) checkMissing(ctx context.Context, p *harborProject) {
	switch {
	case !d.o.Harbor.Create:
		d.problem(p.String()+": there is no such project", "--create-projects makes it", nil)
	case d.o.DryRun:
		d.std.say("would be created: %s, %s", p, visibility(d.wantsPublic(ctx, p)))
	}
}

// checkImmutable finds the tags which are to change and must not.
func (d *delivery) checkImmutable(ctx context.Context, p *harborProject, pushes []*plannedName) error {
	changes := slices.DeleteFunc(pushes, func(n *plannedName) bool { return !n.changes() })
	fixed := make([]bool, len(changes))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(d.o.Transfers.N)
	for i, n := range changes {
		group.Go(func() (err error) {
			repo := strings.TrimPrefix(n.target.Repository.Path, p.name+"/")
			fixed[i], err = p.client.TagImmutable(gctx, p.name, repo, n.target.Tag)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, n := range changes {
		if fixed[i] {
			d.problem(fmt.Sprintf("%s: a rule of the project makes the tag immutable; it is %s, %s has %s",
				n.target, n.current, d.words.source, n.want), "--existing keep leaves such tags as they are", nil)
		}
	}
	return nil
}
