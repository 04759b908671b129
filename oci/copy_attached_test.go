package oci_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// signedImage is an image with all that belongs to it: a cosign signature of the index, an SBOM of one child, and a
// signature of that SBOM.
type signedImage struct {
	image, cosign, sbom, sbomSig *ocitest.Graph
	job                          oci.Job
}

func newSigned(src *ocitest.Memory, path string, seed uint64) *signedImage {
	s := &signedImage{image: ocitest.MultiArch(seed, path)}
	s.cosign = ocitest.CosignSignature(s.image)
	s.sbom = ocitest.Referrer(ocitest.SBOMType, s.image.Children[1], "sbom of "+path)
	s.sbomSig = ocitest.Referrer(ocitest.SignatureType, s.sbom, "signature of "+path)
	for _, g := range []*ocitest.Graph{s.image, s.cosign, s.sbom, s.sbomSig} {
		src.Add(from(path), "", g)
	}
	s.job = oci.Job{
		Name: path, Root: s.image.Node(), From: []oci.Repository{from(path)}, To: []oci.Target{tagged(path, "v1")},
		Attached: []oci.Attached{
			{Root: s.sbomSig.Node(), Subject: s.sbom.Digest}, // in whatever order they are given
			{Root: s.cosign.Node(), Tag: ocitest.CosignTag(s.image), Subject: s.image.Digest},
			{Root: s.sbom.Node(), Subject: s.image.Children[1].Digest},
		},
	}
	return s
}

// when returns the position of the first operation of dst with that name on the manifest of g; -1 when there is none.
func when(dst *ocitest.Memory, name string, g *ocitest.Graph) int {
	return slices.IndexFunc(dst.Ops(), func(op ocitest.Op) bool { return op.Name == name && op.Digest == g.Digest })
}

