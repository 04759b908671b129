package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// made returns an image for a platform that was made at a time, from a revision.
func (m *memory) made(platform, created, revision, layer string) Descriptor {
	p := mustPlatform(m.t, platform)
	config := map[string]any{
		"os": p.OS, "architecture": p.Architecture, "made of": layer,
		"config": map[string]any{"Labels": map[string]string{ocispec.AnnotationRevision: revision, ocispec.AnnotationVersion: "1.2"}},
	}
	if created != "" {
		config["created"] = created
	}
	d := m.manifest(m.json(ocispec.MediaTypeImageConfig, config), layer)
	d.Platform = &p
	return d
}

// dockerImage returns an image in Docker's media types.
func (m *memory) dockerImage(platform, layer string) Descriptor {
	p := mustPlatform(m.t, platform)
	config := m.json(MediaTypeDockerConfig, map[string]string{"os": p.OS, "architecture": p.Architecture, "made of": layer})
	d := m.json(MediaTypeDockerManifest, map[string]any{
		"schemaVersion": 2, "mediaType": MediaTypeDockerManifest, "config": config,
		"layers": []Descriptor{m.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)},
	})
	d.Platform = &p
	return d
}

func (m *memory) dockerList(entries ...Descriptor) Descriptor {
	return m.json(MediaTypeDockerList, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: MediaTypeDockerList, Manifests: entries})
}

// side returns a side of a merge that holds d.
func (m *memory) side(d Descriptor) MergeSide {
	bare := Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size} // as a registry says it
	return MergeSide{Root: m.load(bare), Config: m.fetch}
}

