package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// copyOptions are the options of ferry copy.
type copyOptions struct {
	imageFlags
	deliverOptions
	KeepGoing bool // copy the images that can be had when others cannot
}

func newCopyCommand(std *stdio) *cobra.Command {
	var o copyOptions
	var more []string
	cmd := &cobra.Command{
		Use:   "copy [IMAGE...] [-f LIST] TARGET [--to TARGET...]",
		Short: "Copy images from registry to registry",
		Long: `Copy images from their registries to TARGET, which is REGISTRY[/PREFIX], or oci:DIR for an OCI layout in a folder. Nothing
else is written to the disk: each blob goes from the source to the target as it comes, and is hashed on the way, so that
wrong bytes never complete an upload. Every platform is copied unless --platform chooses.

The last argument is TARGET, and those before it are images, each with its tag or digest. A list (-f) has one reference
a line, as for ferry pack. --to names one more target; each blob is read once and goes to all. A target that is slow or
fails does not keep the others from theirs.

An image whose tag is right at the target costs one HEAD at either side. Of others, what the target has is skipped, what
another of its repositories has is mounted, as is all that comes from the target's own registry, and the rest is sent.
Tags are set last. So the same command goes on where it was stopped, however hard, and a large upload goes on where the
registry stands.

What belongs to an image, as its signatures, is found at the source and is there before its tag is. Of images whose
tag is right already it is looked for with --recheck.

Names at the target are made as by ferry unpack: the source's host is dropped (or kept with --keep-host), then come
--map, --root, --flatten and the prefix. --dry-run prints the table of names, what there is already and what would be
moved. An image that would be copied onto itself is left as it is.

A target that is a Harbor is asked for its projects, rights, quotas and immutable tags before anything moves.
--create-projects makes the projects that it lacks.

When an image cannot be found at its source, or lacks a platform, nothing is moved, unless --keep-going. What a quota keeps
back, and what fails later, fails alone. The images that failed are printed on stdout, as lines for -f, and the exit code
is 4.`,
		Example: `  ferry copy -f images.list harbor.example/k8s
  ferry copy --dry-run -f images.list --platform linux/amd64,linux/arm64 harbor.example/k8s
  ferry copy -f images.list harbor.example/k8s --to standby.example/k8s
  ferry copy nginx:1.27 registry.k8s.io/pause:3.9 uhub.example/k8s-use --flatten
  ferry copy -f images.list oci:layout`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.setArgs(args, more); err != nil {
				return err
			}
			return runCopy(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	o.imageFlags.add(set)
	o.deliverOptions.add(set)
	set.StringArrayVar(&more, "to", nil, "copy to this `TARGET`, too (repeatable)")
	set.BoolVar(&o.KeepGoing, "keep-going", false, "copy all other images when some cannot be found")
	return cmd
}

// setArgs takes the images and the targets from the command line. An image that could be meant as a target, or a target
// that could be meant as an image, is a mistake there.
func (o *copyOptions) setArgs(args, more []string) error {
	if len(args) == 0 {
		return usagef("TARGET is missing: it is the last argument; --to is for more of them")
	}
	last := len(args) - 1
	o.Images, o.Targets = args[:last], append(args[last:], more...)
	for _, image := range o.Images {
		if err := checkImageArg(image); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, target := range o.Targets {
		key := strings.TrimSuffix(target, "/")
		if seen[key] {
			return usagef("target %s is given twice", target)
		}
		seen[key] = true
		if isLocal(target) {
			continue
		}
		if _, err := registry.ParseTarget(target); err != nil {
			return usagef("%w; TARGET is REGISTRY[/PREFIX], and the last argument", err)
		}
	}
	return nil
}

// checkImageArg returns a usage error for an argument before TARGET that may be meant as one more target.
func checkImageArg(arg string) error {
	ref, err := oci.ParseReference(arg)
	if err != nil {
		return &usageError{err}
	}
	switch {
	case isLocal(arg) || isBareHost(arg):
		return usagef("%s is a target, but not the last argument; more targets are given with --to", arg)
	case ref.Digest == "" && !strings.HasSuffix(arg, ":"+ref.Tag):
		return usagef("%s is not the last argument, so it is an image, and needs its tag or digest, as in %s:latest; "+
			"if it is one more target, give it with --to", arg, arg)
	}
	return nil
}

// isBareHost reports whether arg is a host, with a port perhaps, which as an image would be one of Docker Hub.
func isBareHost(arg string) bool {
	name, port, _ := strings.Cut(arg, ":")
	return !strings.Contains(arg, "/") && strings.Trim(port, "0123456789") == "" &&
		(strings.Contains(name, ".") || name == "localhost")
}

func runCopy(ctx context.Context, o copyOptions, std *stdio) (err error) {
	if err := o.deliverOptions.check(); err != nil {
		return err
	}
	wants, err := o.planOptions()
	if err != nil {
		return err
	}
	if wants.Platforms, err = o.platforms(wants.Platforms); err != nil {
		return err
	}
	ctx, end := o.Transfers.within(ctx)
	defer end(&err)
	namings, err := o.namings()
	if err != nil {
		return err
	}
	refs, sources, err := o.refs(std)
	if err == nil && len(sources) > 0 {
		err = usagef("%s: only ferry pack reads images from there; through a pipe: ferry pack %s -o - | ferry unpack - TARGET", sources[0], sources[0])
	}
	if err != nil {
		return err
	}
	from, err := newRemote(&o.Source, &o.Transfers, std)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openDestination(&o.deliverOptions, o.KeepGoing, std)
	if err != nil {
		return err
	}
	defer func() { err = to.end(err) }()
	c := &copying{o: &o, std: std, from: from, to: to, refs: refs, wants: wants, cache: oci.NewMemoryCache()}
	return c.run(ctx, namings)
}

var copyWords = deliverWords{command: "copy", done: "copied", undone: "copied", source: "the source", counted: true}
