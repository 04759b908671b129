package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/archive"
	"github.com/ferry-oci/ferry/registry"
)

// unpacking is the bundle of a run of ferry unpack, as the origin of its delivery.
type unpacking struct {
	in     packed
	bundle string // its name, for messages
	o      *unpackOptions
	std    *stdio
	to     *destination

	entries map[*deliverable]bundle.Image
	lacking []string // images that need a volume which is missing
}

// run delivers the images, narrowed to the platforms in wants.
func (u *unpacking) run(ctx context.Context, namings []*registry.Naming, wants []oci.Platform) error {
	images, err := u.choose()
	if err != nil {
		return err
	}
	d := &delivery{
		o: &u.o.deliverOptions, std: u.std, words: unpackWords, from: u, to: u.to, wasPublic: u.wasPublic, keepGoing: u.o.KeepGoing,
	}
	if u.o.toArchive() {
		d.words.done = "written"
		u.leaveReferrers(images)
	}
	if len(wants) > 0 {
		d.steps = append(d.steps, d.choosePlatforms(wants))
	}
	if err := d.plan(ctx, images, namings); err != nil {
		return err
	}
	switch {
	case u.o.DryRun:
		err := d.writePlan(u.std.Out)
		if lacking := d.verdict(); lacking != nil {
			err = errors.Join(err, &partialError{lacking})
		}
		return err
	case len(wants) > 0 && !u.o.KeepGoing && d.lacks():
		return &partialError{fmt.Errorf("%w; nothing was moved, --keep-going unpacks the others", d.verdict())}
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	if !u.o.toLocal() {
		u.sayNodes(namings[0].Host)
	}
	return nil
}

// sayNodes prints the command that tells nodes where the images are now. host is the target's.
func (u *unpacking) sayNodes(host string) {
	bundles, target := u.o.Bundles, u.o.Targets[0]
	if u.o.fromPipe() {
		bundles = []string{"BUNDLE"}
	}
	flags := u.o.Names.args()
	if u.o.Merge.Platforms {
		flags = append(flags, "--merge-platforms")
	}
	scheme := u.to.registry.Scheme(host)
	switch {
	case u.o.Dest.ca != "":
		flags = append(flags, "--ca", u.o.Dest.ca)
	case !u.o.Dest.tlsVerify && scheme == registry.SchemeHTTPS:
		flags = append(flags, "--tls-verify=false")
	}
	if (scheme == registry.SchemeHTTP) != registry.IsLoopback(host) { // which is not what hosts takes for granted
		target = string(scheme) + "://" + target
	}
	sayNodes(u.std, bundles, target, flags...)
}

// choose returns the images that --image asks for.
func (u *unpacking) choose() ([]*deliverable, error) {
	if file, ok := u.in.(*packedFile); ok {
		u.lacking = file.Lacking()
	}
	filter := newImageFilter(u.o.Images)
	used := make([]bool, len(u.o.Images))
	u.entries = map[*deliverable]bundle.Image{}
	var images []*deliverable
	for _, img := range u.in.Head().Images {
		ref, err := oci.ParseReference(img.Name)
		if err != nil {
			return nil, damagedf("%s: image of the bundle: %v", u.bundle, err)
		}
		if filter.match(ref, used) {
			chosen := &deliverable{ref: ref, line: ref.Name(), digest: img.Digest}
			u.entries[chosen] = img
			images = append(images, chosen)
		}
	}
	for i, ok := range used {
		if !ok {
			return nil, usagef("--image %s: no image of the bundle fits", filter.texts[i])
		}
	}
	return images, nil
}

// wasPublic reports whether the bundle says that everybody could pull the image where it was packed.
func (u *unpacking) wasPublic(_ context.Context, img *deliverable) bool {
	name, _, _ := strings.Cut(img.ref.Path, "/")
	return slices.ContainsFunc(u.in.Head().Projects, func(p bundle.Project) bool {
		return p.Public && p.Registry == img.ref.Host && p.Name == name
	})
}

func (u *unpacking) source() oci.Source {
	if file, ok := u.in.(*packedFile); ok && file.Head().IsCompact() {
		return file.inOrder()
	}
	return u.in
}

func (u *unpacking) name() string { return u.bundle }

// load has nothing to do: a bundle has its manifests at hand.
func (u *unpacking) load(context.Context, []*deliverable) error { return nil }

func (u *unpacking) graph(ctx context.Context, img *deliverable) (*oci.Node, error) {
	if err := u.lacks(img); err != nil {
		return nil, err
	}
	root, err := u.in.Graph(ctx, u.entries[img])
	return root, imageDamage(u.entries[img], err)
}

func (u *unpacking) original(ctx context.Context, img *deliverable) (*oci.Node, error) {
	entry := u.entries[img]
	if entry.Original == nil {
		return nil, nil
	}
	if err := u.lacks(img); err != nil {
		return nil, err
	}
	read := func(ctx context.Context, d oci.Descriptor) ([]byte, error) {
		return readSmall(ctx, u.in, oci.Repository{}, d)
	}
	n, err := oci.LoadManifest(ctx, read, entry.Original.Descriptor())
	return n, imageDamage(entry, err)
}

func (u *unpacking) referrers(ctx context.Context, img *deliverable) ([]oci.Referrer, error) {
	if err := u.lacks(img); err != nil {
		return nil, err
	}
	list, err := u.in.Referrers(ctx, u.entries[img])
	return list, imageDamage(u.entries[img], err)
}

// lacks returns an error for an image that needs a volume which is missing.
func (u *unpacking) lacks(img *deliverable) error {
	if !slices.Contains(u.lacking, u.entries[img].Name) {
		return nil
	}
	return fmt.Errorf("it is not whole: %w", u.in.(*packedFile).set.MissingError())
}

// imageDamage returns what err, of reading the manifests of an image, says as damage of the bundle.
func imageDamage(img bundle.Image, err error) error {
	if err == nil || errors.Is(err, bundle.ErrCorrupt) {
		return err
	}
	return &bundle.DamageError{
		Damage: bundle.Damage{
			Member: "image " + img.Name, Digest: img.Digest, Images: []string{img.Name}, Reason: err.Error(),
		},
		Err: err,
	}
}

// stops tells which errors end the run: damage, unless it is to keep going, and what would fail every image.
func (u *unpacking) stops(err error) bool {
	var unreachable *registry.UnreachableError
	switch {
	case isDamage(err):
		return !u.o.KeepGoing || errors.Is(err, archive.ErrBroken)
	case isNoSpace(err), errors.Is(err, archive.ErrBroken):
		return true
	}
	return errors.As(err, &unreachable)
}

// isDamage reports whether err of the copy comes from the bundle. Content that the sink found not to match its digest
// was read from there.
func isDamage(err error) bool {
	var at *oci.CopyError
	return errors.Is(err, bundle.ErrCorrupt) || errors.As(err, &at) && at.Source && errors.Is(at.Err, oci.ErrCorrupt)
}

// blame returns err of the copy with what is known of the side that failed: the place of damage in the bundle, or what
// the hints for a registry need.
func (u *unpacking) blame(err error) error {
	var damage *bundle.DamageError
	var at *oci.CopyError
	switch {
	case errors.As(err, &damage):
		if disks, ok := u.in.(*packedDisks); ok {
			damage.Damage = disks.set.Place(damage.Damage)
		}
		return fmt.Errorf("%s: %w", u.bundle, damage)
	case !isDamage(err):
		return u.to.explain(err)
	}
	errors.As(err, &at)
	if file, ok := u.in.(*packedFile); ok {
		return fmt.Errorf("%s: %w", u.bundle, file.DamageOf(at.Digest, at.Err))
	}
	return &bundle.DamageError{
		Damage: bundle.Damage{
			Member: at.Digest.String(), Digest: at.Digest, Images: u.in.Head().ImagesWith(at.Digest), Reason: at.Err.Error(),
		},
		Err: at.Err,
	}
}

// leaveReferrers leaves what belongs to the images where the target has no place for it, and says so.
func (u *unpacking) leaveReferrers(images []*deliverable) {
	if !u.o.onePlatform() || u.o.NoReferrers {
		return
	}
	u.o.NoReferrers = true
	left := 0
	for _, img := range images {
		left += len(u.entries[img].Referrers)
	}
	if left > 0 {
		u.std.say("%s left in the bundle: a docker-archive has no place for signatures and their like", plural(left, "referrer"))
	}
}

func (u *unpacking) sayEnded(err error) {
	var damage *bundle.DamageError
	if errors.As(err, &damage) {
		for _, name := range damage.Images {
			u.std.complain("  hits " + oneLine(name))
		}
	}
	if !isDamage(err) && !u.o.toArchive() {
		u.std.say("what was pushed stays there, and the same command goes on from it")
	}
}
