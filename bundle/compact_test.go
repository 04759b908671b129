package bundle

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress/gzip"
)

// compactHead is the head of a bundle with an index of one manifest that has two layers: one is recreated, one is kept.
func compactHead() *Head {
	h := &Head{Format: formatName, Version: Version, Requires: []string{featureCompact}}
	add := func(mediaType, content string) int {
		h.Members = append(h.Members, Member{Digest: digest.FromString(content), MediaType: mediaType, Size: 1000})
		return len(h.Members) - 1
	}
	manifest, index := add(ocispec.MediaTypeImageManifest, "manifest"), add(ocispec.MediaTypeImageIndex, "index")
	twin, twinIndex := add(ocispec.MediaTypeImageManifest, "twin"), add(ocispec.MediaTypeImageIndex, "twin index")
	recipe, config := add(RecipeMediaType, "recipe"), add(ocispec.MediaTypeImageConfig, "config")
	plain, kept := add(ocispec.MediaTypeImageLayer, "plain"), add(ocispec.MediaTypeImageLayerGzip, "kept")
	h.Recreated = []Recreated{{
		Digest: digest.FromString("layer"), MediaType: ocispec.MediaTypeImageLayerGzip, Size: 500, Plain: plain, Recipe: recipe,
		Engine: "Go level 6",
	}}
	h.Kept = []Kept{{Blob: kept, Reason: "unknown encoder"}}
	root := h.Members[index]
	h.Images = []Image{{
		Name: "quay.io/a/app:1", Digest: root.Digest, MediaType: root.MediaType, Size: root.Size,
		Manifests: []Manifest{
			{Digest: h.Members[manifest].Digest, Blobs: []int{config, len(h.Members), kept}, Plain: &twin},
			{Digest: root.Digest, Blobs: []int{}, Plain: &twinIndex},
		},
	}}
	h.place(4*blockSize, 10, 10, 10)
	return h
}

func TestCompactHead(t *testing.T) {
	raw, err := json.Marshal(compactHead())
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHead(raw)
	if err != nil {
		t.Fatal(err)
	}
	layer := h.Recreated[0].Descriptor()
	if got := h.Blob(h.Images[0].Manifests[0].Blobs[1]); got.Digest != layer.Digest || got.Size != 500 {
		t.Errorf("blob 1 of the manifest is %+v, want %+v", got, layer)
	}
	if at := h.positions()[layer.Digest]; at != len(h.Members) {
		t.Errorf("the recreated blob has the number %d", at)
	}
	for _, d := range append(slices.Clone(h.Members), Member{Digest: layer.Digest}) {
		if names := h.ImagesWith(d.Digest); len(names) != 1 {
			t.Errorf("%s %s: needed by %v", d.MediaType, d.Digest, names)
		}
	}
	var index ocispec.Index
	if raw, err = encodeIndex(h); err == nil {
		err = json.Unmarshal(raw, &index)
	}
	if err != nil || index.Manifests[0].Digest != digest.FromString("twin index") {
		t.Errorf("index.json: %s, %v", raw, err)
	}
}

