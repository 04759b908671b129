package oci_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// planOf plans the images and what belongs to them.
func planOf(t *testing.T, src *ocitest.Memory, cache oci.Cache, o oci.PlanOptions, find oci.FindOptions, refs ...string) *oci.Plan {
	t.Helper()
	list, err := oci.ParseList("list", strings.NewReader(strings.Join(refs, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	p, err := oci.MakePlan(t.Context(), list, src, src, cache, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := oci.FindReferrers(t.Context(), p, src, src, cache, find); err != nil {
		t.Fatal(err)
	}
	return p
}

// belongs tells what belongs to an image: subject, digest and tag of each, in order.
func belongs(image oci.PlannedImage) []string {
	var list []string
	for _, r := range image.Referrers {
		list = append(list, line(r.Subject, r.Root.Digest, r.Tag))
	}
	return list
}

func line(subject, d digest.Digest, tag string) string {
	return fmt.Sprintf("%s about %s %s", d.Encoded()[:8], subject.Encoded()[:8], tag)
}

const appName = "r.example/app:v1"

var appRepo = oci.Repository{Host: "r.example", Path: "app"}

func TestFindReferrers(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	cosign := ocitest.CosignSignature(image)
	sbom := ocitest.Referrer(ocitest.SBOMType, image.Children[1], "sbom of a child")
	sbomSig := ocitest.Referrer(ocitest.SignatureType, sbom, "signature of the sbom")
	other := ocitest.Referrer(ocitest.SBOMType, ocitest.MultiArch(2, "other"), "about another image")
	src.Add(appRepo, "v1", image)
	src.Add(appRepo, ocitest.CosignTag(image), cosign)
	for _, g := range []*ocitest.Graph{sbom, sbomSig, other} {
		src.Add(appRepo, "", g)
	}
	p := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{}, appName, "r.example/app:v1@"+image.Digest.String())
	want := []string{
		line(image.Children[1].Digest, sbom.Digest, ""),
		line(image.Digest, cosign.Digest, ocitest.CosignTag(image)),
		line(sbom.Digest, sbomSig.Digest, ""),
	}
	if got := belongs(p.Images[0]); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	manifests, _, _ := oci.Blobs(p.Roots()...)
	if len(manifests) != len(image.Children)+1+3 {
		t.Errorf("the plan has %d manifests", len(manifests))
	}
	attached, left := oci.AttachTo(p.Images[0].Root, p.Images[0].Referrers)
	if len(attached) != 3 || len(left) != 0 || attached[1].Tag != ocitest.CosignTag(image) || attached[2].Subject != sbom.Digest {
		t.Errorf("attached %+v, left %+v", attached, left)
	}
}

// Images that share manifests in one repository are asked about once, and the plan does not depend on how many are looked
// at at a time.
func TestFindReferrersAsksOnce(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	var refs []string
	for i := range 20 {
		src.Add(appRepo, fmt.Sprintf("v%d", i), image)
		refs = append(refs, fmt.Sprintf("r.example/app:v%d", i))
	}
	src.Add(appRepo, "", ocitest.Referrer(ocitest.SBOMType, image, "sbom"))
	one := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{Parallel: 1}, refs...)
	if n, want := len(src.Ops("referrers")), len(image.Children)+2; n != want {
		t.Errorf("asked %d times, want %d", n, want)
	}
	many := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{Parallel: 16}, refs...)
	if n, want := len(src.Ops("referrers")), 2*(len(image.Children)+2); n != want {
		t.Errorf("asked %d times in both, want %d", n, want)
	}
	if !reflect.DeepEqual(one, many) {
		t.Error("16 at a time make another plan than 1")
	}
}

// With platforms left out, what is about those that are kept belongs to the image, and what is about the original index.
func TestFindReferrersOfFilteredImage(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	kept := ocitest.Referrer(ocitest.SBOMType, image.Children[0], "kept")
	gone := ocitest.Referrer(ocitest.SBOMType, image.Children[1], "of a platform that is left out")
	whole := ocitest.Referrer(ocitest.SignatureType, image, "of the whole index")
	wholeSig := ocitest.Referrer(ocitest.SignatureType, whole, "of that")
	src.Add(appRepo, "v1", image)
	for _, g := range []*ocitest.Graph{kept, gone, whole, wholeSig} {
		src.Add(appRepo, "", g)
	}
	p := planOf(t, src, nil, oci.PlanOptions{Platforms: []oci.Platform{ocitest.AMD64}}, oci.FindOptions{}, appName)
	i := p.Images[0]
	want := []string{
		line(image.Digest, whole.Digest, ""), line(image.Children[0].Digest, kept.Digest, ""), line(whole.Digest, wholeSig.Digest, ""),
	}
	if got := belongs(i); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	attached, left := oci.AttachTo(i.Root, i.Referrers)
	if len(attached) != 1 || attached[0].Root.Digest != kept.Digest || len(left) != 2 {
		t.Errorf("%d attached, %d left", len(attached), len(left))
	}
	for _, op := range src.Ops("referrers") {
		if op.Digest == i.Root.Digest || op.Digest == image.Children[1].Digest {
			t.Errorf("asked about %s, which is not at the source or was left out", op.Digest)
		}
	}
}

func TestFindReferrersFails(t *testing.T) {
	image, whole := ocitest.MultiArch(1, "app"), ocitest.MultiArch(2, "whole")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	chain := []*ocitest.Graph{ocitest.Referrer(ocitest.SBOMType, image, "0")}
	for i := range 9 {
		chain = append(chain, ocitest.Referrer(ocitest.SBOMType, chain[i], fmt.Sprint(i+1)))
	}
	broken := errors.New("out of order")
	failing := func(name string) func(context.Context, ocitest.Op) error {
		return func(_ context.Context, op ocitest.Op) error {
			if op.Name == name && op.Repository == appRepo && (name != "open" || op.Digest == sbom.Digest) {
				return broken
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		add   []*ocitest.Graph
		fault func(context.Context, ocitest.Op) error
		want  error
	}{
		"they cannot be asked for":        {fault: failing("referrers"), want: broken},
		"one of them cannot be read":      {add: []*ocitest.Graph{sbom}, fault: failing("open"), want: broken},
		"of more levels than are carried": {add: chain},
	} {
		t.Run(name, func(t *testing.T) {
			src := &ocitest.Memory{Fault: test.fault}
			src.Add(appRepo, "v1", image)
			src.Add(oci.Repository{Host: "r.example", Path: "whole"}, "v1", whole)
			for _, g := range test.add {
				src.Add(appRepo, "", g)
			}
			p := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{}, appName, "r.example/whole:v1")
			var failed *oci.ReferrersError
			if i := p.Images[0]; !errors.As(i.Err, &failed) || i.Root != nil || test.want != nil && !errors.Is(i.Err, test.want) {
				t.Errorf("error %v", i.Err)
			}
			if p.Images[1].Err != nil {
				t.Errorf("another image: %v", p.Images[1].Err)
			}
		})
	}
}

// finder finds what it is told to.
type finder map[digest.Digest][]oci.FoundReferrer

func (f finder) Referrers(_ context.Context, _ oci.Repository, subject digest.Digest) ([]oci.FoundReferrer, error) {
	return f[subject], nil
}

// What is listed and yet no referrer, or not there, is left out, and told of.
func TestFindReferrersSkips(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	old := sbom.Descriptor
	old.MediaType = "application/vnd.oci.artifact.manifest.v1+json"
	for name, test := range map[string]struct {
		found oci.FoundReferrer
		why   string
	}{
		"it is not there any more": {
			oci.FoundReferrer{Descriptor: ocitest.Referrer(ocitest.SBOMType, image, "gone").Descriptor, Found: oci.FoundByFallback}, "not found",
		},
		"it is about another image": {
			oci.FoundReferrer{Descriptor: ocitest.MultiArch(9, "x").Children[0].Descriptor, Found: oci.FoundByFallback}, "does not say so",
		},
		"it is of a kind that is no manifest's": {oci.FoundReferrer{Descriptor: old, Found: oci.FoundByAPI}, "artifact.manifest.v1"},
		"its type is too long": {
			oci.FoundReferrer{Descriptor: ocitest.Referrer(strings.Repeat("x", 256), image, "").Descriptor, Found: oci.FoundByAPI}, "256 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := &ocitest.Memory{}
			src.Add(appRepo, "v1", image)
			src.Add(appRepo, "", sbom)
			src.Add(appRepo, "", ocitest.MultiArch(9, "x"))
			src.Add(appRepo, "", ocitest.Referrer(strings.Repeat("x", 256), image, ""))
			list, err := oci.ParseList("list", strings.NewReader(appName))
			if err != nil {
				t.Fatal(err)
			}
			p, err := oci.MakePlan(t.Context(), list, src, src, nil, oci.PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			good := oci.FoundReferrer{Descriptor: sbom.Descriptor, Found: oci.FoundByAPI}
			err = oci.FindReferrers(t.Context(), p, finder{image.Digest: {test.found, good}}, src, nil, oci.FindOptions{
				Skipped: func(ref oci.Reference, err error) { told = append(told, ref.String()+": "+err.Error()) },
			})
			if err != nil || p.Images[0].Err != nil {
				t.Fatalf("%v; %v", err, p.Images[0].Err)
			}
			if got := belongs(p.Images[0]); !slices.Equal(got, []string{line(image.Digest, sbom.Digest, "")}) {
				t.Errorf("%q", got)
			}
			if len(told) != 1 || !strings.Contains(told[0], test.why) || !strings.HasPrefix(told[0], appName) {
				t.Errorf("told %q", told)
			}
		})
	}
}

// Harbor's API lists what is about an image by cosign's tag alone; it is taken once, by its tag.
func TestFindReferrersOfHarbor(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	cosign, tag := ocitest.CosignSignature(image), ocitest.CosignTag(image)
	src.Add(appRepo, "v1", image)
	src.Add(appRepo, tag, cosign)
	p := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{}, appName)
	p.Images[0].Referrers = nil
	err := oci.FindReferrers(t.Context(), p, finder{image.Digest: {
		{Descriptor: cosign.Descriptor, Found: oci.FoundByAPI}, {Descriptor: cosign.Descriptor, Found: oci.FoundByTag, Tag: tag},
	}}, src, nil, oci.FindOptions{Skipped: func(_ oci.Reference, err error) { t.Error(err) }})
	if got := belongs(p.Images[0]); err != nil || !slices.Equal(got, []string{line(image.Digest, cosign.Digest, tag)}) {
		t.Errorf("%q; %v", got, err)
	}
}

// A tag of cosign's can say that anything is about anything, itself too.
func TestFindReferrersInCircles(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	src.Add(appRepo, "v1", image)
	src.Add(appRepo, ocitest.CosignTag(image), image)
	p := planOf(t, src, nil, oci.PlanOptions{}, oci.FindOptions{}, appName)
	if n := len(p.Images[0].Referrers); n != 1 {
		t.Errorf("%d referrers", n)
	}
}

// A run that goes on asks nothing again.
func TestFindReferrersFromJournal(t *testing.T) {
	src := &ocitest.Memory{}
	image := ocitest.MultiArch(1, "app")
	src.Add(appRepo, "v1", image)
	src.Add(appRepo, "", ocitest.Referrer(ocitest.SBOMType, image, "sbom"))
	src.Add(appRepo, ocitest.CosignTag(image), ocitest.CosignSignature(image))
	dir := t.TempDir()
	var plans []*oci.Plan
	for range 2 {
		store, err := oci.OpenStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		journal, err := store.Journal("pack")
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, planOf(t, src, journal, oci.PlanOptions{}, oci.FindOptions{}, appName))
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		src.Fault = func(_ context.Context, op ocitest.Op) error { return fmt.Errorf("%s: asked again", op) }
	}
	if got := belongs(plans[1].Images[0]); len(got) != 2 || !slices.Equal(got, belongs(plans[0].Images[0])) {
		t.Errorf("%q, and first %q", got, belongs(plans[0].Images[0]))
	}
	if plans[1].Images[0].Err != nil {
		t.Error(plans[1].Images[0].Err)
	}
}
