package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
)

// packOptions are the options of ferry pack.
type packOptions struct {
	imageFlags
	From   string // REGISTRY[/PROJECT] whose images are meant, instead of those of a list
	Select selection
	outputFlags
	Store     string // folder that is kept; empty: one of this output's own
	Consume   bool   // drop blobs from the store once they are in the output
	Compact   bool   // un-gzip layers that can be re-created
	FrameSize string // with Compact, the most plain bytes of layers in a frame; empty is the format's own
	Transfers transferFlags
	With      withFlags

	DryRun    bool
	KeepGoing bool // write the bundle without the images that failed
	Refresh   bool // forget what an earlier run resolved

	NoReferrers bool // leave out what belongs to the images
}

func newPackCommand(std *stdio) *cobra.Command {
	var o packOptions
	cmd := &cobra.Command{
		Use:   "pack [IMAGE|SOURCE...] [--from REGISTRY[/PROJECT]] -o BUNDLE",
		Short: "Fetch images and write them into one bundle",
		Long: `Fetch images, every platform unless --platform chooses, and write them into one bundle. The ending of BUNDLE chooses the
compressor: .tar.zst, .tar.xz or .tar. Beside it appears BUNDLE.sha256.

A list (-f) has one reference a line; # begins a comment, and Docker's short forms are known. Each blob is fetched
once, whatever number of images share it, into a store on the disk: a folder of this bundle's own under the user's
cache folder, removed when the bundle is whole, or the one of --store, which is kept, so that the next pack fetches only
what is new. A run that was stopped, however hard, goes on where it was when the same command is given again, with the
images that it resolved then; --refresh resolves them anew.

Images that lie on this machine are packed beside those of registries; each may stand on the command line and in lists:
  oci:DIR[:REF]              an OCI image layout, as skopeo, buildah and ferry unpack write it, or the store of another pack
  oci-archive:FILE[:REF]     the same in a tar; - is stdin
  docker-archive:FILE[:REF]  what docker save, podman save and crane write; - is stdin
  dir:FOLDER[=REGISTRY]      what skopeo copy or skopeo sync to dir has written, one folder or a tree of them
Archives may be compressed, and FILE may be a folder of them. REF is one of the names there, a tag, @N for the Nth image from 0, or @sha256:... ; without it all
images are packed. =NAME behind any of them says what to call the image, which one without a full name needs.

--from packs what ferry list prints of a registry, with the same filters, instead of a list: a backup. It is listed once,
and a run that goes on keeps to that list; --refresh lists anew. The bundle records as of when it is, and how the projects of a
Harbor are set up. What was deleted between the list and the fetch is a warning. A repository that cannot be listed ends
the run.

What belongs to an image travels with it: signatures, SBOMs and attestations, as referrers or under cosign's tags. An
image of which that cannot be found out fails, unless --no-referrers leaves all of it behind.

With --compact, layers are un-gzipped and compressed anew, together, which takes about half of the bytes and more time.
Each one is proven before: ferry finds the program that made it and makes it again, bit for bit, so that unpack gives every
digest as it was. A layer of which that cannot be done stays as it is; ferry inspect says why. The store needs the disk of all
blobs, and is written from when all of them have come. --level max takes the zstd program (or xz) where it is on PATH.

With --split the bundle is cut into volumes, BUNDLE.001 and so on, that fit on what carries them: cat BUNDLE.[0-9]* gives the
bundle as it would be in one file. They fill the folder of BUNDLE, then the others that -o names after commas. A run that was stopped
goes on behind the last volume that was finished. Volumes of another pack under that name are refused, or removed with --replace.

--with puts ferry itself beside the bundle, for the platforms of the far side, and a README.txt that tells how to verify and load
it, without ferry, too. BUNDLE.sha256 has their sums. This ferry's own platform is itself; others are files as make release writes
them (ferry-linux-arm64), in the folder of this ferry or of --with-from, held against SHA256SUMS where that is there.

With -o - the bundle goes to stdout while it is made, and its checksum to stderr. What a run that failed has written has no end,
so that ferry unpack - sets no tag by it. With --keep-going it begins when all has been fetched.

With --consume, what is in the output leaves the store, so that both together need the disk of the bundle and little
more. A run that does not end well then has to fetch again what it had dropped.

An image that cannot be fetched does not stop the others, but no bundle is written then, unless --keep-going: the
bundle says what is missing. The images that failed are printed on stdout, as lines for -f, and the exit code is 4.`,
		Example: `  ferry pack -f images.list -o k8s.tar.zst
  ferry pack -f images.list --platform linux/amd64,linux/arm64 -o k8s.tar.zst
  ferry pack --compact -f images.list -o k8s.tar.zst
  ferry pack --split fat32 -f images.list -o /media/usb1/k8s.tar.zst,/media/usb2
  ferry pack --dry-run -f images.list -o k8s.tar.zst
  ferry pack --store /var/cache/ferry -f images.list -o k8s.tar.xz
  ferry pack --from harbor.example -o backup.tar.zst
  docker save app:1 tool:2 | ferry pack docker-archive:- -f images.list -o k8s.tar.zst
  ferry pack dir:images=registry.k8s.io -o k8s.tar.zst
  ferry pack nginx:1.27 registry.k8s.io/pause:3.9 -o two.tar.zst
  ferry pack -f images.list -o - | ssh bastion ferry unpack - harbor.example/k8s`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Images = args
			if o.Compact && !cmd.Flags().Changed("level") {
				o.Level = compress.Best.String()
			}
			return runPack(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	o.imageFlags.add(set)
	set.StringVar(&o.From, "from", "", "pack the images of a `REGISTRY[/PROJECT]`, as ferry list lists them")
	addSelection(set, &o.Select)
	o.outputFlags.add(set)
	set.Lookup("level").Usage += ", with --compact best"
	set.Lookup("output").Usage += ", - is stdout"
	set.StringVar(&o.Format, "format", "", "with -o -, the compressor: zst, xz or none (default zst)")
	set.StringVar(&o.Store, "store", "", "keep what is fetched in the folder `DIR` for later runs")
	set.BoolVar(&o.Consume, "consume", false, "drop what is fetched as soon as it is in the bundle, to need no more disk than that")
	set.BoolVar(&o.Compact, "compact", false, "un-gzip layers, with proof that unpack gives the very same ones, and pack them much smaller")
	set.StringVar(&o.FrameSize, "frame-size", "", "with --compact, put at most `SIZE` of plain layers into a frame")
	_ = set.MarkHidden("frame-size") // for measurements; it is there
	o.With.add(set)
	set.BoolVar(&o.DryRun, "dry-run", false, "print the plan and fetch nothing but manifests")
	set.BoolVar(&o.KeepGoing, "keep-going", false, "write the bundle without the images that could not be fetched")
	set.BoolVar(&o.NoReferrers, "no-referrers", false, "leave out signatures, SBOMs and whatever else belongs to the images")
	set.BoolVar(&o.Refresh, "refresh", false, "resolve tags anew, even if an earlier run that was stopped has done so")
	o.Transfers.add(set)
	return cmd
}

// packing is one run of ferry pack.
type packing struct {
	o       *packOptions
	std     *stdio
	diskOf  func(path string) (disk, error)
	wants   oci.PlanOptions
	consume consumeSizes
	bundleOptions
	longFrame  int64       // plain bytes; 0 is the format's own
	with       []companion // what is to lie beside the bundle
	stdout     io.Writer   // for -o -
	refs       []oci.Reference
	sources    []local.Source // whose images are in refs once they are open
	local      localSources
	archiveDir string  // in the store, once one had to be put aside
	backup     *backup // with --from, what the registry has

	from     *remote
	store    *oci.Store
	newStore bool // this run has made its folder
	journal  *oci.Journal
	plan     *oci.Plan
	failed   []failedImage   // in the order in which they failed
	gone     []oci.Reference // of a backup, those that were deleted since it was listed
	fetching bool            // blobs were fetched, or tried to be
	written  bool            // the bundle has its name
	finished string          // volumes of one that was not finished, for messages

	held      map[digest.Digest]bool // blobs that volumes hold which an earlier run has finished
	rechecked bool                   // all blobs in the store have been hashed
}

// failedImage is an image that will not be in the bundle.
type failedImage struct {
	ref oci.Reference
	err error
}

func runPack(ctx context.Context, o packOptions, std *stdio) (err error) {
	ctx, end := o.Transfers.within(ctx)
	defer end(&err)
	p := &packing{o: &o, std: std, diskOf: diskOf, consume: defaultConsume}
	return p.pack(ctx)
}

// pack is the whole run.
func (p *packing) pack(ctx context.Context) (err error) {
	if err := p.check(); err != nil {
		return err
	}
	if p.o.From == "" {
		if p.refs, p.sources, err = p.o.refs(p.std); err != nil {
			return err
		}
		if err := p.checkSources(); err != nil {
			return err
		}
	}
	if p.from, err = newRemote(&p.o.Source, &p.o.Transfers, p.std); err != nil {
		return err
	}
	defer p.from.Close()
	unlock, err := lockOutput(p.outputName(), p.o.DryRun)
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.openStore(ctx); err != nil {
		return err
	}
	defer func() { err = p.end(ctx, err) }()
	if p.backup != nil {
		if err := p.takeList(ctx); err != nil {
			return err
		}
	}
	if p.o.DryRun {
		return p.dryRun(ctx)
	}
	return p.writeBundle(ctx)
}

// end closes the store, and says when it keeps something for the next run; where images failed, the verdict does.
func (p *packing) end(ctx context.Context, err error) error {
	text := ""
	if err != nil && p.fetching {
		text = p.keptText(ctx)
	}
	sayRetries(p.std, p.from.Client)
	localErr := p.local.close()
	kept, closeErr := p.closeStore(err == nil && !p.o.DryRun)
	var partial *partialError
	if kept && text != "" && !errors.As(err, &partial) {
		p.std.say("%s", text)
	}
	return errors.Join(err, localErr, closeErr)
}

// keptText says that a run can go on.
func (p *packing) keptText(ctx context.Context) string {
	if p.finished != "" {
		return fmt.Sprintf("what was fetched is kept in %s, and there are %s: the same command goes on from there", p.store.Dir(), p.finished)
	}
	if n, size := p.dropped(ctx); n > 0 {
		return fmt.Sprintf("of what was fetched, %s (%s) had been dropped and will have to be fetched again; the rest is kept in %s, "+
			"and the same command goes on from there", plural(n, "blob"), formatSize(size), p.store.Dir())
	}
	return fmt.Sprintf("what was fetched is kept in %s, and the same command goes on from there", p.store.Dir())
}

// check finds what is wrong with the options alone, and with the place of the output.
func (p *packing) check() (err error) {
	o := p.o
	if p.bundleOptions, err = o.options(p.std); err != nil {
		return err
	}
	if p.wants, err = o.planOptions(); err != nil {
		return err
	}
	if err := o.Transfers.check(); err != nil {
		return err
	}
	if p.longFrame, err = o.longFrame(); err != nil {
		return err
	}
	if o.Compact {
		p.writer.MaxMemory = compactMemory(p.writer)
	}
	if o.Consume && o.Store != "" {
		return usagef("--store keeps what --consume drops: only one of them can be given")
	}
	if p.backup, err = o.backup(p.std); err != nil {
		return err
	}
	if o.toStdout() {
		return p.checkStdout()
	}
	if p.with, err = o.With.companions(o.Output); err != nil {
		return err
	}
	p.output.Free = freeOf(p.diskOf)
	return checkOutput(o.Output, p.output, o.Files, "the list of -f")
}

// compactMemory returns how many bytes encoders with a window of 128 MiB may take: one of ferry's own at the best level,
// whatever number of processors; or some processes of the program that is used.
func compactMemory(o compress.WriterOptions) int64 {
	const most = 8
	jobs := int64(min(cmp.Or(o.Jobs, runtime.GOMAXPROCS(0)), most))
	switch {
	case o.ZstdProgram != "":
		return 200<<20 + jobs*300<<20
	case o.XZProgram != "":
		return 200<<20 + jobs*700<<20
	}
	return 400 << 20
}

// longFrame returns the value of --frame-size, 0 for none.
func (o *packOptions) longFrame() (int64, error) {
	if o.FrameSize == "" {
		return 0, nil
	}
	size, err := parseSize(o.FrameSize)
	switch {
	case err != nil:
		return 0, usagef("--frame-size: %w", err)
	case !o.Compact || size < 1<<20 || size > compress.MaxLongFrame:
		return 0, usagef("--frame-size %s: 1 MiB to %s, and only with --compact", o.FrameSize, formatBinary(compress.MaxLongFrame))
	}
	return size, nil
}