func checkSigned(t *testing.T, dst *ocitest.Memory, s *signedImage, path string) {
	t.Helper()
	checkArrived(t, dst, path, "v1", s.image)
	checkArrived(t, dst, path, ocitest.CosignTag(s.image), s.cosign)
	for _, g := range []*ocitest.Graph{s.sbom, s.sbomSig} {
		if err := dst.Holds(to(path), g); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyAttachedOrder(t *testing.T) {
	for name, o := range map[string]oci.CopyOptions{"": {}, "one at a time": {Transfers: 1}, "atomic": {HoldTags: true}} {
		t.Run(name, func(t *testing.T) {
			src, dst := &ocitest.Memory{}, &ocitest.Memory{}
			s := newSigned(src, "app", 1)
			report := mustCopy(t, src, dst, []oci.Job{s.job}, o)
			checkSigned(t, dst, s, "app")
			order := []int{
				when(dst, "push", s.image), when(dst, "push", s.sbom), when(dst, "push", s.sbomSig), when(dst, "tag", s.image),
			}
			if order[0] < 0 || !slices.IsSorted(order) {
				t.Errorf("image, SBOM, its signature and the image's tag came at %v", order)
			}
			if at := when(dst, "tag", s.cosign); at < order[0] || at > order[3] {
				t.Errorf("the cosign tag came at %d, the image at %d, its tag at %d", at, order[0], order[3])
			}
			if report.Attached != 3 || report.AttachedSame != 0 {
				t.Errorf("%d attached, %d there already", report.Attached, report.AttachedSame)
			}
		})
	}
}

func TestCopyAttachedAgainMovesNothing(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	mustCopy(t, src, dst, []oci.Job{s.job}, oci.CopyOptions{})
	before := len(dst.Ops("push", "tag"))
	s.job.To[0].Current = s.image.Digest
	for _, whole := range []bool{false, true} {
		s.job.To[0].Whole = whole
		report := mustCopy(t, src, dst, []oci.Job{s.job}, oci.CopyOptions{})
		if n := len(dst.Ops("push", "tag")) - before; n != 0 || report.Attached != 0 || report.AttachedSame != 3 {
			t.Errorf("whole %t: %d pushes and tags; %+v", whole, n, report)
		}
	}
	// What the sink has already it is told of, as it may not be listed.
	if when(dst, "attach", s.sbom) < 0 || when(dst, "attach", s.cosign) >= 0 {
		t.Error("the sink was not told of the SBOM, or of the signature that names no subject")
	}
}

// An image that was complete before it was signed gets its signature, and nothing of the image is asked for.
func TestCopyAttachedToWholeImage(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	dst.Add(to("app"), "v1", s.image)
	s.job.To[0].Current, s.job.To[0].Whole = s.image.Digest, true
	report := mustCopy(t, src, dst, []oci.Job{s.job}, oci.CopyOptions{})
	checkSigned(t, dst, s, "app")
	if report.Attached != 3 {
		t.Errorf("%+v", report)
	}
	for _, op := range dst.Ops() {
		if slices.ContainsFunc(s.image.All(), func(b ocitest.Blob) bool { return b.Digest == op.Digest }) {
			t.Errorf("the image was complete: %s", op)
		}
	}
}

func TestCopyAttachedFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		hit  func(s *signedImage) digest.Digest
		left []string // what is not at the target afterwards
	}{
		"a signature":            {func(s *signedImage) digest.Digest { return s.cosign.Digest }, []string{"cosign"}},
		"a blob of a signature":  {func(s *signedImage) digest.Digest { return s.cosign.Blobs[1].Digest }, []string{"cosign"}},
		"what a signature is of": {func(s *signedImage) digest.Digest { return s.sbom.Digest }, []string{"sbom", "sbomSig"}},
		"the image":              {func(s *signedImage) digest.Digest { return s.image.Digest }, []string{"cosign", "sbom", "sbomSig"}},
		"a layer of the image":   {func(s *signedImage) digest.Digest { return s.image.Children[0].Blobs[1].Digest }, []string{"cosign", "sbom", "sbomSig"}},
	} {
		for _, hold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hold %t", name, hold), func(t *testing.T) {
				src, dst := &ocitest.Memory{}, &ocitest.Memory{}
				s, other := newSigned(src, "app", 1), newSigned(src, "other", 2)
				dst.Fault = func(_ context.Context, op ocitest.Op) error {
					return failIf((op.Name == "push" || op.Name == "tag") && op.Digest == c.hit(s), broken)
				}
				report, err := oci.Copy(t.Context(), src, dst, []oci.Job{s.job, other.job}, oci.CopyOptions{HoldTags: hold})
				if err != nil {
					t.Fatal(err)
				}
				if got := report.Outcomes[0].Err; !errors.Is(got, broken) {
					t.Errorf("outcome: %v", got)
				}
				if dst.Tags(to("app"))["v1"] != "" {
					t.Error("the image has its tag")
				}
				for what, g := range map[string]*ocitest.Graph{"cosign": s.cosign, "sbom": s.sbom, "sbomSig": s.sbomSig} {
					there := dst.Bytes(to("app"), g.Digest) != nil
					if want := !slices.Contains(c.left, what); there != want {
						t.Errorf("%s at the target: %t, want %t", what, there, want)
					}
				}
				if hold {
					if tags := dst.Tags(to("other")); len(tags) > 0 {
						t.Errorf("tags were set: %v", tags)
					}
					return
				}
				checkSigned(t, dst, other, "other")
			})
		}
	}
}

func TestCopyAttachedErrorSaysWhy(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	dst.Fault = func(_ context.Context, op ocitest.Op) error {
		return failIf(op.Name == "tag" && op.Digest == s.cosign.Digest, errors.New("quota"))
	}
	report, _ := oci.Copy(t.Context(), src, dst, []oci.Job{s.job}, oci.CopyOptions{})
	var attached *oci.AttachedError
	err := report.Outcomes[0].Err
	if !errors.As(err, &attached) || !strings.Contains(err.Error(), ".sig: quota") {
		t.Errorf("outcome: %v", err)
	}
}

// A list of a whole registry has cosign's tags as images of their own: they keep to the order all the same.
func TestCopyAttachedIsAnImageToo(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	own := oci.Job{
		Name: "signature", Root: s.cosign.Node(), From: []oci.Repository{from("app")},
		To: []oci.Target{tagged("app", ocitest.CosignTag(s.image))},
	}
	mustCopy(t, src, dst, []oci.Job{own, s.job}, oci.CopyOptions{})
	checkSigned(t, dst, s, "app")
	if image, sig := when(dst, "push", s.image), when(dst, "tag", s.cosign); image < 0 || sig < image {
		t.Errorf("the image came at %d, its signature at %d", image, sig)
	}

	// Without its image it goes on its own.
	lost := &ocitest.Memory{}
	lost.Fault = func(_ context.Context, op ocitest.Op) error {
		return failIf(op.Name == "push" && op.Digest == s.image.Digest, errors.New("broken"))
	}
	report, err := oci.Copy(t.Context(), src, lost, []oci.Job{own, s.job}, oci.CopyOptions{})
	if err != nil || report.Outcomes[0].Err != nil || report.Outcomes[1].Err == nil {
		t.Errorf("%+v, %v", report, err)
	}
}

