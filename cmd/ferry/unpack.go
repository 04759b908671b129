package main

import (
	"context"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
)

// unpackOptions are the options of ferry unpack.
type unpackOptions struct {
	deliverOptions
	Bundles []string // "-" is stdin
	Images  []string // patterns; none: all
	Expect  string   // content id; empty: any

	Platforms []string // none: all, or this machine's for a target of one platform

	VerifyFirst bool
	KeepGoing   bool // push what damage does not hit
}

func newUnpackCommand(std *stdio) *cobra.Command {
	var o unpackOptions
	cmd := &cobra.Command{
		Use:   "unpack BUNDLE... TARGET",
		Short: "Push a bundle to a registry, or into an OCI layout or an archive for other programs",
		Long: `Push the images of a bundle to TARGET, which is REGISTRY[/PREFIX], or oci:DIR for an OCI layout in a folder. The bundle is
read in place, and nothing is written to the disk; BUNDLE - is read from stdin, in order.

` + bundleHelp + ` When some are not there, ferry reads in order and asks for one disk after the other, for each once;
without a terminal it lists which are missing and which images can be unpacked without them, and the exit code is 4. --keep-going
pushes those and asks for nothing.

For containerd, Docker and Podman, TARGET is oci-archive:FILE or docker-archive:FILE, or - in place of FILE for stdout. An
oci-archive has all platforms, digests and signatures; a docker-archive has one platform, this machine's unless --platform
chooses, and images alone. It appears when it is whole; on stdout, what a failed run has written is no archive to any loader.

No tag changes unless each blob of its image was, in this run, read from the bundle and matched its digest, or was
found in that very repository. What the target has is not sent again, so the same command goes on where it was stopped.

Names at the target: the source's host is dropped (or kept with --keep-host), then come --map, --root, --flatten and
the prefix. A name of one segment, such as pause, goes to root/pause on a target that is a bare host. --dry-run
prints the table of names and what is there already, and moves nothing. Folders and archives keep all names.

With --platform, an index is rebuilt with these platforms alone, and has another digest. An image that has none of them
fails; nothing is moved then, unless --keep-going.

A target that is a Harbor is asked for its projects, rights, quotas and immutable tags before anything moves.
--create-projects makes the projects that it lacks.

What belongs to an image, as its signatures, is there before its tag is. What is about an index that was rebuilt with
fewer platforms stays in the bundle.

Damage stops the run with exit code 3. With --keep-going all images that it does not hit are pushed, and the exit code
is 4. From a pipe, tags are set only after the end of the bundle was seen and proven, and damage always stops the run.
Images that pack could not get are repeated as a warning; they do not change the exit code.

Images that failed are printed on stdout, one name a line; each of them can be given to --image.`,
		Example: `  ferry unpack k8s.tar.zst harbor.example/k8s
  ferry unpack --dry-run k8s.tar.zst harbor.example
  ferry unpack --image 'calico/*' --existing keep k8s.tar.zst harbor.example/k8s
  ssh north cat k8s.tar.zst | ferry unpack - 127.0.0.1:5000
  ferry unpack k8s.tar.zst oci:layout
  ferry unpack k8s.tar.zst oci-archive:- | ctr -n k8s.io images import -
  ferry unpack k8s.tar.zst docker-archive:- | docker load`,
		Args: leastArgs("BUNDLE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			o.Bundles, o.Targets = args[:last], args[last:]
			return runUnpack(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	o.add(set)
	set.StringArrayVar(&o.Images, "image", nil,
		"take only images whose name fits `PATTERN`, such as 'calico/*' or pause:3.9 (repeatable)")
	set.StringSliceVar(&o.Platforms, "platform", nil,
		"keep only these `PLATFORMS`, such as linux/amd64; a docker-archive has one, which is this machine's unless given")
	set.StringVar(&o.Expect, "expect", "", "fail unless the bundle has this content `ID`")
	set.BoolVar(&o.VerifyFirst, "verify-first", false, "read and prove the whole bundle before anything is pushed")
	set.BoolVar(&o.KeepGoing, "keep-going", false, "push all images that damage does not hit")
	return cmd
}

// check finds what is wrong with the options alone.
func (o *unpackOptions) check() error {
	if err := o.deliverOptions.check(); err != nil {
		return err
	}
	if a, ok := o.archive(); ok && slices.ContainsFunc(o.Bundles, func(path string) bool { return sameFile(path, a.path) }) {
		return usagef("target %s: that is the bundle, which the archive would replace", a)
	}
	if len(o.Bundles) > 1 && slices.Contains(o.Bundles, "-") {
		return usagef("-: a pipe is read alone, without other bundles")
	}
	if info, err := os.Stat(o.Targets[0]); err == nil && info.Mode().IsRegular() {
		return usagef("TARGET is missing: %s, the last argument, is a file", o.Targets[0])
	}
	if o.fromPipe() && o.VerifyFirst {
		return usagef("--verify-first: a pipe cannot be read twice; from it, tags are set after all was read in any case")
	}
	return nil
}

// wants returns the platforms that are to be kept; none: all.
func (o *unpackOptions) wants() ([]oci.Platform, error) {
	given, err := parsePlatforms(o.Platforms)
	if err != nil {
		return nil, err
	}
	if len(given) > 0 && o.Merge.Platforms {
		return nil, usagef("--platform: it cannot be combined with --merge-platforms")
	}
	return o.platforms(given)
}

func (o *unpackOptions) fromPipe() bool { return o.Bundles[0] == "-" }

func runUnpack(ctx context.Context, o unpackOptions, std *stdio) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	wants, err := o.wants()
	if err != nil {
		return err
	}
	ctx, end := o.Transfers.within(ctx)
	defer end(&err)
	namings, err := o.namings()
	if err != nil {
		return err
	}
	in, name, err := openPacked(ctx, &o, std)
	if err != nil {
		return err
	}
	defer in.Close()
	repeatMissing(in.Head(), std)
	keepSourceNames(namings, in.Head())
	to, err := openDestination(&o.deliverOptions, o.KeepGoing, std)
	if err != nil {
		return err
	}
	defer func() { err = to.end(err) }()
	u := &unpacking{in: in, bundle: name, o: &o, std: std, to: to}
	return u.run(ctx, namings, wants)
}

var unpackWords = deliverWords{command: "unpack", done: "pushed", undone: "unpacked", source: "the bundle"}
