package bundle

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

const (
	sbomType      = "application/spdx+json"
	signatureType = "application/vnd.cncf.notary.signature"
)

// referrer adds an artifact about subject, which it does not name when it is found by a tag, to the image.
func (f *fixture) referrer(e *Entry, artifactType string, subject oci.Descriptor, found oci.FoundBy) oci.Descriptor {
	f.t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: f.add(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers: []oci.Descriptor{f.add(artifactType, fmt.Appendf(nil, "%s about %s, by %s", artifactType, subject.Digest, found))},
	}
	r := oci.Referrer{Subject: subject.Digest, Found: found}
	if found == oci.FoundByTag {
		r.Tag = oci.FallbackTag(subject.Digest) + ".sig"
	} else {
		m.Subject = &oci.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	}
	d := f.addJSON(m.MediaType, m)
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) { return f.blobs[d.Digest], nil }
	var err error
	if r.Root, err = oci.LoadGraph(f.t.Context(), fetch, d); err != nil {
		f.t.Fatal(err)
	}
	e.Referrers = append(e.Referrers, r)
	return d
}

const signedImage = "quay.io/a/app:1"

// signedFixture is smallFixture where one image has all that can belong to it: a signature under a tag of cosign's, an
// SBOM of a child that is signed itself, and a signature of the index that it was rebuilt from.
func signedFixture(t testing.TB) *fixture {
	f := smallFixture(t)
	e := &f.contents.Images[slices.IndexFunc(f.contents.Images, func(e Entry) bool { return e.Name == signedImage })]
	f.referrer(e, signatureType, e.Root.Descriptor, oci.FoundByTag)
	sbom := f.referrer(e, sbomType, e.Root.Manifest.Manifests[0], oci.FoundByAPI)
	f.referrer(e, signatureType, sbom, oci.FoundByFallback)
	original := f.index(append(slices.Clone(e.Root.Manifest.Manifests), f.manifest(oci.Platform{OS: "linux", Architecture: "s390x"}))...)
	e.Original = &original
	f.referrer(e, signatureType, original, oci.FoundByAPI)
	// What only the original has is not in the bundle.
	gone := e.Referrers[len(e.Referrers)-1]
	for d := range f.blobs {
		if !slices.ContainsFunc(f.all(), func(m oci.Descriptor) bool { return m.Digest == d }) && d != original.Digest && d != gone.Root.Digest {
			delete(f.blobs, d)
		}
	}
	return f
}

// all returns the blobs of all images and referrers, without originals.
func (f *fixture) all() []oci.Descriptor {
	var roots []*oci.Node
	for _, e := range f.contents.Images {
		roots = append(roots, e.Root)
		for _, r := range e.Referrers {
			roots = append(roots, r.Root)
		}
	}
	return slices.Concat(slices.Collect(func(yield func([]oci.Descriptor) bool) {
		manifests, configs, layers := oci.Blobs(roots...)
		_ = yield(manifests) && yield(configs) && yield(layers)
	})...)
}

func imageNamed(t testing.TB, h *Head, name string) Image {
	t.Helper()
	for _, img := range h.Images {
		if img.Name == name {
			return img
		}
	}
	t.Fatalf("no image %s", name)
	return Image{}
}

func TestReferrersRoundTrip(t *testing.T) {
	for _, format := range formats {
		t.Run(format.String(), func(t *testing.T) {
			f := signedFixture(t)
			raw := f.write(compress.WriterOptions{Format: format})
			b, err := openBytes(t, raw, Options{})
			if err != nil {
				t.Fatal(err)
			}
			stream, err := OpenStream(bytes.NewReader(raw), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			img := imageNamed(t, b.Head(), signedImage)
			for _, read := range []func(context.Context, Image) ([]oci.Referrer, error){b.Referrers, stream.Referrers} {
				got, err := read(t.Context(), img)
				if err != nil || len(got) != 4 {
					t.Fatalf("%d referrers, %v", len(got), err)
				}
				for i, want := range f.contents.Images[0].Referrers {
					r := got[i]
					if r.Root.Digest != want.Root.Digest || r.Subject != want.Subject || r.Found != want.Found || r.Tag != want.Tag {
						t.Errorf("referrer %d is %+v, want %+v", i, r, want)
					}
				}
			}
			if types := []string{img.Referrers[0].ArtifactType, img.Referrers[1].ArtifactType}; !slices.Equal(types, []string{signatureType, sbomType}) {
				t.Errorf("types %v", types)
			}
			report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err != nil || len(report.Damage) > 0 || report.Images != 4 || report.Members != len(f.blobs) {
				t.Errorf("verify: %+v, %v; %d blobs", report, err, len(f.blobs))
			}
			if err := drain(t, raw); err != nil {
				t.Errorf("from a pipe: %v", err)
			}
		})
	}
}

// A bundle whose referrers a reader does not know is a whole bundle to it.
func TestReferrersIgnored(t *testing.T) {
	raw := forge(t, signedFixture(t), func(h *Head) {
		for i := range h.Images {
			h.Images[i].Referrers = nil
		}
	}).write(t)
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(report.Damage) > 0 || report.Images != 4 {
		t.Errorf("%+v, %v", report, err)
	}
}

// Damage to what belongs to an image hits that image and no other.
func TestReferrersDamage(t *testing.T) {
	f := signedFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.None})
	for _, r := range f.contents.Images[0].Referrers {
		for _, d := range []digest.Digest{r.Root.Digest, r.Root.Manifest.Layers[0].Digest} {
			hurt := bytes.Clone(raw)
			at := bytes.Index(hurt, f.blobs[d])
			hurt[at+len(f.blobs[d])/2] ^= 1
			report, err := Verify(t.Context(), bytes.NewReader(hurt), int64(len(hurt)), VerifyOptions{})
			if err != nil || len(report.Damage) != 1 || report.Images != 3 {
				t.Fatalf("%s: %+v, %v", d, report, err)
			}
			if got := report.Damage[0]; got.Digest != d || !slices.Equal(got.Images, []string{signedImage}) {
				t.Errorf("%s: damage of %s in %v", d, got.Digest, got.Images)
			}
			b, err := openBytes(t, hurt, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Referrers(t.Context(), imageNamed(t, b.Head(), signedImage)); (err == nil) != (d != r.Root.Digest) {
				t.Errorf("%s: %v", d, err)
			}
		}
	}
}

