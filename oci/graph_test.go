package oci

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func digests(list []Descriptor) []digest.Digest {
	var all []digest.Digest
	for _, d := range list {
		all = append(all, d.Digest)
	}
	return all
}

func TestGraphOrder(t *testing.T) {
	m := newMemory(t)
	amd, arm := m.imageFor("linux/amd64", "base", "amd"), m.imageFor("linux/arm64/v8", "base", "arm")
	note := m.blob("text/plain", "a note beside the images")
	inner := m.index(arm, amd)
	root := m.load(m.index(amd, note, inner, amd))
	single := m.load(m.image("linux/amd64", "arm", "own"))

	manifests, configs, layers := Blobs(root, single, root)
	if got, want := digests(manifests), digests([]Descriptor{amd, arm, inner, root.Descriptor, single.Descriptor}); !slices.Equal(got, want) {
		t.Errorf("manifests %v, want %v", got, want)
	}
	if len(configs) != 3 || configs[2].Digest != single.Manifest.Config.Digest {
		t.Errorf("configs %v", configs)
	}
	var texts []string
	for _, d := range layers {
		texts = append(texts, string(m.blobs[d.Digest]))
	}
	if want := []string{"base", "amd", "arm", "a note beside the images", "own"}; !slices.Equal(texts, want) {
		t.Errorf("layers %q, want %q", texts, want)
	}
	if got := root.Blobs(); !reflect.DeepEqual(got, append(configs[:2:2], layers[:4]...)) {
		t.Errorf("blobs of the root %v", got)
	}
	if len(root.Children) != 3 || root.Children[0] != root.Children[2] || root.Children[1].Children[1] != root.Children[0] {
		t.Errorf("children are not shared by digest: %v", root.Children)
	}
	for d, n := range m.opened {
		if n != 1 && d != root.Digest {
			t.Errorf("%s was fetched %d times", d, n)
		}
	}
}

func TestBlobsWithSeveralUses(t *testing.T) {
	m := newMemory(t)
	empty := m.blob(ocispec.MediaTypeEmptyJSON, "{}")
	n := m.load(m.manifest(empty, "{}", "x", "x"))
	manifests, configs, layers := Blobs(n)
	if len(manifests) != 1 || len(configs) != 1 || len(layers) != 1 || configs[0].MediaType != ocispec.MediaTypeEmptyJSON {
		t.Errorf("manifests %v, configs %v, layers %v", manifests, configs, layers)
	}
}

func TestWalkStopsAtAnError(t *testing.T) {
	m := newMemory(t)
	n := m.load(m.index(m.image("linux/amd64", "a"), m.image("linux/arm64", "b")))
	calls := 0
	err := n.Walk(func(*Node) error { calls++; return errTest })
	if !errors.Is(err, errTest) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestLoadGraphJoinsInAFixedOrder(t *testing.T) {
	m := newMemory(t)
	var entries []Descriptor
	for i := range 20 {
		entries = append(entries, m.imageFor("linux/amd64", fmt.Sprint(i)))
	}
	root := m.index(entries...)
	// Fetches end in reverse, in batches as large as the limit allows.
	var mu sync.Mutex
	var waiting []chan struct{}
	backwards := func(ctx context.Context, d Descriptor) ([]byte, error) {
		if d.Digest != root.Digest {
			turn := make(chan struct{})
			mu.Lock()
			waiting = append(waiting, turn)
			if full := len(waiting)%4 == 0; full {
				for _, c := range slices.Backward(waiting[len(waiting)-4:]) {
					close(c)
				}
			}
			mu.Unlock()
			<-turn
		}
		return m.fetch(ctx, d)
	}
	got, err := LoadGraph(t.Context(), backwards, root)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m.load(root)) {
		t.Error("the graph depends on the order in which manifests arrive")
	}
}

func TestLoadGraphBoundsFetches(t *testing.T) {
	m := newMemory(t)
	var entries []Descriptor
	for i := range 3 * graphFetches {
		entries = append(entries, m.imageFor("linux/amd64", fmt.Sprint(i)))
	}
	var now, most atomic.Int32
	_, err := LoadGraph(t.Context(), func(ctx context.Context, d Descriptor) ([]byte, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return m.fetch(ctx, d)
	}, m.index(entries...))
	if err != nil || most.Load() > graphFetches {
		t.Errorf("%d fetches at a time, error %v", most.Load(), err)
	}
}

