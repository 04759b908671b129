package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// tag makes ref, in any spelling, name d.
func (m *memory) tag(ref string, d Descriptor) {
	r := mustReference(m.t, ref)
	d.Platform = nil // no registry tells it
	m.tags[r.String()] = d
	if r.Digest == "" {
		r.Digest = d.Digest
		m.tags[r.String()] = d // tag and digest
		r.Tag = ""
		m.tags[r.String()] = d // digest alone
	}
}

func mustList(t testing.TB, list string) []Reference {
	t.Helper()
	refs, err := ParseList("images.list", strings.NewReader(strings.ReplaceAll(list, " ", "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func mustPlan(t testing.TB, m *memory, list string, cache Cache, o PlanOptions) *Plan {
	t.Helper()
	p, err := MakePlan(t.Context(), mustList(t, list), m, m, cache, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// corpus has images of all kinds.
func corpus(t testing.TB) (m *memory, two Descriptor) {
	m = newMemory(t)
	amd, arm := m.imageFor("linux/amd64", "base", "amd"), m.imageFor("linux/arm64/v8", "base", "arm")
	two = m.index(amd, arm, m.attestation(amd), m.attestation(arm))
	m.tag("two:1", two)
	m.tag("amdonly:1", m.image("linux/amd64", "base", "single"))
	m.tag("quay.io/x/armindex:1", m.index(m.imageFor("linux/arm64", "base", "own")))
	m.tag("chart:1", m.manifest(m.blob("application/vnd.cncf.helm.config.v1+json", "{}"), "chart"))
	return m, two
}

func names(images []PlannedImage) []string {
	var list []string
	for _, i := range images {
		list = append(list, i.Ref.String())
	}
	return list
}

func TestMakePlanOfEverything(t *testing.T) {
	m, two := corpus(t)
	p := mustPlan(t, m, "two:1 quay.io/x/armindex:1 chart:1 amdonly:1 two:1 docker.io/library/two:1", nil, PlanOptions{})
	want := []string{
		"docker.io/library/amdonly:1", "docker.io/library/chart:1", "docker.io/library/two:1", "quay.io/x/armindex:1",
	}
	if got := names(p.Images); !slices.Equal(got, want) {
		t.Fatalf("images %q, want %q", got, want)
	}
	for _, i := range p.Images {
		if i.Err != nil || i.Root == nil || i.Original != nil || i.Pinned || i.Has != nil {
			t.Errorf("%s: %+v", i.Ref, i)
		}
	}
	if image := p.Images[2]; image.Root.Digest != two.Digest || len(image.Root.Children) != 4 {
		t.Errorf("root %s", image.Root.Digest)
	}
	if i := p.Images[0].Root.Images()[0]; i.Platform == nil || i.Platform.Architecture != "amd64" {
		t.Errorf("platform of an image without index %v", i.Platform)
	}
	if len(p.Failed()) != 0 || len(p.Dropped) != 0 || p.MissingPlatforms() != nil {
		t.Errorf("plan %+v", p)
	}
}

func TestMakePlanIsTheSameInParallel(t *testing.T) {
	m, _ := corpus(t)
	for i := range 30 {
		m.tag(fmt.Sprintf("many%d:1", i), m.index(m.imageFor("linux/amd64", "base", fmt.Sprint(i))))
	}
	list := "missing:1 two:1 chart:1 amdonly:1"
	for i := range 30 {
		list += fmt.Sprintf(" many%d:1", 29-i)
	}
	o := PlanOptions{Platforms: platformList(t, "linux/amd64"), Parallel: 1}
	one := mustPlan(t, m, list, nil, o)
	o.Parallel = 16
	if many := mustPlan(t, m, list, nil, o); !reflect.DeepEqual(one, many) {
		t.Error("16 at a time make another plan than 1")
	}
}

func TestMakePlanSizes(t *testing.T) {
	m, two := corpus(t)
	m.tag("alias:1", two)
	p := mustPlan(t, m, "two:1 alias:1 amdonly:1 chart:1 missing:1", nil, PlanOptions{})
	var all int64
	blobs := map[digest.Digest]bool{}
	for _, d := range slices.Concat(p.Roots()[0].Blobs(), p.Roots()[1].Blobs(), p.Roots()[2].Blobs(), p.Roots()[3].Blobs()) {
		blobs[d.Digest] = true
	}
	for _, n := range p.Roots() {
		_ = n.Walk(func(n *Node) error { blobs[n.Digest] = true; return nil })
	}
	for d := range blobs {
		all += int64(len(m.blobs[d]))
	}
	sum := int64(0)
	for _, i := range p.Images {
		sum += i.Size()
	}
	if got, want := p.Size(), (PlanSize{Images: 4, Blobs: len(blobs), Bytes: all, Sum: sum}); got != want || sum <= all {
		t.Errorf("got %+v, want %+v", got, want)
	}

	sizeOfImage := func(n Image) (bytes int64) {
		for _, d := range append(n.Node.Blobs(), n.Descriptor) {
			bytes += d.Size
		}
		return bytes
	}
	two1 := p.Images[4]
	images := two1.Root.Images()
	amd, arm, attestation := sizeOfImage(images[0]), sizeOfImage(images[1]), sizeOfImage(images[2])
	want := []PlatformSize{
		{Platform{OS: "linux", Architecture: "amd64"}, 1, amd + attestation},
		{Platform{OS: "linux", Architecture: "arm64"}, 1, arm + attestation},
	}
	if got := two1.Platforms; !reflect.DeepEqual(got, want) {
		t.Errorf("platforms of two:1 %+v, want %+v", got, want)
	}
	single := sizeOfImage(p.Images[1].Root.Images()[0]) - int64(len("base"))
	want[0].Bytes += single
	want[0].Images, want[1].Images = 3, 2
	want = append(want, PlatformSize{Images: 1, Bytes: p.Images[2].Size()})
	if got := p.PlatformSizes(); !reflect.DeepEqual(got, want) {
		t.Errorf("platforms of the plan %+v, want %+v", got, want)
	}
}

func TestMakePlanFilters(t *testing.T) {
	m, two := corpus(t)
	cache := &memoryCache{}
	p := mustPlan(t, m, "two:1 chart:1", cache, PlanOptions{Platforms: platformList(t, "linux/arm64")})
	image := p.Images[1]
	if image.Err != nil || image.Original == nil {
		t.Fatalf("image %+v", image)
	}
	if image.Original.Digest != two.Digest || image.Root.Digest == two.Digest {
		t.Fatalf("image %+v", image)
	}
	if got := image.Root.Images(); len(got) != 2 || got[0].Platform.Architecture != "arm64" || got[1].Describes != got[0].Digest {
		t.Errorf("images %+v", got)
	}
	if image.Original.Children != nil || !slices.Equal(image.Has, []bool{true}) || p.Images[0].Has != nil {
		t.Errorf("children %v, has %v and %v", image.Original.Children, image.Has, p.Images[0].Has)
	}
	manifests, _, layers := Blobs(p.Roots()...)
	if len(layers) != 4 { // chart, base, arm and the attestation
		t.Errorf("layers %v", layers)
	}
	for _, d := range manifests {
		if raw, err := cache.Manifest(t.Context(), d); err != nil || CheckBytes(d, raw) != nil {
			t.Errorf("manifest %s is not in the cache: %v", d.Digest, err)
		}
	}
	if got, want := p.Size().Bytes, p.Images[0].Size()+image.Size(); got != want {
		t.Errorf("size %d, want %d", got, want)
	}
	// What is left out is not even asked for: registries count requests for manifests.
	for _, d := range m.load(two).Manifest.Manifests[:1] {
		if m.opened[d.Digest] != 1 { // by load, just now
			t.Errorf("manifest of another platform was fetched")
		}
	}
}

func TestMakePlanKeepsPinnedIndexes(t *testing.T) {
	m, two := corpus(t)
	o := PlanOptions{Platforms: platformList(t, "linux/arm64")}
	pinned := "two@" + two.Digest.String()
	p := mustPlan(t, m, pinned+" quay.io/x/armindex:1", nil, o)
	if i := p.Images[0]; !i.Pinned || i.Original != nil || i.Root.Digest != two.Digest || len(i.Root.Children) != 4 {
		t.Errorf("image %+v", i)
	}
	if i := p.Images[1]; i.Pinned || i.Original != nil {
		t.Errorf("image %+v", i)
	}
	o.Repin = true
	p = mustPlan(t, m, pinned, nil, o)
	if i := p.Images[0]; i.Pinned || i.Original == nil || len(i.Root.Children) != 2 || i.Ref.Digest != two.Digest {
		t.Errorf("with Repin: %+v", i)
	}
	p = mustPlan(t, m, pinned, nil, PlanOptions{})
	if i := p.Images[0]; i.Pinned || i.Root.Digest != two.Digest {
		t.Errorf("without platforms: %+v", i)
	}
}

func TestMakePlanMissingPlatforms(t *testing.T) {
	const list = "two:1 amdonly:1 quay.io/x/armindex:1 chart:1 gone:1"
	m, _ := corpus(t)
	wanted := platformList(t, "linux/arm64", "linux/amd64/v1")

	t.Run("fail", func(t *testing.T) {
		p, err := MakePlan(t.Context(), mustList(t, list), m, m, nil, PlanOptions{Platforms: wanted})
		var table *MissingPlatformsError
		if !errors.As(err, &table) || p == nil {
			t.Fatalf("plan %v, error %v", p, err)
		}
		want := []PlatformRow{
			{mustReference(t, "amdonly:1"), []bool{false, true}},
			{mustReference(t, "quay.io/x/armindex:1"), []bool{true, false}},
		}
		if !reflect.DeepEqual(table.Images, want) || !reflect.DeepEqual(table.Platforms, wanted) {
			t.Errorf("table %+v, want %+v", table.Images, want)
		}
		text := "image docker.io/library/amdonly:1 has no linux/arm64; image quay.io/x/armindex:1 has no linux/amd64/v1"
		if err.Error() != text {
			t.Errorf("error %q, want %q", err, text)
		}
		if failed := p.Failed(); len(failed) != 1 || failed[0].Ref.Path != "library/gone" || len(p.Images) != 5 {
			t.Errorf("failed %v", failed)
		}
	})
	t.Run("available", func(t *testing.T) {
		o := PlanOptions{Platforms: wanted, Missing: MissingAvailable}
		if p := mustPlan(t, m, list, nil, o); len(p.Failed()) != 1 || len(p.Images) != 5 || len(p.MissingPlatforms().Images) != 2 {
			t.Errorf("plan %+v", p)
		}
		o.Platforms = platformList(t, "linux/arm64")
		p := mustPlan(t, m, "amdonly:1 two:1", nil, o)
		if i := p.Images[0]; !errors.Is(i.Err, ErrNotFound) || i.Root != nil || !slices.Equal(i.Has, []bool{false}) {
			t.Errorf("image with none of the platforms %+v", i)
		}
	})
	t.Run("drop", func(t *testing.T) {
		p := mustPlan(t, m, list, nil, PlanOptions{Platforms: wanted, Missing: MissingDrop})
		if got := names(p.Dropped); !slices.Equal(got, []string{"docker.io/library/amdonly:1", "quay.io/x/armindex:1"}) {
			t.Errorf("dropped %q", got)
		}
		if len(p.Images) != 3 || len(p.MissingPlatforms().Images) != 2 {
			t.Errorf("images %q", names(p.Images))
		}
	})
	t.Run("many", func(t *testing.T) {
		e := &MissingPlatformsError{Platforms: wanted}
		for range 5 {
			e.Images = append(e.Images, PlatformRow{mustReference(t, "a"), []bool{false, false}})
		}
		if !strings.HasSuffix(e.Error(), "has no linux/arm64, linux/amd64/v1; and 2 more images lack a platform") {
			t.Errorf("error %q", e)
		}
	})
}

func TestMakePlanReadsConfigsThatIndexesLeaveOut(t *testing.T) {
	m := newMemory(t)
	m.tag("bare:1", m.index(m.image("linux/amd64", "a"), m.image("linux/arm64", "b")))
	p := mustPlan(t, m, "bare:1", nil, PlanOptions{Platforms: platformList(t, "linux/arm64")})
	if i := p.Images[0]; i.Err != nil || i.Original == nil || len(i.Root.Children) != 1 {
		t.Errorf("image %+v", i)
	}
}

func TestMakePlanTakesConfigsThatTellNoPlatform(t *testing.T) {
	m := newMemory(t)
	for name, config := range map[string]string{
		"signature": `{"os":"","architecture":""}`, "text": "no JSON", "number": `{"os":1}`,
	} {
		m.tag(name+":1", m.manifest(m.blob(MediaTypeDockerConfig, config), name))
		p := mustPlan(t, m, name+":1", nil, PlanOptions{Platforms: platformList(t, "linux/arm64")})
		if i := p.Images[0]; i.Err != nil || i.Has != nil || i.Root == nil {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func TestMakePlanOfOneName(t *testing.T) {
	m, two := corpus(t)
	other := m.index(m.imageFor("linux/arm64", "old"))
	m.tag("two:1@"+other.Digest.String(), other)
	withDigest, withOther := "two:1@"+two.Digest.String(), "two:1@"+other.Digest.String()
	o := PlanOptions{Platforms: platformList(t, "linux/arm64")}

	p := mustPlan(t, m, withDigest+" two:1", nil, o)
	if len(p.Images) != 1 || p.Images[0].Ref.Digest != two.Digest || !p.Images[0].Pinned {
		t.Errorf("one image by two names: %+v", p.Images)
	}
	p = mustPlan(t, m, withOther+" two:1", nil, o)
	if len(p.Images) != 2 || len(p.Roots()) != 0 {
		t.Errorf("two images of one name: %+v", p.Images)
	}
	for _, i := range p.Images {
		if !errors.Is(i.Err, ErrNameTaken) {
			t.Errorf("%s: %v", i.Ref, i.Err)
		}
	}
	p = mustPlan(t, m, "two:1@"+digest256+" two:1", nil, o)
	if len(p.Failed()) != 1 || !errors.Is(p.Failed()[0].Err, ErrNotFound) || len(p.Roots()) != 2 {
		t.Errorf("one of two is not there: %+v", p.Images)
	}
}

func TestMakePlanGoesOnAfterFailures(t *testing.T) {
	m, _ := corpus(t)
	lost := m.image("linux/amd64", "lost")
	m.tag("lost:1", m.index(lost))
	delete(m.blobs, lost.Digest)
	lying := m.image("linux/amd64", "lying")
	m.tag("lying:1", lying)
	m.blobs[lying.Digest][5] ^= 1
	big := m.blob(MediaTypeDockerConfig, "{}")
	big.Size = maxConfigSize + 1
	m.tag("bigconfig:1", m.manifest(big))
	m.tag("other:1@"+digest256, lost)

	var events []PlanEvent
	o := PlanOptions{Events: func(e PlanEvent) { events = append(events, e) }}
	p := mustPlan(t, m, "gone:1 lost:1 lying:1 bigconfig:1 two:1 other:1@"+digest256, nil, o)
	for _, c := range []struct {
		name, want string
		is         error
	}{
		{"gone", "not found", ErrNotFound},
		{"lost", "manifest " + lost.Digest.String() + ": not found", ErrNotFound},
		{"lying", "content has digest", ErrCorrupt},
		{"bigconfig", "4194305 bytes, at most 4194304", nil},
		{"other", "answered with " + lost.Digest.String(), ErrCorrupt},
	} {
		i := slices.IndexFunc(p.Images, func(i PlannedImage) bool { return i.Ref.Path == "library/"+c.name })
		err := p.Images[i].Err
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if p.Images[i].Root != nil {
			t.Errorf("%s: has a root", c.name)
		}
	}
	if len(p.Failed()) != 5 || len(p.Roots()) != 1 {
		t.Errorf("%d failed", len(p.Failed()))
	}
	errs := 0
	for i, e := range events {
		if e.Err != nil {
			errs++
		}
		if e.Done != i+1 || e.Total != 6 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if len(events) != 6 || errs != 5 {
		t.Errorf("%d events, %d errors", len(events), errs)
	}
}

func TestMakePlanFetchesEachManifestOnce(t *testing.T) {
	m, two := corpus(t)
	var list []string
	for i := range 20 { // aliases, which are fetched at the same time
		name := fmt.Sprintf("alias%d:1", i)
		m.tag(name, two)
		list = append(list, name)
	}
	text := strings.Join(list, " ") + " amdonly:1 gone:1"
	cache := &memoryCache{}
	first := mustPlan(t, m, text, cache, PlanOptions{Parallel: 16})
	for d, n := range m.opened {
		if n != 1 {
			t.Errorf("%s was fetched %d times", d, n)
		}
	}
	if len(m.resolved) != 22 {
		t.Errorf("%d references resolved, want 22", len(m.resolved))
	}

	// The second run asks for what failed, and for nothing else; that a tag has moved does not matter.
	before := maps.Clone(m.opened)
	m.tag("alias3:1", m.index())
	second := mustPlan(t, m, text, cache, PlanOptions{})
	if !maps.Equal(m.opened, before) {
		t.Errorf("fetched again: %v, before %v", m.opened, before)
	}
	for ref, n := range m.resolved {
		if gone := strings.Contains(ref, "gone"); n != 1 && !gone || n != 2 && gone {
			t.Errorf("%s was resolved %d times", ref, n)
		}
	}
	if !reflect.DeepEqual(first, second) {
		t.Error("the second plan is another one")
	}
}

// A shallow plan asks what references mean and nothing else, and a whole one with its cache asks for the rest only.
func TestMakePlanShallow(t *testing.T) {
	m, two := corpus(t)
	list := "two:1 amdonly:1 docker.io/library/two:1@" + two.Digest.String() + " missing:1"
	cache := NewMemoryCache()
	p := mustPlan(t, m, list, cache, PlanOptions{Shallow: true})
	if got, want := names(p.Images), []string{
		"docker.io/library/amdonly:1", "docker.io/library/missing:1", "docker.io/library/two:1@" + two.Digest.String(),
	}; !slices.Equal(got, want) {
		t.Fatalf("images %q, want %q", got, want)
	}
	if i := p.Images[2]; i.Root.Digest != two.Digest || i.Root.Manifest != nil {
		t.Errorf("root %+v", i.Root)
	}
	if !errors.Is(p.Images[1].Err, ErrNotFound) {
		t.Errorf("missing image: %v", p.Images[1].Err)
	}
	if n := len(m.opened); n > 0 {
		t.Errorf("%d manifests were read", n)
	}
	m.tags = nil // so that nothing can be resolved anew
	p = mustPlan(t, m, "two:1 amdonly:1", cache, PlanOptions{})
	if len(p.Failed()) > 0 || len(p.Images[1].Root.Children) != 4 {
		t.Errorf("the whole plan: %+v", p.Images)
	}
}

// cacheWith is a cache with faults.
type cacheWith struct {
	memoryCache
	read, write, resolve error
	flip                 bool
}

func (c *cacheWith) Manifest(ctx context.Context, d Descriptor) ([]byte, error) {
	if c.read != nil {
		return nil, c.read
	}
	raw, err := c.memoryCache.Manifest(ctx, d)
	if c.flip && err == nil {
		raw = append([]byte{'x'}, raw[1:]...)
	}
	return raw, err
}

func (c *cacheWith) PutManifest(ctx context.Context, d Descriptor, raw []byte) error {
	return errors.Join(c.write, c.memoryCache.PutManifest(ctx, d, raw))
}

func (c *cacheWith) PutResolved(ref Reference, d Descriptor) error {
	return errors.Join(c.resolve, c.memoryCache.PutResolved(ref, d))
}

func TestMakePlanWithFaultyCache(t *testing.T) {
	m, _ := corpus(t)
	refs := mustList(t, "two:1 amdonly:1 gone:1")
	for name, cache := range map[string]*cacheWith{
		"cannot read": {read: errTest}, "cannot write": {write: errTest}, "cannot write names": {resolve: errTest},
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := MakePlan(t.Context(), refs, m, m, cache, PlanOptions{}); !errors.Is(err, errTest) || p != nil {
				t.Errorf("plan %v, error %v", p, err)
			}
		})
	}
	for name, cache := range map[string]*cacheWith{"damaged content": {flip: true}, "knows of damage": {read: ErrCorrupt}} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if p := mustPlan(t, m, "two:1 amdonly:1", cache, PlanOptions{}); len(p.Failed()) != 0 {
					t.Errorf("failed %v", p.Failed())
				}
			}
		})
	}
	t.Run("wrong digest", func(t *testing.T) {
		cache := &memoryCache{}
		_, two := corpus(t)
		ref := mustReference(t, "two@"+two.Digest.String())
		if err := cache.PutResolved(ref, m.tags["docker.io/library/amdonly:1"]); err != nil {
			t.Fatal(err)
		}
		if p := mustPlan(t, m, ref.String(), cache, PlanOptions{}); p.Images[0].Root.Digest != two.Digest {
			t.Errorf("got %s", p.Images[0].Root.Digest)
		}
	})
}

// openFunc is a Source.
type openFunc func(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error)

func (f openFunc) Open(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	return f(ctx, from, d, offset)
}

func TestMakePlanTriesEveryRepository(t *testing.T) {
	m, two := corpus(t)
	m.tag("closed.example/two:1", two)
	src := openFunc(func(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
		if from.Host == "closed.example" {
			return nil, ErrDenied
		}
		return m.Open(ctx, from, d, offset)
	})
	p, err := MakePlan(t.Context(), mustList(t, "closed.example/two:1 two:1"), m, src, nil, PlanOptions{Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(p.Images[0].Err, ErrDenied) || p.Images[1].Err != nil {
		t.Errorf("errors %v and %v", p.Images[0].Err, p.Images[1].Err)
	}
}

func TestMakePlanBoundsRequests(t *testing.T) {
	m := newMemory(t)
	var list []string
	for i := range 12 {
		var entries []Descriptor
		for j := range 12 {
			entries = append(entries, m.imageFor("linux/amd64", fmt.Sprint(i, j)))
		}
		m.tag(fmt.Sprintf("i%d:1", i), m.index(entries...))
		list = append(list, fmt.Sprintf("i%d:1", i))
	}
	var now, most atomic.Int32
	src := openFunc(func(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return m.Open(ctx, from, d, offset)
	})
	refs := mustList(t, strings.Join(list, " "))
	if _, err := MakePlan(t.Context(), refs, m, src, nil, PlanOptions{Parallel: 3}); err != nil {
		t.Fatal(err)
	}
	if most.Load() > 3 {
		t.Errorf("%d requests at a time, want at most 3", most.Load())
	}
}

func TestMakePlanStopsWhenCancelled(t *testing.T) {
	m, _ := corpus(t)
	ctx, cancel := context.WithCancel(t.Context())
	src := openFunc(func(ctx context.Context, _ Repository, _ Descriptor, _ int64) (io.ReadCloser, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	p, err := MakePlan(ctx, mustList(t, "two:1 amdonly:1 chart:1"), m, src, nil, PlanOptions{})
	if !errors.Is(err, context.Canceled) || p != nil {
		t.Errorf("plan %v, error %v", p, err)
	}
}

func TestDigestLocks(t *testing.T) {
	var locks locks[digest.Digest]
	unlock, err := locks.lock(t.Context(), digest256)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.lock(ctx, digest256); !errors.Is(err, context.Canceled) {
		t.Errorf("lock that is held: %v", err)
	}
	var wg sync.WaitGroup
	holders := 0
	for range 8 {
		wg.Go(func() {
			unlock, err := locks.lock(t.Context(), digest256)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			holders++ // the race detector sees two at a time
		})
	}
	unlock()
	wg.Wait()
	if holders != 8 || len(locks.held) != 0 {
		t.Errorf("%d had the lock, %d hold it", holders, len(locks.held))
	}
}
