package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func platformList(t testing.TB, names ...string) []Platform {
	t.Helper()
	var list []Platform
	for _, name := range names {
		list = append(list, mustPlatform(t, name))
	}
	return list
}

// entriesOf returns the names of what the index n lists, as names says.
func entriesOf(n *Node, names map[string]Descriptor) []string {
	var got []string
	for _, d := range n.Manifest.Manifests {
		name := "a new index"
		for s, known := range names {
			if known.Digest == d.Digest {
				name = s
			}
		}
		got = append(got, name)
	}
	return got
}

func TestFilterPlatforms(t *testing.T) {
	m := newMemory(t)
	names := map[string]Descriptor{
		"amd64": m.imageFor("linux/amd64", "a"),
		"arm64": m.imageFor("linux/arm64/v8", "b"),
		"v6":    m.imageFor("linux/arm/v6", "c"),
		"v7":    m.imageFor("linux/arm/v7", "d"),
		"note":  m.blob("text/plain", "note"),
		"chart": m.manifest(m.blob("application/vnd.cncf.helm.config.v1+json", "{}"), "chart"),
	}
	for _, name := range []string{"amd64", "arm64"} {
		names["about "+name] = m.attestation(names[name])
	}
	names["about nothing here"] = m.attestation(m.image("linux/s390x", "elsewhere"))
	names["nested arm"] = m.index(names["v6"], names["v7"])

	for _, c := range []struct {
		name  string
		index []string
		want  string
		kept  []string // nil: the very same index
	}{
		{"all", []string{"amd64", "arm64"}, "linux/amd64 linux/arm64", nil},
		{"all with attestations", []string{"amd64", "about amd64"}, "linux/amd64", nil},
		{"one of two stays an index", []string{"amd64", "arm64"}, "linux/arm64", []string{"arm64"}},
		{"order of the index", []string{"v7", "arm64", "amd64"}, "linux/amd64 linux/arm/v7", []string{"v7", "amd64"}},
		{"variants", []string{"v6", "v7", "amd64"}, "linux/arm", []string{"v6", "v7"}},
		{"one variant", []string{"v6", "v7"}, "linux/arm/v6", []string{"v6"}},
		{
			"attestations follow their image",
			[]string{"amd64", "arm64", "about amd64", "about arm64"},
			"linux/arm64",
			[]string{"arm64", "about arm64"},
		},
		{"attestation before its image", []string{"about arm64", "about amd64", "amd64", "arm64"}, "linux/amd64", []string{"about amd64", "amd64"}},
		{"attestation about nothing here", []string{"amd64", "about nothing here"}, "linux/amd64", []string{"amd64"}},
		{"what has no platform stays", []string{"amd64", "note", "chart", "arm64"}, "linux/amd64", []string{"amd64", "note", "chart"}},
		{"no platforms at all", []string{"note", "chart"}, "linux/amd64", nil},
		{"nested index kept", []string{"amd64", "nested arm"}, "linux/arm", []string{"nested arm"}},
		{"nested index left out", []string{"amd64", "nested arm"}, "linux/amd64", []string{"amd64"}},
		{"nested index rebuilt", []string{"amd64", "nested arm"}, "linux/arm/v7", []string{"a new index"}},
		{"platform that one image lacks", []string{"amd64", "arm64"}, "linux/amd64 linux/s390x", []string{"amd64"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var entries []Descriptor
			for _, name := range c.index {
				entries = append(entries, names[name])
			}
			n := m.load(m.index(entries...))
			want := platformList(t, strings.Fields(c.want)...)
			got, err := FilterPlatforms(n, want)
			if err != nil {
				t.Fatal(err)
			}
			if c.kept == nil {
				if got != n {
					t.Errorf("index was rebuilt as %s", got.Raw)
				}
				return
			}
			if entries := entriesOf(got, names); !slices.Equal(entries, c.kept) {
				t.Errorf("kept %q, want %q", entries, c.kept)
			}
			checkRebuilt(t, got, want)
		})
	}
}