func mustMerge(t testing.TB, prefer Prefer, sides ...MergeSide) *Merged {
	t.Helper()
	got, err := Merge(t.Context(), sides, prefer)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// mergeWorld is a registry with images by short names.
func mergeWorld(t testing.TB) (m *memory, names map[string]Descriptor) {
	m = newMemory(t)
	names = map[string]Descriptor{
		"amd64":   m.imageFor("linux/amd64", "a"),
		"amd64b":  m.imageFor("linux/amd64", "another a"),
		"arm64":   m.imageFor("linux/arm64/v8", "b"),
		"arm64s":  m.imageFor("linux/arm64", "short b"),
		"v6":      m.imageFor("linux/arm/v6", "c"),
		"v7":      m.imageFor("linux/arm/v7", "d"),
		"chart":   m.manifest(m.blob("application/vnd.cncf.helm.config.v1+json", "{}"), "chart"),
		"chartb":  m.manifest(m.blob("application/vnd.cncf.helm.config.v1+json", "{}"), "chart 2"),
		"bare":    m.manifest(m.blob(ocispec.MediaTypeImageConfig, "{}"), "bare"),
		"bareb":   m.manifest(m.blob(ocispec.MediaTypeImageConfig, "{}"), "bare 2"),
		"note":    m.blob("text/plain", "note"),
		"damd64":  m.dockerImage("linux/amd64", "docker a"),
		"darm64":  m.dockerImage("linux/arm64", "docker b"),
		"win2019": m.imageFor("windows/amd64", "w1"),
		"win2022": m.imageFor("windows/amd64", "w2"),
	}
	for name, version := range map[string]string{"win2019": "10.0.17763.1", "win2022": "10.0.20348.1"} {
		d := names[name]
		p := *d.Platform
		p.OSVersion = version
		d.Platform = &p
		names[name] = d
	}
	for _, name := range []string{"amd64", "amd64b", "arm64"} {
		names["about-"+name] = m.attestation(names[name])
	}
	names["about-nothing"] = m.attestation(m.image("linux/s390x", "elsewhere"))
	names["arms"] = m.index(names["v6"], names["v7"])
	return m, names
}

// parseSide makes a side of "arm64", a single manifest, "[amd64 arm64]", an index, or "docker[damd64]", a list.
func parseSide(m *memory, names map[string]Descriptor, s string) MergeSide {
	kind, list, isIndex := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	if !isIndex {
		return m.side(names[s])
	}
	var entries []Descriptor
	for _, name := range strings.Fields(list) {
		d, ok := names[name]
		if !ok {
			m.t.Fatalf("no image %q", name)
		}
		entries = append(entries, d)
	}
	if kind == "docker" {
		return m.side(m.dockerList(entries...))
	}
	return m.side(m.index(entries...))
}

func TestMerge(t *testing.T) {
	m, names := mergeWorld(t)
	for _, c := range []struct {
		name   string
		sides  []string
		prefer Prefer
		side   int    // whose root it is; -1: a new index
		want   string // its entries
	}{
		{"two single images", []string{"amd64", "arm64"}, PreferNone, -1, "amd64 arm64"},
		{"first side first", []string{"arm64", "amd64"}, PreferNone, -1, "arm64 amd64"},
		{"two indexes", []string{"[amd64]", "[arm64]"}, PreferNone, -1, "amd64 arm64"},
		{"index and single image", []string{"[amd64 v6]", "arm64"}, PreferNone, -1, "amd64 v6 arm64"},
		{"attestations stay", []string{"[amd64 about-amd64]", "[arm64 about-arm64]"}, PreferNone, -1, "amd64 about-amd64 arm64 about-arm64"},
		{"the same image with and without attestation", []string{"amd64", "[amd64 about-amd64]"}, PreferNone, 1, "amd64 about-amd64"},
		{"attestation without its image", []string{"amd64", "[arm64 about-amd64]"}, PreferNone, -1, "amd64 arm64"},
		{"attestation about nothing here", []string{"[amd64 about-nothing]", "[arm64]"}, PreferNone, -1, "amd64 arm64"},
		{"shared children are listed once", []string{"[amd64 arm64]", "[arm64 v7]"}, PreferNone, -1, "amd64 arm64 v7"},
		{"variants are platforms", []string{"v6", "v7"}, PreferNone, -1, "v6 v7"},
		{"windows by version", []string{"[win2019]", "[win2022]"}, PreferNone, -1, "win2019 win2022"},
		{"nested indexes are descended into", []string{"[amd64 arms]", "[arm64]"}, PreferNone, -1, "amd64 v6 v7 arm64"},
		{"a nested index that has all stays", []string{"v7", "[amd64 arms]"}, PreferNone, 1, "amd64 arms"},
		{"what has no platform stays", []string{"[amd64 note chart]", "[arm64 note]"}, PreferNone, -1, "amd64 note chart arm64"},
		{"three sides", []string{"amd64", "arm64", "[v6 v7]"}, PreferNone, -1, "amd64 arm64 v6 v7"},
		{"equal", []string{"[amd64 arm64]", "[amd64 arm64]"}, PreferNone, 0, "amd64 arm64"},
		{"equal single images", []string{"amd64", "amd64"}, PreferNone, 0, ""},
		{"equal charts", []string{"chart", "chart"}, PreferNone, 0, ""},
		{"the second has all", []string{"amd64", "[arm64 amd64]"}, PreferNone, 1, "arm64 amd64"},
		{"the first has all", []string{"[arm64 amd64]", "amd64", "arm64"}, PreferNone, 0, "arm64 amd64"},
		{"docker images", []string{"damd64", "darm64"}, PreferNone, -1, "damd64 darm64"},
		{"docker and OCI", []string{"docker[damd64]", "arm64"}, PreferNone, -1, "damd64 arm64"},

		{"first", []string{"[amd64 about-amd64 v6]", "[amd64b about-amd64b arm64]"}, PreferFirst, -1, "amd64 about-amd64 v6 arm64"},
		{"last", []string{"[amd64 about-amd64 v6]", "[amd64b about-amd64b arm64]"}, PreferLast, -1, "amd64b v6 about-amd64b arm64"},
		{"the last side has all of the result", []string{"[amd64]", "[amd64b arm64]"}, PreferLast, 1, "amd64b arm64"},
		{"the first side has all of the result", []string{"[amd64 arm64]", "[amd64b]"}, PreferFirst, 0, "amd64 arm64"},
		{"arm64 and arm64/v8 are one platform", []string{"arm64", "arm64s"}, PreferLast, 1, ""},
		{"one of several for a platform is no conflict", []string{"[amd64 amd64b]", "[amd64b arm64]"}, PreferNone, -1, "amd64 amd64b arm64"},
		{"charts", []string{"chart", "chartb"}, PreferLast, 1, ""},
		{"a chart and an image", []string{"chart", "[amd64]"}, PreferFirst, 0, ""},
		{"images without a platform", []string{"[bare]", "[bareb]"}, PreferFirst, 0, "bare"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sides []MergeSide
			for _, s := range c.sides {
				sides = append(sides, parseSide(m, names, s))
			}
			got := mustMerge(t, c.prefer, sides...)
			if got.Root == nil {
				t.Fatalf("undecided: %+v", got.Conflicts)
			}
			if got.Side != c.side || c.side >= 0 && got.Root != sides[c.side].Root {
				t.Errorf("root of side %d, want %d", got.Side, c.side)
			}
			if c.want == "" {
				return
			}
			if entries := strings.Join(entriesOf(got.Root, names), " "); entries != c.want {
				t.Errorf("entries %s, want %s", entries, c.want)
			}
			checkMerged(t, got.Root, sides, c.prefer)
		})
	}
}

