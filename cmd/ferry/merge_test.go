package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// mergeFixture makes bundles with parts of one world, in which each name has one image for each platform.
type mergeFixture struct {
	t     *testing.T
	dir   string
	rand  *rand.Rand
	n     int
	blobs map[string][]byte
}

var mergePlatforms = []oci.Platform{
	ocitest.AMD64, ocitest.ARM64, {OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "arm", Variant: "v7"},
}

// image returns the one image of a name for a platform.
func (f *mergeFixture) image(name string, platform int) *ocitest.Graph {
	seed := uint64(len(name))*1000 + uint64(name[len("team/")])*10 + uint64(platform)
	g := ocitest.Image(mergePlatforms[platform], ocitest.RandomLayer(seed, 200))
	f.keep(g)
	return g
}

func (f *mergeFixture) keep(g *ocitest.Graph) {
	for _, b := range g.All() {
		f.blobs[b.Digest.String()] = b.Bytes
	}
}

// write writes a bundle of what a registry for some platforms has of the names.
func (f *mergeFixture) write(host string, names ...string) string {
	f.t.Helper()
	c := bundle.Contents{Labels: map[string]string{"of": host}}
	for _, name := range names {
		if e, ok := f.entry(name); ok {
			e.Name = host + "/" + name
			c.Images = append(c.Images, e)
		}
	}
	return f.writeContents(c)
}

func (f *mergeFixture) writeContents(c bundle.Contents) string {
	f.t.Helper()
	path := f.path()
	if err := writeContents(path, c, f.blobs); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *mergeFixture) path() string {
	f.n++
	return filepath.Join(f.dir, fmt.Sprintf("%d.tar", f.n))
}

// entry makes what one registry has under a name: nothing, a single image, an index of its own, or an index with fewer
// platforms than that of the source, and what is about it.
func (f *mergeFixture) entry(name string) (e bundle.Entry, ok bool) {
	var images []*ocitest.Graph
	for i := range mergePlatforms {
		images = append(images, f.image(name, i))
	}
	source := ocitest.Index(images...)
	f.keep(source)
	first := f.rand.IntN(len(images))
	root := images[first]
	switch f.rand.IntN(4) {
	case 0:
		return e, false
	case 1:
		e.Root = root.Node()
	case 2:
		root = ocitest.Index(images[first:]...)
		f.keep(root)
		e.Root = root.Node()
	case 3:
		var want []oci.Platform
		for i := range 1 + f.rand.IntN(2) {
			want = append(want, mergePlatforms[(first+i)%len(images)])
		}
		filtered, err := oci.FilterPlatforms(source.Node(), want)
		if err != nil {
			f.t.Fatal(err)
		}
		e.Root, e.Original = filtered, &source.Descriptor
		f.blobs[filtered.Digest.String()] = filtered.Raw
		f.attach(&e, source)
		return e, true
	}
	f.attach(&e, root)
	for _, child := range root.Children {
		f.attach(&e, child)
	}
	return e, true
}

// attach adds a signature and an SBOM, which is signed, too.
func (f *mergeFixture) attach(e *bundle.Entry, subject *ocitest.Graph) {
	if f.rand.IntN(2) == 0 {
		return
	}
	sbom := ocitest.Referrer(ocitest.SBOMType, subject, "parts")
	add := func(g *ocitest.Graph, about digest.Digest, found oci.FoundBy, tag string) {
		f.keep(g)
		e.Referrers = append(e.Referrers, oci.Referrer{Subject: about, Root: g.Node(), Found: found, Tag: tag})
	}
	add(sbom, subject.Digest, oci.FoundByAPI, "")
	add(ocitest.Referrer(ocitest.SignatureType, sbom, "signed"), sbom.Digest, oci.FoundByAPI, "")
	add(ocitest.CosignSignature(subject), subject.Digest, oci.FoundByTag, ocitest.CosignTag(subject))
}

// merge runs ferry merge, proves the output, and returns its path.
func (f *mergeFixture) merge(bundles ...string) string {
	f.t.Helper()
	out := f.path()
	f.ferry(append([]string{"merge", "-o", out}, bundles...)...)
	f.ferry("verify", out)
	return out
}

func (f *mergeFixture) ferry(args ...string) {
	f.t.Helper()
	var all bytes.Buffer
	std := &stdio{Out: &all, Err: &all, Now: time.Now, Getenv: func(string) string { return "" }}
	if code := run(args, std); code != 0 {
		f.t.Fatalf("ferry %s: exit code %d\n%s", strings.Join(args, " "), code, all.String())
	}
}