func TestForgedReferrers(t *testing.T) {
	for name, change := range map[string]func(r []Referrer) []Referrer{
		"no subject":               func(r []Referrer) []Referrer { r[1].Subject = ""; return r },
		"another subject":          func(r []Referrer) []Referrer { r[1].Subject = r[0].Subject; return r },
		"before its subject":       func(r []Referrer) []Referrer { r[1], r[2] = r[2], r[1]; return r },
		"about itself":             func(r []Referrer) []Referrer { r[1].Subject = r[1].Digest; return r },
		"no member":                func(r []Referrer) []Referrer { r[1].Digest = digest.FromString("x"); return r },
		"other size":               func(r []Referrer) []Referrer { r[1].Size++; return r },
		"other artifact type":      func(r []Referrer) []Referrer { r[1].ArtifactType = signatureType; return r },
		"long artifact type":       func(r []Referrer) []Referrer { r[1].ArtifactType = strings.Repeat("x", 256); return r },
		"no manifests":             func(r []Referrer) []Referrer { r[1].Manifests = nil; return r },
		"blob number":              func(r []Referrer) []Referrer { r[1].Manifests[0].Blobs[0] = -1; return r },
		"other blob":               func(r []Referrer) []Referrer { r[1].Manifests[0].Blobs[0]++; return r },
		"tag that is not cosign's": func(r []Referrer) []Referrer { r[0].Tag = "latest"; return r },
		"tag of another":           func(r []Referrer) []Referrer { r[0].Tag = oci.FallbackTag(r[1].Digest) + ".sig"; return r },
		"tag without need":         func(r []Referrer) []Referrer { r[1].Tag = r[0].Tag; return r },
		"no tag":                   func(r []Referrer) []Referrer { r[0].Tag = ""; return r },
		"found in no known way":    func(r []Referrer) []Referrer { r[1].Found = "luck"; return r },
		"found by what it is not":  func(r []Referrer) []Referrer { r[0].Found, r[0].Tag = oci.FoundByAPI, ""; return r },
		"too many": func(r []Referrer) []Referrer {
			return slices.Repeat(r[:1], maxReferrers+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := forge(t, signedFixture(t), func(h *Head) {
				for i := range h.Images {
					if h.Images[i].Name == signedImage {
						h.Images[i].Referrers = change(h.Images[i].Referrers)
					}
				}
			}).write(t)
			report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err == nil && len(report.Damage) == 0 {
				t.Fatal("verify found nothing")
			}
			if err != nil && !isBundleError(err) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

// Without heads, what names its subject is found again.
func TestReferrersRebuilt(t *testing.T) {
	f := signedFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.None})
	whole, err := openBytes(t, raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, hurtIndex := range []bool{false, true} {
		hurt := bytes.Clone(raw)
		for _, first := range []int{0, whole.layout.tail} {
			zero(t, hurt, whole, whole.layout.segments[first+2])
			if hurtIndex {
				hurt[whole.layout.segments[first+1].body()] = 'x'
			}
		}
		b, err := openBytes(t, hurt, Options{Lenient: true})
		if err != nil {
			t.Fatal(err)
		}
		name := signedImage
		if hurtIndex {
			name = f.contents.Images[0].Root.Digest.String()
		}
		img := imageNamed(t, b.Head(), name)
		want := []digest.Digest{f.contents.Images[0].Referrers[1].Root.Digest, f.contents.Images[0].Referrers[2].Root.Digest}
		if len(img.Referrers) != 2 || img.Referrers[0].Digest != want[0] || img.Referrers[1].Digest != want[1] {
			t.Errorf("index hurt %t: referrers %+v, want %v", hurtIndex, img.Referrers, want)
		}
		report, err := Verify(t.Context(), bytes.NewReader(hurt), int64(len(hurt)), VerifyOptions{})
		images := len(b.Head().Images)
		if hurtIndex {
			images-- // the index that was rebuilt: it lacks a child
		}
		if err != nil || report.Images != images {
			t.Errorf("index hurt %t: %+v, %v", hurtIndex, report, err)
		}
	}
}