// checkMerged proves that n is a whole index, that the same merge gives the same bytes, and that merging n with each side
// again gives n.
func checkMerged(t *testing.T, n *Node, sides []MergeSide, prefer Prefer) {
	t.Helper()
	if err := CheckBytes(n.Descriptor, n.Raw); err != nil {
		t.Error(err)
	}
	children := n.byDigest()
	for _, d := range n.Manifest.Manifests {
		if child := children[d.Digest]; IsManifest(d.MediaType) && (child == nil || CheckBytes(d, child.Raw) != nil) {
			t.Errorf("entry %s has no child that matches", d.Digest)
		}
	}
	if again := mustMerge(t, prefer, sides...); !bytes.Equal(again.Root.Raw, n.Raw) {
		t.Errorf("the same merge gives %s and %s", n.Raw, again.Root.Raw)
	}
	whole := MergeSide{Root: n, Config: sides[0].Config}
	for i, side := range sides {
		side.Assume = nil
		if again := mustMerge(t, PreferFirst, whole, side); again.Root.Digest != n.Digest {
			t.Errorf("merged with side %d again it is %s", i, again.Root.Raw)
		}
	}
}

func TestMergeMediaTypes(t *testing.T) {
	m, names := mergeWorld(t)
	for _, c := range []struct {
		sides []string
		want  string
	}{
		{[]string{"damd64", "darm64"}, MediaTypeDockerList},
		{[]string{"docker[damd64]", "docker[darm64]"}, MediaTypeDockerList},
		{[]string{"docker[damd64]", "darm64"}, MediaTypeDockerList},
		{[]string{"damd64", "arm64"}, ocispec.MediaTypeImageIndex},
		{[]string{"[damd64]", "darm64"}, ocispec.MediaTypeImageIndex},
		{[]string{"docker[damd64]", "[arm64]"}, ocispec.MediaTypeImageIndex},
		{[]string{"amd64", "arm64"}, ocispec.MediaTypeImageIndex},
	} {
		t.Run(fmt.Sprint(c.sides), func(t *testing.T) {
			got := mustMerge(t, PreferNone, parseSide(m, names, c.sides[0]), parseSide(m, names, c.sides[1])).Root
			var doc struct{ MediaType string }
			if err := json.Unmarshal(got.Raw, &doc); err != nil || doc.MediaType != c.want || got.MediaType != c.want {
				t.Errorf("media type %s, in the document %s, want %s", got.MediaType, doc.MediaType, c.want)
			}
		})
	}
}