func (f *mergeFixture) open(path string) *bundle.Bundle {
	f.t.Helper()
	set, err := findBundle([]string{path})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { set.Close() })
	b, err := bundle.Open(f.t.Context(), set, set.Size(), bundle.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// meaning returns what a bundle holds, in whatever order its indexes list it: for each name the images by platform, what is
// about them, and what they were at their sources.
func (f *mergeFixture) meaning(path string) map[string]string {
	f.t.Helper()
	b := f.open(path)
	all := map[string]string{}
	for _, img := range b.Head().Images {
		var parts []string
		root, err := b.Graph(f.t.Context(), img)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, image := range root.Images() {
			parts = append(parts, "image "+image.Digest.String())
		}
		for _, r := range img.Referrers {
			parts = append(parts, fmt.Sprintf("referrer %s of %s %s", r.Digest, r.Subject, r.Tag))
		}
		origins := img.Origins()
		if len(origins) == 0 {
			origins = []bundle.Original{{Digest: img.Digest}}
		}
		for _, o := range origins {
			parts = append(parts, "origin "+o.Digest.String())
		}
		slices.Sort(parts)
		all[img.Name] = strings.Join(parts, "\n")
	}
	return all
}

func TestMergeOfBundles(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // the locks of outputs
	names := []string{"team/a:1", "team/b:1", "team/c:1", "team/d:1", "team/e:1", "team/f:1"}
	for seed := range uint64(4) {
		f := &mergeFixture{t: t, dir: t.TempDir(), rand: rand.New(rand.NewPCG(seed, 7)), blobs: map[string][]byte{}}
		a, b, c := f.write("a.example", names...), f.write("b.example", names...), f.write("c.example", names...)
		all := f.merge(a, b, c)
		want := f.meaning(all)
		f.hasAllOf(want, a, b, c)
		for what, path := range map[string]string{
			"(a b) c": f.merge(f.merge(a, b), c), "a (b c)": f.merge(a, f.merge(b, c)),
		} {
			if got := f.meaning(path); !maps.Equal(got, want) {
				t.Errorf("seed %d: merged as %s it holds %q, want %q", seed, what, got, want)
			}
		}
		id := f.open(all).ContentID()
		for what, path := range map[string]string{
			"once more": f.merge(a, b, c), "with its parts": f.merge(all, c, b, a), "alone": f.merge(all),
		} {
			if got := f.open(path).ContentID(); got != id {
				t.Errorf("seed %d: merged %s it has the content id %s, want %s", seed, what, got, id)
			}
		}
	}
}

// hasAllOf proves that nothing which the bundles hold is lost.
func (f *mergeFixture) hasAllOf(merged map[string]string, bundles ...string) {
	f.t.Helper()
	byPath := map[string]string{}
	for name, parts := range merged {
		_, path, _ := strings.Cut(name, "/")
		byPath[path] = parts
	}
	for _, b := range bundles {
		for name, parts := range f.meaning(b) {
			_, path, _ := strings.Cut(name, "/")
			for part := range strings.SplitSeq(parts, "\n") {
				if !strings.Contains(byPath[path], part) {
					f.t.Errorf("%s has %s, and the merged bundle has not", name, part)
				}
			}
		}
	}
}

func TestMergeRestoresTheIndexOfTheSource(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := &mergeFixture{t: t, dir: t.TempDir(), blobs: map[string][]byte{}}
	source := testImages["attested"].graph()
	f.keep(source)
	signature := ocitest.CosignSignature(source)
	f.keep(signature)
	var parts []string
	for _, platforms := range [][]string{{"linux/arm64"}, {"linux/amd64", "linux/s390x"}} {
		filtered, err := oci.FilterPlatforms(source.Node(), mustPlatforms(t, platforms))
		if err != nil {
			t.Fatal(err)
		}
		f.blobs[filtered.Digest.String()] = filtered.Raw
		parts = append(parts, f.writeContents(bundle.Contents{Images: []bundle.Entry{{
			Name: "docker.io/library/attested:1", Root: filtered, Original: &source.Descriptor,
			Referrers: []oci.Referrer{{
				Subject: source.Digest, Root: signature.Node(), Found: oci.FoundByTag, Tag: ocitest.CosignTag(source),
			}},
		}}}))
	}
	got := f.open(f.merge(parts...)).Head().Images[0]
	if got.Digest != source.Digest || !got.AtSource() || len(got.Origins()) > 0 {
		t.Errorf("the image is %s, made of %v, want %s alone", got.Digest, got.Origins(), source.Digest)
	}
	if len(got.Referrers) != 1 || got.Referrers[0].Subject != got.Digest {
		t.Errorf("referrers %v, want the signature of the index", got.Referrers)
	}
}

func mustPlatforms(t *testing.T, names []string) []oci.Platform {
	t.Helper()
	var all []oci.Platform
	for _, name := range names {
		p, err := oci.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestMergeOfSignaturesUnderOneTag(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := &mergeFixture{t: t, dir: t.TempDir(), blobs: map[string][]byte{}}
	image := testImages["single"].graph()
	f.keep(image)
	var parts []string
	var signatures []digest.Digest
	for _, text := range []string{"by ada", "by bob"} {
		s := ocitest.Artifact(ocitest.SignatureType, nil, ocitest.NewBlob(ocitest.SignatureType, []byte(text)))
		f.keep(s)
		signatures = append(signatures, s.Digest)
		parts = append(parts, f.writeContents(bundle.Contents{Images: []bundle.Entry{{
			Name: "docker.io/library/single:1", Root: image.Node(), Referrers: []oci.Referrer{{
				Subject: image.Digest, Root: s.Node(), Found: oci.FoundByTag, Tag: ocitest.CosignTag(image),
			}},
		}}}))
	}
	var text bytes.Buffer
	std := &stdio{Out: &text, Err: &text, Now: time.Now, Getenv: func(string) string { return "" }}
	err := execute(context.WithoutCancel(t.Context()), []string{"merge", parts[0], parts[1], "-o", f.path()}, std)
	if err == nil || !strings.Contains(text.String(), "attached to it as "+ocitest.CosignTag(image)) {
		t.Errorf("error %v, output %s, want a conflict", err, text.String())
	}
	for i, prefer := range []string{"first", "last"} {
		got := f.open(f.merge("--prefer", prefer, parts[0], parts[1])).Head().Images[0].Referrers
		if len(got) != 1 || got[0].Digest != signatures[i] {
			t.Errorf("--prefer %s: referrers %v, want %s", prefer, got, signatures[i])
		}
	}
}

func TestMergeKeepsWhatIsKnownOfSources(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := &mergeFixture{t: t, dir: t.TempDir(), rand: rand.New(rand.NewPCG(1, 1)), blobs: map[string][]byte{}}
	const backup = "../../testdata/bundles/v1-sources.tar.zst"
	want := f.open(backup).Head()
	got := f.open(f.merge(backup, f.merge(backup), f.write("a.example", "team/a:1"))).Head()
	if len(want.Sources) == 0 || !reflect.DeepEqual(got.Sources, want.Sources) {
		t.Errorf("sources %v, want %v", got.Sources, want.Sources)
	}
	if len(want.Projects) == 0 || !reflect.DeepEqual(got.Projects, want.Projects) {
		t.Errorf("projects %v, want %v", got.Projects, want.Projects)
	}
}

// Wherever an input is damaged, the merge ends with exit code 3 and leaves nothing behind.
func TestMergeOfADamagedBundle(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	whole, damaged, out := filepath.Join(dir, "whole.tar"), filepath.Join(dir, "damaged.tar"), filepath.Join(dir, "out.tar")
	for path, images := range map[string][]string{whole: {"job-amd64", "pause"}, damaged: {"job-arm64", "attested"}} {
		if err := writeTestBundle(path, images...); err != nil {
			t.Fatal(err)
		}
	}
	f := &mergeFixture{t: t}
	h := f.open(damaged).Head()
	raw, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]int64{"the head": 1000, "the tail": h.Tail + 1000}
	for _, m := range h.Members {
		places["the content of "+m.Name()] = m.Offset + 512 + m.Size/2
		places["the header of "+m.Name()] = m.Offset + 100
	}
	for what, at := range places {
		altered := bytes.Clone(raw)
		altered[at] ^= 1
		if err := os.WriteFile(damaged, altered, 0o644); err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		std := &stdio{Out: &text, Err: &text, Now: time.Now, Getenv: func(string) string { return "" }}
		code := run([]string{"merge", whole, damaged, "-o", out}, std)
		if code != exitDamaged || !strings.Contains(text.String(), "damaged.tar: ") {
			t.Errorf("%s: exit code %d, output %s", what, code, text.String())
		}
		if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
}

// The config of an image without an index is read to learn its platform, before anything moves.
func TestUnpackMergeOfADamagedConfig(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	r := registrytest.New(t, registrytest.Options{})
	path := filepath.Join(t.TempDir(), "b.tar")
	for _, image := range []string{"job-amd64", "job-arm64"} {
		if err := writeTestBundle(path, image); err != nil {
			t.Fatal(err)
		}
		if image == "job-amd64" {
			(&mergeFixture{t: t}).ferry("unpack", path, r.Host()+"/k")
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := testImages["job-arm64"].graph().Blobs[0].Bytes
	raw[bytes.Index(raw, config)+len(config)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	std := &stdio{Out: &text, Err: &text, Now: time.Now, Getenv: func(string) string { return "" }}
	r.ResetCounts()
	code := run([]string{"unpack", "--merge-platforms", path, r.Host() + "/k"}, std)
	if code != exitDamaged || !strings.Contains(text.String(), "b.tar: blobs/sha256/") || r.Count("PUT", "") > 0 {
		t.Errorf("exit code %d, %d times PUT, output %s", code, r.Count("PUT", ""), text.String())
	}
}