// A tag can call anything a signature of anything. The copy comes to its end.
func TestCopyAttachedInCircles(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	a, b := ocitest.MultiArch(1, "a"), ocitest.MultiArch(2, "b")
	var jobs []oci.Job
	for _, pair := range [][2]*ocitest.Graph{{a, b}, {b, a}, {a, a}, {a, a.Children[0]}} {
		src.Add(from("app"), "", pair[0])
		jobs = append(jobs, oci.Job{
			Name: "app", Root: pair[0].Node(), From: []oci.Repository{from("app")},
			To:       []oci.Target{tagged("app", fmt.Sprintf("v%d", len(jobs)))},
			Attached: []oci.Attached{{Root: pair[1].Node(), Tag: ocitest.CosignTag(pair[0]), Subject: pair[0].Digest}},
		})
	}
	src.Add(from("app"), "", b)
	for _, o := range []oci.CopyOptions{{}, {HoldTags: true}, {Transfers: 1}} {
		report := copyInTime(t, src, dst, jobs, o)
		if failed := report.Failed(); len(failed) > 0 {
			t.Error(failed)
		}
	}
}

func TestCopyAttachedTagOfOtherContent(t *testing.T) {
	for _, keep := range []bool{false, true} {
		src, dst := &ocitest.Memory{}, &ocitest.Memory{}
		s := newSigned(src, "app", 1)
		own := ocitest.CosignSignature(ocitest.MultiArch(9, "other"))
		dst.Add(to("app"), ocitest.CosignTag(s.image), own)
		report := mustCopy(t, src, dst, []oci.Job{s.job}, oci.CopyOptions{KeepAttached: keep})
		want, got := s.cosign.Digest, dst.Tags(to("app"))[ocitest.CosignTag(s.image)]
		if keep {
			want = own.Digest
		}
		if got != want {
			t.Errorf("keep %t: the tag is %s, want %s", keep, got, want)
		}
		was := oci.RetaggedTag{
			Repository: to("app"), Tag: ocitest.CosignTag(s.image), From: own.Digest, To: s.cosign.Digest, Kept: keep,
		}
		if !slices.Equal(report.Retagged, []oci.RetaggedTag{was}) {
			t.Errorf("keep %t: %+v", keep, report.Retagged)
		}
	}
}

func TestCopyAttachedFromPipe(t *testing.T) {
	src, dst := &ocitest.Memory{}, &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	p := newPipe(t, s.image, s.cosign, s.sbom, s.sbomSig)
	s.job.From = nil
	report := copyInTime(t, p, dst, []oci.Job{s.job}, oci.CopyOptions{})
	if failed := report.Failed(); len(failed) > 0 {
		t.Fatal(failed)
	}
	checkSigned(t, dst, s, "app")
	if sig, tag := when(dst, "tag", s.cosign), when(dst, "tag", s.image); sig < 0 || tag < sig {
		t.Errorf("the signature's tag came at %d, the image's at %d", sig, tag)
	}
}

func TestStoreListsAttached(t *testing.T) {
	src := &ocitest.Memory{}
	s := newSigned(src, "app", 1)
	dir := t.TempDir()
	store, err := oci.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustCopy(t, src, store, []oci.Job{s.job}, oci.CopyOptions{})
	for range 2 {
		if changed, err := store.Attach(t.Context(), to("app"), s.sbom.Descriptor, s.sbom.Bytes); err != nil || changed {
			t.Errorf("changed %t: %v", changed, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	listed := map[digest.Digest]int{}
	for _, d := range index.Manifests {
		listed[d.Digest]++
	}
	for _, g := range []*ocitest.Graph{s.image, s.cosign, s.sbom, s.sbomSig} {
		if listed[g.Digest] != 1 {
			t.Errorf("index.json has %s %d times", g.Digest, listed[g.Digest])
		}
	}
}