func TestMergeKeepsFields(t *testing.T) {
	m := newMemory(t)
	amd, arm, s390 := m.imageFor("linux/amd64", "a"), m.image("linux/arm64", "b"), m.imageFor("linux/s390x", "c")
	entry := func(d Descriptor, platform string) string {
		return fmt.Sprintf(` {"size": %d, "digest":%q, "x-new" : {"b":1.50,"a":"<&>"}, "mediaType":%q, "platform":%s}`, d.Size, d.Digest, d.MediaType, platform)
	}
	compact := func(d Descriptor, platform string) string {
		return fmt.Sprintf(`{"size":%d,"digest":%q,"x-new":{"b":1.50,"a":"<&>"},"mediaType":%q,"platform":%s}`, d.Size, d.Digest, d.MediaType, platform)
	}
	const features = `{"architecture":"amd64","os":"linux","os.features":["x"],"os.version":"1"}`
	one := m.blob(ocispec.MediaTypeImageIndex, `{"schemaVersion":2, "z":[1, 2], "y":1, "manifests":[`+entry(amd, features)+`], "annotations":{"a":"one","b":"<one>"}}`)
	two := m.blob(ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"z":[1,2],"y":2,"manifests":[`+entry(s390, `{"os":"linux","architecture":"s390x"}`)+`],"annotations":{"a":"two","c":"two"}}`)
	got := mustMerge(t, PreferNone, m.side(one), m.side(two), m.side(arm)).Root
	want := `{"annotations":{"a":"one","b":"<one>","c":"two"},"manifests":[` +
		compact(amd, features) + `,` + compact(s390, `{"os":"linux","architecture":"s390x"}`) + `,` +
		fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"architecture":"arm64","os":"linux"}}`, arm.MediaType, arm.Digest, arm.Size) +
		`],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2,"z":[1,2]}`
	if string(got.Raw) != want {
		t.Errorf("got\n%s\nwant\n%s", got.Raw, want)
	}
}

func TestMergeConflicts(t *testing.T) {
	m := newMemory(t)
	older, newer := m.made("linux/amd64", "2024-05-01T00:00:00Z", "r1", "old"), m.made("linux/amd64", "2024-06-01T00:00:00Z", "r2", "new")
	same, untold := m.made("linux/amd64", "2024-06-01T00:00:00Z", "r3", "as new"), m.made("linux/amd64", "", "r4", "untold")
	arm := m.made("linux/arm64", "2024-06-01T00:00:00Z", "r5", "arm")
	for _, c := range []struct {
		name   string
		prefer Prefer
		images []Descriptor
		chosen int
		why    string
	}{
		{"fail", PreferNone, []Descriptor{older, newer}, -1, ""},
		{"first", PreferFirst, []Descriptor{older, newer, same}, 0, ""},
		{"last", PreferLast, []Descriptor{older, newer, same}, 2, ""},
		{"newest is the second", PreferNewest, []Descriptor{older, newer}, 1, ""},
		{"newest is the first", PreferNewest, []Descriptor{newer, older}, 0, ""},
		{"what tells no time is old", PreferNewest, []Descriptor{untold, older}, 1, ""},
		{"none tells a time", PreferNewest, []Descriptor{untold, m.made("linux/amd64", "", "r6", "untold 2")}, -1, "none tells when it was created"},
		{"made at one time", PreferNewest, []Descriptor{older, newer, same}, -1, "the newest were created at the same time"},
		{"the same one twice", PreferNewest, []Descriptor{newer, older, newer}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sides := []MergeSide{m.side(m.index(c.images[0], arm))}
			for _, d := range c.images[1:] {
				sides = append(sides, m.side(d))
			}
			got := mustMerge(t, c.prefer, sides...)
			if len(got.Conflicts) != 1 {
				t.Fatalf("%d conflicts, want 1", len(got.Conflicts))
			}
			conflict := got.Conflicts[0]
			if conflict.Chosen != c.chosen || conflict.Why != c.why || FormatPlatform(*conflict.Platform) != "linux/amd64" {
				t.Errorf("chose %d of %s because %q, want %d because %q", conflict.Chosen, FormatPlatform(*conflict.Platform), conflict.Why, c.chosen, c.why)
			}
			for i, image := range conflict.Images {
				if image.Digest != c.images[i].Digest || image.Side != i || image.Revision == "" || image.Version != "1.2" {
					t.Errorf("image %d of the conflict is %+v", i, image)
				}
			}
			if (got.Root == nil) != (c.chosen < 0) || len(got.Undecided()) != 0 != (c.chosen < 0) {
				t.Fatalf("root is %v, undecided are %d", got.Root, len(got.Undecided()))
			}
			if got.Root != nil {
				checkChosen(t, got.Root, c.images[c.chosen])
				checkMerged(t, got.Root, sides, c.prefer)
			}
		})
	}
}

