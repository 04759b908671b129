package bundle

import (
	"bytes"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// mergedFixture is smallFixture where one image was merged from two indexes, of which the second is signed.
func mergedFixture(t testing.TB) *fixture {
	f := smallFixture(t)
	e := &f.contents.Images[slices.IndexFunc(f.contents.Images, func(e Entry) bool { return e.Name == signedImage })]
	for _, d := range e.Root.Manifest.Manifests {
		e.MergedFrom = append(e.MergedFrom, f.index(d))
	}
	f.referrer(e, signatureType, e.MergedFrom[1], oci.FoundByAPI)
	return f
}

func TestMergedFromRoundTrip(t *testing.T) {
	for _, format := range formats {
		t.Run(format.String(), func(t *testing.T) {
			f := mergedFixture(t)
			b, err := openBytes(t, f.write(compress.WriterOptions{Format: format}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			side, err := b.MergeSide(t.Context(), imageNamed(t, b.Head(), signedImage))
			if err != nil {
				t.Fatal(err)
			}
			want := f.contents.Images[slices.IndexFunc(f.contents.Images, func(e Entry) bool { return e.Name == signedImage })]
			if side.Root.Digest != want.Root.Digest || len(side.MergedFrom) != 2 || len(side.Referrers) != 1 {
				t.Fatalf("%+v", side)
			}
			for i, d := range side.MergedFrom {
				if d.Digest != want.MergedFrom[i].Digest || d.Size != want.MergedFrom[i].Size || d.MediaType != want.MergedFrom[i].MediaType {
					t.Errorf("merged from %+v, want %+v", d, want.MergedFrom[i])
				}
			}
		})
	}
}

// Damage to an index that an image was merged from hits that image and no other.
func TestMergedFromDamage(t *testing.T) {
	f := mergedFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.None})
	b, err := openBytes(t, raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := imageNamed(t, b.Head(), signedImage).MergedFrom[0].Digest
	raw[bytes.Index(raw, f.blobs[d])+10] ^= 1
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(report.Damage) != 1 || report.Images != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := report.Damage[0]; got.Digest != d || !slices.Equal(got.Images, []string{signedImage}) {
		t.Errorf("damage of %s in %v", got.Digest, got.Images)
	}
}

func TestForgedMergedFrom(t *testing.T) {
	for name, change := range map[string]func(o []Original) []Original{
		"no member":                       func(o []Original) []Original { o[0].Digest = digest.FromString("x"); return o },
		"no digest":                       func(o []Original) []Original { o[0].Digest = ""; return o },
		"other size":                      func(o []Original) []Original { o[0].Size++; return o },
		"too many":                        func(o []Original) []Original { return slices.Repeat(o[:1], maxMergedFrom+1) },
		"without a subject of a referrer": func(o []Original) []Original { return o[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			raw := forge(t, mergedFixture(t), func(h *Head) {
				for i := range h.Images {
					if h.Images[i].Name == signedImage {
						h.Images[i].MergedFrom = change(h.Images[i].MergedFrom)
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