func TestCompactHeadRefused(t *testing.T) {
	at := func(n int) *int { return &n }
	manifest := func(h *Head) *Manifest { return &h.Images[0].Manifests[0] }
	another := func(h *Head, change func(*Recreated)) {
		r := h.Recreated[0]
		change(&r)
		h.Recreated = append(h.Recreated, r)
	}
	layer2 := digest.FromString("layer 2")
	for name, test := range map[string]struct {
		change func(h *Head)
		want   string
	}{
		"not required":                 {func(h *Head) { h.Requires = nil }, "requires"},
		"required without use":         {func(h *Head) { *h = *plainHead() }, "requires"},
		"required twice":               {func(h *Head) { h.Requires = []string{"compact", "compact"} }, "requires"},
		"a digest that is none":        {func(h *Head) { h.Recreated[0].Digest = "sha256:1" }, "digest"},
		"a digest of sha512":           {func(h *Head) { h.Recreated[0].Digest = digest.SHA512.FromString("") }, "sha256 only"},
		"the digest of a member":       {func(h *Head) { h.Recreated[0].Digest = h.Members[0].Digest }, "twice"},
		"no gzip layer":                {func(h *Head) { h.Recreated[0].MediaType = ocispec.MediaTypeImageLayerZstd }, "media type"},
		"no size":                      {func(h *Head) { h.Recreated[0].Size = 0 }, "0 bytes, 1000 plain"},
		"too large":                    {func(h *Head) { h.Recreated[0].Size = maxBlobSize + 1 }, "plain"},
		"too many plain bytes":         {func(h *Head) { h.Recreated[0].Size = 1; resize(h, 6, gzip.MaxRatio+1) }, "1 bytes, 1101 plain"},
		"plain bytes past the end":     {func(h *Head) { h.Recreated[0].Plain = len(h.Members) }, "members"},
		"a recipe before the begin":    {func(h *Head) { h.Recreated[0].Recipe = -1 }, "members"},
		"a recipe behind its bytes":    {func(h *Head) { h.Recreated[0].Recipe, h.Recreated[0].Plain = 6, 4 }, "recipe at 6"},
		"a recipe that is none":        {func(h *Head) { h.Recreated[0].Recipe = 5 }, "no recipe"},
		"a recipe too large":           {func(h *Head) { resize(h, 4, gzip.MaxRecipe+1) }, "no recipe"},
		"a manifest as plain bytes":    {func(h *Head) { h.Members[6].MediaType = ocispec.MediaTypeImageManifest }, "plain bytes"},
		"a recipe as plain bytes":      {func(h *Head) { h.Members[6].MediaType = RecipeMediaType }, "plain bytes"},
		"a long engine":                {func(h *Head) { h.Recreated[0].Engine = strings.Repeat("x", 256) }, "engine"},
		"one blob twice":               {func(h *Head) { another(h, func(r *Recreated) {}) }, "twice"},
		"two of the same bytes":        {func(h *Head) { another(h, func(r *Recreated) { r.Digest = layer2 }) }, "another"},
		"kept past the end":            {func(h *Head) { h.Kept[0].Blob = len(h.Members) }, "kept"},
		"kept before the begin":        {func(h *Head) { h.Kept[0].Blob = -1 }, "kept"},
		"kept twice":                   {func(h *Head) { h.Kept = append(h.Kept, h.Kept[0]) }, "kept"},
		"kept without a reason":        {func(h *Head) { h.Kept[0].Reason = "" }, "reason"},
		"kept with a long reason":      {func(h *Head) { h.Kept[0].Reason = strings.Repeat("x", maxMissingText+1) }, "reason"},
		"a blob past the end":          {func(h *Head) { manifest(h).Blobs[1]++ }, "blob number"},
		"a plain member as a layer":    {func(h *Head) { manifest(h).Blobs[1] = 6 }, "serves"},
		"a recipe as a layer":          {func(h *Head) { manifest(h).Blobs[1] = 4 }, "serves"},
		"a twin past the end":          {func(h *Head) { manifest(h).Plain = at(len(h.Members)) }, "twin"},
		"a twin before the begin":      {func(h *Head) { manifest(h).Plain = at(-1) }, "twin"},
		"its own twin":                 {func(h *Head) { manifest(h).Plain = at(0) }, "twin"},
		"an index as twin of an image": {func(h *Head) { manifest(h).Plain = at(3) }, "twin"},
		"a config as twin":             {func(h *Head) { manifest(h).Plain = at(5) }, "twin"},
		"a twin too large":             {func(h *Head) { resize(h, 2, 5<<20) }, "twin"},
		"two twins": {func(h *Head) {
			other := h.Images[0]
			other.Name = "quay.io/b/app:1"
			other.Manifests = slices.Clone(other.Manifests)
			other.Manifests[0].Plain = nil
			h.Images = append(h.Images, other)
		}, "two plain twins"},
		"a referrer with a twin": {func(h *Head) {
			img := &h.Images[0]
			m := img.Manifests[0]
			img.Referrers = []Referrer{{
				Subject: img.Digest, Digest: m.Digest, MediaType: ocispec.MediaTypeImageManifest, Size: 1000, Found: "api",
				Manifests: []Manifest{m},
			}}
		}, "referrer"},
	} {
		t.Run(name, func(t *testing.T) {
			h := compactHead()
			test.change(h)
			raw, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parseHead(raw)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want one about %q", err, test.want)
			}
		})
	}
}

// resize gives member i another size.
func resize(h *Head, i int, size int64) {
	h.Members[i].Size = size
	h.place(h.Members[0].Offset, 10, 10, 10)
}

// plainHead is a head that requires what it does not use.
func plainHead() *Head {
	h := compactHead()
	h.Recreated, h.Kept, h.Images = nil, nil, []Image{}
	return h
}

func TestManyRecipes(t *testing.T) {
	h := compactHead()
	first := len(h.Members)
	for i := range 64 {
		h.Members = append(h.Members, Member{Digest: digest.FromString(string(rune('a' + i))), MediaType: RecipeMediaType, Size: gzip.MaxRecipe})
	}
	for i := range 64 {
		h.Members = append(h.Members, Member{Digest: digest.FromString(string(rune('A'+i)) + " plain"), MediaType: ocispec.MediaTypeImageLayer, Size: 1})
		h.Recreated = append(h.Recreated, Recreated{
			Digest: digest.FromString(string(rune('A'+i)) + " layer"), MediaType: ocispec.MediaTypeImageLayerGzip, Size: 1,
			Recipe: first + i, Plain: first + 64 + i,
		})
	}
	manifest := &h.Images[0].Manifests[0]
	manifest.Blobs[1] = len(h.Members)
	h.place(4*blockSize, 10, 10, 10)
	if err := h.check(); err == nil || !strings.Contains(err.Error(), "256 MiB of recipes") {
		t.Errorf("%v", err)
	}
	h.Recreated = h.Recreated[:64]
	if err := h.check(); err != nil { // 63 of 4 MiB and a small one
		t.Error(err)
	}
}

func TestUnknownFeature(t *testing.T) {
	h := compactHead()
	h.Requires = append(h.Requires, "more")
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseHead(raw); !errors.Is(err, ErrVersion) || strings.Contains(err.Error(), "compact") {
		t.Errorf("%v", err)
	}
}