// checkChosen proves that the index n has one image for amd64, which is want.
func checkChosen(t *testing.T, n *Node, want Descriptor) {
	t.Helper()
	for _, image := range n.Images() {
		if image.Platform.Architecture == "amd64" && image.Digest != want.Digest {
			t.Errorf("%s is listed, want %s", image.Digest, want.Digest)
		}
	}
}

func TestMergeListsEveryConflict(t *testing.T) {
	m, names := mergeWorld(t)
	got := mustMerge(t, PreferNone, parseSide(m, names, "[amd64 arm64 v6]"), parseSide(m, names, "[arm64s amd64b v6]"))
	var platforms []string
	for _, c := range got.Undecided() {
		platforms = append(platforms, FormatPlatform(*c.Platform))
	}
	if want := "linux/amd64 linux/arm64/v8"; strings.Join(platforms, " ") != want || got.Root != nil {
		t.Errorf("conflicts %q, want %s", platforms, want)
	}
}

func TestMergeWithoutConfigs(t *testing.T) {
	m, names := mergeWorld(t)
	one, two := parseSide(m, names, "arm64"), parseSide(m, names, "[amd64]")
	one.Config, two.Config = nil, nil
	one.Root.ConfigPlatform = names["arm64"].Platform
	got := mustMerge(t, PreferNone, one, two)
	if entries := strings.Join(entriesOf(got.Root, names), " "); entries != "arm64 amd64" {
		t.Errorf("entries %s", entries)
	}
	if p := got.Root.Images()[0].Platform; FormatPlatform(*p) != "linux/arm64/v8" {
		t.Errorf("platform %s", FormatPlatform(*p))
	}
}

// The platform in the entry for a single image is all that its config tells, what the flags of ferry do not tell apart
// included.
func TestMergeTakesVersionsFromConfigs(t *testing.T) {
	m := newMemory(t)
	windows := func(version string) MergeSide {
		return m.side(m.manifest(m.blob(ocispec.MediaTypeImageConfig, `{"os":"windows","architecture":"amd64","os.version":"`+version+`"}`), version))
	}
	got := mustMerge(t, PreferNone, windows("10.0.17763.1"), windows("10.0.20348.1")).Root
	for i, want := range []string{"10.0.17763.1", "10.0.20348.1"} {
		if p := got.Manifest.Manifests[i].Platform; p == nil || p.OSVersion != want {
			t.Errorf("entry %d has platform %+v, want version %s", i, p, want)
		}
	}
}

