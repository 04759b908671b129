package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
)

// listOptions are the options of ferry list.
type listOptions struct {
	Place     string // REGISTRY[/PROJECT]
	Source    registryFlags
	Transfers transferFlags
	Selection selection
	JSON      bool
}

func newListCommand(std *stdio) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list REGISTRY[/PROJECT]",
		Short: "List the images of a registry, as lines for pack -f",
		Long: `List the images of a registry, one reference a line, sorted, as ferry pack -f and ferry copy -f read them.

A Harbor is asked by its own API, any other registry for its catalog and for the tags of each repository. PROJECT may be
a project, a namespace or a repository. Registries without a catalog, as Docker Hub, GHCR and ECR, list the tags of the
one repository that is named.

Tags of signatures, attestations and SBOMs are left out: they travel with their images. So are the projects of a Harbor
that are caches of another registry, unless --project names them.

--tag takes globs (* is any text) and ranges of versions: '>=1.2 <2', '~1.4' (1.4 and its patches), '^1' (1 up to
before 2). A tag is a version when it is one to three numbers, with or without a v in front; what follows after a dash
makes it a preview, as in 1.27-alpine, and a range has those only when it names one itself, as in '>=1.27-0'.

--json prints one object: registry, harbor (true when it is one) and images (name, and where it is known digest and
pushed).`,
		Example: `  ferry list harbor.example > images.list
  ferry list harbor.example/k8s --tag '>=1.28' --since 90d
  ferry list localhost:5000 --repo 'calico/*'
  ferry list docker.io/library/nginx --tag '~1.27'`,
		Args: exactArgs("REGISTRY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Place = args[0]
			return runList(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	o.Selection.add(set)
	set.BoolVar(&o.JSON, "json", false, "print everything, as one JSON object")
	o.Source.add(set, sideSource)
	o.Transfers.add(set)
	return cmd
}

func runList(ctx context.Context, o listOptions, std *stdio) (err error) {
	place, err := parsePlace(o.Place)
	if err != nil {
		return err
	}
	selector, err := o.Selection.compile(std.Now())
	if err != nil {
		return err
	}
	if err := o.Transfers.check(); err != nil {
		return err
	}
	ctx, end := o.Transfers.within(ctx)
	defer end(&err)
	from, err := newRemote(&o.Source, &o.Transfers, std)
	if err != nil {
		return err
	}
	defer from.Close()
	l := &lister{from: from, std: std, place: place, selector: selector, parallel: o.Transfers.N}
	found, err := l.run(ctx)
	if found == nil {
		return err
	}
	if werr := found.write(std.Out, place, o.JSON); werr != nil {
		return werr
	}
	if err == nil && len(found.Images) == 0 {
		return &partialError{fmt.Errorf("%s: no image that fits", o.Place)}
	}
	std.say("%s in %s", plural(len(found.Images), "image"), plural(found.Repos, "repository"))
	return err
}

// write prints the list.
func (f *registryList) write(w io.Writer, place oci.Repository, asJSON bool) error {
	if asJSON {
		return writeJSON(w, f.summary(place))
	}
	out := bufio.NewWriter(w)
	for _, image := range f.Images {
		fmt.Fprintln(out, image.Ref)
	}
	return out.Flush()
}

// listSummary is what `ferry list --json` prints.
type listSummary struct {
	Registry string      `json:"registry"`
	Harbor   bool        `json:"harbor"`
	Images   []listEntry `json:"images"`
}

type listEntry struct {
	Name   string     `json:"name"`
	Digest string     `json:"digest,omitempty"`
	Pushed *time.Time `json:"pushed,omitempty"`
}

func (f *registryList) summary(place oci.Repository) listSummary {
	s := listSummary{Registry: place.Host, Harbor: f.Harbor != nil, Images: []listEntry{}}
	for _, image := range f.Images {
		e := listEntry{Name: image.Ref.String(), Digest: image.Digest.String()}
		if !image.Pushed.IsZero() {
			e.Pushed = &image.Pushed
		}
		s.Images = append(s.Images, e)
	}
	return s
}