// checkRebuilt proves that n is a whole index and that there is nothing left to filter.
func checkRebuilt(t *testing.T, n *Node, want []Platform) {
	t.Helper()
	if n.MediaType != ocispec.MediaTypeImageIndex || n.Manifest.MediaType != n.MediaType {
		t.Errorf("media type %s, %s", n.MediaType, n.Manifest.MediaType)
	}
	if err := CheckBytes(n.Descriptor, n.Raw); err != nil {
		t.Error(err)
	}
	children := n.byDigest()
	for _, d := range n.Manifest.Manifests {
		if child := children[d.Digest]; IsManifest(d.MediaType) && (child == nil || CheckBytes(d, child.Raw) != nil) {
			t.Errorf("entry %s has no child that matches", d.Digest)
		}
	}
	again, err := FilterPlatforms(n, want)
	if err != nil || again != n {
		t.Errorf("filtering twice changes more: %v", err)
	}
}

func TestFilterPlatformsKeepsFields(t *testing.T) {
	m := newMemory(t)
	amd, arm := m.imageFor("linux/amd64", "a"), m.imageFor("linux/arm64", "b")
	field := func(d Descriptor, p string) string {
		return fmt.Sprintf(` { "size": %d, "digest":%q, "x-new" : {"b":1.50,"a":"<&>"}, "mediaType":%q, "platform":%s}`, d.Size, d.Digest, d.MediaType, p)
	}
	raw := `{ "z":[1, 2], "schemaVersion":2, "manifests":[` +
		field(amd, `{"os":"linux", "architecture":"amd64", "os.features":["x"]}`) + `,` + field(arm, `{"os":"linux","architecture":"arm64"}`) +
		`], "annotations":{"url":"a<b>&c"}, "artifactType":"a/t", "subject":` + entry("s/s", digest256, 1, "") + `}`
	n := m.load(m.blob(ocispec.MediaTypeImageIndex, raw))
	got, err := FilterPlatforms(n, platformList(t, "linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"annotations":{"url":"a<b>&c"},"artifactType":"a/t","manifests":[` +
		fmt.Sprintf(`{"size":%d,"digest":%q,"x-new":{"b":1.50,"a":"<&>"},"mediaType":%q,`, amd.Size, amd.Digest, amd.MediaType) +
		`"platform":{"os":"linux","architecture":"amd64","os.features":["x"]}}],` +
		`"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2,"subject":` + entry("s/s", digest256, 1, "") + `,"z":[1,2]}`
	if string(got.Raw) != want {
		t.Errorf("got\n%s\nwant\n%s", got.Raw, want)
	}
}

func TestFilterPlatformsRedirectsNestedEntries(t *testing.T) {
	m := newMemory(t)
	inner := m.index(m.imageFor("linux/amd64", "a"), m.imageFor("linux/arm64", "b"))
	inner.Annotations = map[string]string{"keep": "me"}
	inner.Data = m.blobs[inner.Digest]
	got, err := FilterPlatforms(m.load(m.index(inner)), platformList(t, "linux/arm64"))
	if err != nil {
		t.Fatal(err)
	}
	d := got.Manifest.Manifests[0]
	if d.Digest != got.Children[0].Digest || d.Size != got.Children[0].Size || d.Digest == inner.Digest {
		t.Errorf("entry %+v, child %+v", d, got.Children[0].Descriptor)
	}
	if d.Data != nil || d.Annotations["keep"] != "me" || d.MediaType != inner.MediaType {
		t.Errorf("entry %+v", d)
	}
}

func TestFilterPlatformsOfDockerList(t *testing.T) {
	m := newMemory(t)
	entries, err := json.Marshal([]Descriptor{m.imageFor("linux/amd64", "a"), m.imageFor("linux/arm64", "b")})
	if err != nil {
		t.Fatal(err)
	}
	n := m.load(m.blob(MediaTypeDockerList, `{"schemaVersion":2,"mediaType":"`+MediaTypeDockerList+`","manifests":`+string(entries)+`}`))
	got, err := FilterPlatforms(n, platformList(t, "linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	if got.MediaType != MediaTypeDockerList || !bytes.Contains(got.Raw, []byte(MediaTypeDockerList)) || len(got.Children) != 1 {
		t.Errorf("got %s: %s", got.MediaType, got.Raw)
	}
}

func TestFilterPlatformsFindsNothing(t *testing.T) {
	m := newMemory(t)
	single := m.load(m.image("linux/amd64", "a"))
	single.ConfigPlatform = &Platform{OS: "linux", Architecture: "amd64"}
	for name, n := range map[string]*Node{
		"index":             m.load(m.index(m.imageFor("linux/amd64", "a"), m.blob("text/plain", "note"))),
		"only attestations": m.load(m.index(m.attestation(m.image("linux/arm64", "x")))),
		"image":             single,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FilterPlatforms(n, platformList(t, "linux/arm64", "linux/arm/v7"))
			if !errors.Is(err, ErrNotFound) || err.Error() != "no image for linux/arm64, linux/arm/v7: not found" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	if got, err := FilterPlatforms(single, platformList(t, "linux/amd64")); err != nil || got != single {
		t.Errorf("image that is wanted: %v, %v", got, err)
	}
	if got, err := FilterPlatforms(single, nil); err != nil || got != single {
		t.Errorf("no platform asked for: %v, %v", got, err)
	}
}

// An index that lists the next one many times over must not be filtered many times over.
func TestFilterPlatformsOfRepeatedIndexes(t *testing.T) {
	m := newMemory(t)
	d := m.index(m.imageFor("linux/amd64", "a"), m.imageFor("linux/arm64", "b"))
	for range maxGraphDepth - 2 {
		d = m.index(slices.Repeat([]Descriptor{d}, 200)...)
	}
	got, err := FilterPlatforms(m.load(d), platformList(t, "linux/arm64"))
	if err != nil || len(got.Children) != 200 || len(got.Images()) != 1 {
		t.Errorf("got %v", err)
	}
}

func FuzzFilterIndex(f *testing.F) {
	f.Add([]byte(`{"manifests":[` + childEntry + `,` + entry(ocispec.MediaTypeImageManifest, digest512, 4, `,"platform":{"os":"linux","architecture":"amd64"}`) + `]}`))
	f.Add([]byte(`{"manifests":[` + entry(ocispec.MediaTypeImageManifest, digest256, 4,
		`,"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"`+digest512+`"}`) + `,` + childEntry + `]}`))
	f.Add([]byte(`{"manifests":[` + entry("a/b", digest256, 0, "") + `],"annotations":{"a":"\u2028<"},"x":1e400}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := ParseManifest(ocispec.MediaTypeImageIndex, raw)
		if err != nil {
			return
		}
		n := &Node{Descriptor: Descriptor{MediaType: m.MediaType, Digest: digest256, Size: int64(len(raw))}, Raw: raw, Manifest: m}
		for _, d := range m.Manifests {
			child := &Node{Descriptor: d, Manifest: &Manifest{MediaType: ocispec.MediaTypeImageManifest}}
			if IsManifest(d.MediaType) {
				n.Children = append(n.Children, child)
			}
		}
		want := []Platform{{OS: "linux", Architecture: "amd64"}}
		got, err := FilterPlatforms(n, want)
		if err != nil || got == n {
			return
		}
		if err := CheckBytes(got.Descriptor, got.Raw); err != nil {
			t.Fatal(err)
		}
		rest := m.Manifests
		for _, d := range got.Manifest.Manifests {
			i := slices.IndexFunc(rest, func(o Descriptor) bool { return o.Digest == d.Digest && o.Size == d.Size && o.MediaType == d.MediaType })
			if i < 0 {
				t.Fatalf("%s was not in %s", d.Digest, raw)
			}
			rest = rest[i+1:]
		}
		if again, err := FilterPlatforms(got, want); err != nil || again != got {
			t.Fatalf("filtering twice changes %s to %v, %v", got.Raw, again, err)
		}
	})
}