func TestLoadGraphRefuses(t *testing.T) {
	nested := func(levels int) func(m *memory) Descriptor {
		return func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			for range levels - 1 {
				d = m.index(d)
			}
			return d
		}
	}
	for _, c := range []struct {
		name string
		make func(m *memory) Descriptor
		want string // empty: no error
		is   error
	}{
		{name: "deepest", make: nested(maxGraphDepth)},
		{name: "too deep", make: nested(maxGraphDepth + 1), want: "more than 8 levels"},
		{name: "missing child", want: "not found", is: ErrNotFound, make: func(m *memory) Descriptor {
			child := m.image("linux/amd64", "x")
			delete(m.blobs, child.Digest)
			return m.index(child)
		}},
		{name: "other bytes", want: "content has digest", is: ErrCorrupt, make: func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			m.blobs[d.Digest][3] ^= 1
			return d
		}},
		{name: "one byte short", want: "bytes, want", is: ErrCorrupt, make: func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			m.blobs[d.Digest] = m.blobs[d.Digest][1:]
			return d
		}},
		{name: "entry with another size", want: "bytes, want", is: ErrCorrupt, make: func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			d.Size++
			return m.index(d)
		}},
		{name: "manifest too large", want: "at most 4194304", make: func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			d.Size = MaxManifestSize + 1
			return m.index(d)
		}},
		{name: "manifests too large together", want: "67108864 bytes of manifests", make: func(m *memory) Descriptor {
			var all []Descriptor
			for i := range maxGraphSize/MaxManifestSize + 1 {
				d := m.blob(ocispec.MediaTypeImageManifest, fmt.Sprint(i))
				d.Size = MaxManifestSize
				all = append(all, d)
			}
			return m.index(all...)
		}},
		{name: "too many manifests", want: "more than 10000 manifests", make: func(m *memory) Descriptor {
			var all []Descriptor
			for i := range maxGraphNodes {
				all = append(all, Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 5})
			}
			return m.index(all...)
		}},
		{name: "no manifest", want: `"text/plain"`, is: ErrUnsupported, make: func(m *memory) Descriptor {
			return m.blob("text/plain", "{}")
		}},
		{name: "child says another media type", want: "media type inside", make: func(m *memory) Descriptor {
			d := m.image("linux/amd64", "x")
			d.MediaType = MediaTypeDockerManifest
			return m.index(d)
		}},
		{name: "digest that is none", want: "not of the form", make: func(*memory) Descriptor {
			return Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: "x"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory(t)
			_, err := LoadGraph(t.Context(), m.fetch, c.make(m))
			if c.want == "" && err == nil {
				return
			}
			if err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %q is not %q", err, c.is)
			}
		})
	}
}

func TestLoadGraphStopsWhenCancelled(t *testing.T) {
	m := newMemory(t)
	root := m.index(m.image("linux/amd64", "a"))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := LoadGraph(ctx, func(ctx context.Context, d Descriptor) ([]byte, error) {
		cancel()
		return m.fetch(ctx, d)
	}, root)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCheckBytes(t *testing.T) {
	raw := []byte("content")
	whole := Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	strong := Descriptor{Digest: digest.SHA512.FromBytes(raw), Size: int64(len(raw))}
	for _, c := range []struct {
		name string
		d    Descriptor
		raw  string
		ok   bool
	}{
		{"whole", whole, "content", true},
		{"sha512", strong, "content", true},
		{"sha512 of other bytes", strong, "Content", false},
		{"short", whole, "conten", false},
		{"long", whole, "content.", false},
		{"altered", whole, "c0ntent", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckBytes(c.d, []byte(c.raw))
			var digestErr *DigestError
			if c.ok && err != nil || !c.ok && (!errors.Is(err, ErrCorrupt) || !errors.As(err, &digestErr)) {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := CheckBytes(Descriptor{Digest: "md5:x", Size: 1}, []byte("x")); err == nil {
		t.Error("an unknown digest is no proof")
	}
}

func TestImages(t *testing.T) {
	m := newMemory(t)
	amd, arm := m.imageFor("linux/amd64", "a"), m.imageFor("linux/arm64/v8", "b")
	bare := m.image("linux/s390x", "c")
	note := m.blob("text/plain", "note")
	root := m.load(m.index(amd, m.attestation(amd), m.index(arm, m.attestation(arm)), note, bare, amd))
	describe := func(images []Image) (lines []string) {
		for _, i := range images {
			line := "unknown"
			if i.Platform != nil {
				line = FormatPlatform(*i.Platform)
			}
			for _, d := range []Descriptor{amd, arm} {
				if i.Describes == d.Digest {
					line = "about " + FormatPlatform(*d.Platform)
				}
			}
			lines = append(lines, line)
		}
		return lines
	}
	want := []string{"linux/amd64", "about linux/amd64", "linux/arm64/v8", "about linux/arm64/v8", "unknown"}
	if got := describe(root.Images()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	single := m.load(bare)
	if got := describe(single.Images()); !slices.Equal(got, []string{"unknown"}) {
		t.Errorf("image without index: %q", got)
	}
	single.ConfigPlatform = &Platform{OS: "linux", Architecture: "s390x"}
	if got := describe(single.Images()); !slices.Equal(got, []string{"linux/s390x"}) {
		t.Errorf("image without index, config read: %q", got)
	}
}

func TestDescribesTakesOnlyAttestations(t *testing.T) {
	for _, c := range []struct {
		name, kind, about string
		want              digest.Digest
	}{
		{"attestation", attestationManifest, digest256, digest256},
		{"other kind", "signature", digest256, ""},
		{"no kind", "", digest256, ""},
		{"about nothing", attestationManifest, "", ""},
		{"about no digest", attestationManifest, "latest", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Descriptor{Annotations: map[string]string{annotationReferenceType: c.kind, annotationReferenceDigest: c.about}}
			if got := describes(d); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