func TestMergeAssumesPlatforms(t *testing.T) {
	m, names := mergeWorld(t)
	arm := mustPlatform(t, "linux/arm64")
	for _, c := range []struct {
		name     string
		side     string
		always   bool
		platform string // of the image in the result; empty: a conflict
	}{
		{"mislabelled", "amd64b", true, "linux/arm64"},
		{"mislabelled in an index", "[amd64b about-amd64b]", true, "linux/arm64"},
		{"not asked to go before what it says", "amd64b", false, ""},
		{"tells none", "bare", false, "linux/arm64"},
		{"tells none, in an index", "[bare]", false, "linux/arm64"},
		{"tells more", "arm64", true, "linux/arm64/v8"},
		{"two images in one index", "[amd64b v7]", true, ""},
		{"a chart has no platform", "chart", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			side := parseSide(m, names, c.side)
			side.Assume, side.AssumeAlways = &arm, c.always
			sides := []MergeSide{parseSide(m, names, "[amd64 about-amd64]"), side}
			got := mustMerge(t, PreferNone, sides...)
			if (got.Root == nil) != (c.platform == "") {
				t.Fatalf("root %v, conflicts %+v", got.Root, got.Conflicts)
			}
			if got.Root == nil {
				return
			}
			image := got.Root.Images()[2]
			if FormatPlatform(*image.Platform) != c.platform {
				t.Errorf("platform %s, want %s", FormatPlatform(*image.Platform), c.platform)
			}
			if relabelled := len(got.Relabelled) == 1; relabelled != (c.platform == "linux/arm64") {
				t.Errorf("relabelled %v", got.Relabelled)
			}
			whole := MergeSide{Root: got.Root, Config: m.fetch}
			if again := mustMerge(t, PreferNone, whole, side); again.Side != 0 {
				t.Errorf("again it is %s", again.Root.Raw)
			}
		})
	}
}

// What two runs of pack with one platform each took apart becomes what it was.
func TestMergeRestoresTheOriginal(t *testing.T) {
	m, names := mergeWorld(t)
	original := m.load(m.index(names["arm64"], names["amd64"], names["about-arm64"], names["about-amd64"]))
	side := func(n *Node, platform string) MergeSide {
		filtered, err := FilterPlatforms(n, platformList(t, platform))
		if err != nil {
			t.Fatal(err)
		}
		return MergeSide{Root: filtered, Original: &Node{Descriptor: n.Descriptor, Raw: n.Raw, Manifest: n.Manifest}, Config: m.fetch}
	}
	got := mustMerge(t, PreferNone, side(original, "linux/amd64"), side(original, "linux/arm64"))
	if got.Root.Digest != original.Digest || !got.Restored || len(got.Root.Children) != 4 {
		t.Errorf("got %s, want %s", got.Root.Raw, original.Raw)
	}
	larger := m.load(m.index(names["arm64"], names["amd64"], names["v6"]))
	got = mustMerge(t, PreferNone, side(larger, "linux/amd64"), side(larger, "linux/arm64"))
	if got.Restored || got.Root.Digest == larger.Digest {
		t.Errorf("got an index with images that nobody has: %s", got.Root.Raw)
	}
}

func TestMergeTellsErrors(t *testing.T) {
	m, names := mergeWorld(t)
	if _, err := Merge(t.Context(), nil, PreferNone); err == nil {
		t.Error("nothing was merged")
	}
	side := parseSide(m, names, "bare")
	side.Config = func(context.Context, Descriptor) ([]byte, error) { return nil, errTest }
	if _, err := Merge(t.Context(), []MergeSide{side, parseSide(m, names, "amd64")}, PreferNone); !errors.Is(err, errTest) {
		t.Errorf("got %v, want the error of the config", err)
	}
	side.Config = func(context.Context, Descriptor) ([]byte, error) { return []byte("{}}"), nil }
	if _, err := Merge(t.Context(), []MergeSide{side, parseSide(m, names, "amd64")}, PreferNone); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

func TestParsePrefer(t *testing.T) {
	for want, s := range []string{"fail", "first", "last", "newest"} {
		if got, err := ParsePrefer(s); err != nil || got != Prefer(want) {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	if _, err := ParsePrefer("oldest"); err == nil {
		t.Error("oldest was taken")
	}
}

// platformDigests returns what the graph has for each platform, and about it.
func platformDigests(n *Node) string {
	var list []string
	here := map[digest.Digest]bool{}
	for _, image := range n.Images() {
		here[image.Digest] = true
	}
	for _, image := range n.Images() {
		switch {
		case image.Platform != nil:
			list = append(list, mergeKey(*image.Platform)+"="+image.Digest.String())
		case here[image.Describes]:
			list = append(list, "about "+image.Describes.String()+"="+image.Digest.String())
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// Merging is idempotent, gives equal bytes for equal input, and does not depend on how sides are taken together, as long
// as none of them contradicts another.
func TestMergeLaws(t *testing.T) {
	m, names := mergeWorld(t)
	pool := []string{"amd64", "arm64", "v6", "v7", "win2019", "win2022", "about-amd64", "about-arm64", "arms"}
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() MergeSide {
		rnd.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		if n := 1 + rnd.IntN(4); n > 1 || strings.HasPrefix(pool[0], "about") {
			return parseSide(m, names, "["+strings.Join(append(pool[:n:n], "amd64"), " ")+"]")
		}
		if strings.HasPrefix(pool[0], "win") { // whose config tells no version
			return parseSide(m, names, "["+pool[0]+"]")
		}
		return parseSide(m, names, pool[0])
	}
	join := func(sides ...MergeSide) MergeSide {
		return MergeSide{Root: mustMerge(t, PreferNone, sides...).Root, Config: m.fetch}
	}
	for range 500 {
		a, b, c := random(), random(), random()
		all := join(a, b, c)
		left, right := join(join(a, b), c), join(a, join(b, c))
		want := platformDigests(all.Root)
		if platformDigests(left.Root) != want || platformDigests(right.Root) != want {
			t.Fatalf("of\n%s\n%s\n%s\ncome\n%s\nand\n%s", a.Root.Raw, b.Root.Raw, c.Root.Raw, left.Root.Raw, right.Root.Raw)
		}
		if again := join(all, a, b, c); again.Root.Digest != all.Root.Digest {
			t.Fatalf("merged again, %s becomes %s", all.Root.Raw, again.Root.Raw)
		}
		if again := join(c, b, all); platformDigests(again.Root) != want {
			t.Fatalf("merged again, %s becomes %s", all.Root.Raw, again.Root.Raw)
		}
	}
}

func FuzzMerge(f *testing.F) {
	amd := entry(ocispec.MediaTypeImageManifest, digest512, 4, `,"platform":{"os":"linux","architecture":"amd64"}`)
	f.Add([]byte(`{"manifests":[`+childEntry+`]}`), []byte(`{"manifests":[`+amd+`]}`), uint8(0))
	f.Add([]byte(`{"manifests":[`+amd+`],"annotations":{"a":"<"}}`), []byte(`{"manifests":[`+entry("a/b", digest256, 0, "")+`],"x":1e400}`), uint8(1))
	f.Add([]byte(`{"manifests":[`+entry(ocispec.MediaTypeImageManifest, digest256, 4,
		`,"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"`+digest512+`"}`)+`]}`),
		[]byte(`{"manifests":[]}`), uint8(2))
	f.Fuzz(func(t *testing.T, a, b []byte, prefer uint8) {
		var sides []MergeSide
		for _, raw := range [][]byte{a, b} {
			m, err := ParseManifest(ocispec.MediaTypeImageIndex, raw)
			if err != nil {
				return
			}
			n := &Node{Descriptor: Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, Raw: raw, Manifest: m}
			for _, d := range m.Manifests {
				config := &Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest256}
				child := &Node{Descriptor: d, Manifest: &Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config}}
				if IsManifest(d.MediaType) {
					n.Children = append(n.Children, child)
				}
			}
			sides = append(sides, MergeSide{Root: n})
		}
		p := Prefer(prefer % 4)
		got, err := Merge(t.Context(), sides, p)
		if err != nil || got.Root == nil {
			return
		}
		if err := CheckBytes(got.Root.Descriptor, got.Root.Raw); err != nil {
			t.Fatal(err)
		}
		again, err := Merge(t.Context(), sides, p)
		if err != nil || !bytes.Equal(again.Root.Raw, got.Root.Raw) {
			t.Fatalf("two merges give %s and %s, %v", got.Root.Raw, again.Root.Raw, err)
		}
		again, err = Merge(t.Context(), append([]MergeSide{{Root: got.Root}}, sides...), PreferFirst)
		if err != nil || again.Root.Digest != got.Root.Digest {
			t.Fatalf("merged again, %s becomes %s, %v", got.Root.Raw, again.Root.Raw, err)
		}
	})
}
