package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// storeOf returns a store in dir that has the blobs.
func storeOf(t *testing.T, dir string, blobs ...ocitest.Blob) *oci.Store {
	t.Helper()
	s, err := oci.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that care have closed it
	for _, b := range blobs {
		err := s.Push(t.Context(), oci.Repository{}, b.Descriptor, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Bytes[offset:])), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// proveAll proves the layers of an image that are in the store, and returns the prover and what it said.
func proveAll(t *testing.T, store *oci.Store, g *ocitest.Graph) (*prover, string) {
	t.Helper()
	var said bytes.Buffer
	p := newProver(store, &stdio{Err: &said, Now: time.Now}, []*oci.Node{g.Node()}, 2)
	p.find.MaxPlain = 1 << 20
	a := newArrivals()
	go func() {
		for _, b := range g.All() {
			a.add(b.Digest)
		}
		a.end()
	}()
	if err := p.run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return p, said.String()
}

func TestProver(t *testing.T) {
	fine, strange, torn := goLayer(words(1, 300_000), 6), strangeLayer(words(2, 300_000)), tornLayer(words(3, 50_000))
	bomb := goLayer(make([]byte, 2<<20), 6)
	noise := ocitest.RandomLayer(1, 3000)
	noise.MediaType += "+encrypted"
	g := ocitest.Image(ocitest.AMD64, fine, strange, torn, bomb, noise)
	dir := t.TempDir()
	store := storeOf(t, dir, g.All()...)
	check := func(p *prover, searched int) {
		t.Helper()
		if p.searched != searched {
			t.Errorf("%d layers were searched, want %d", p.searched, searched)
		}
		if len(p.recipes) != 1 || p.recipes[fine.Digest] == nil || p.recipes[fine.Digest].Size != fine.Size {
			t.Errorf("recipes: %v", p.recipes)
		}
		want := map[string]string{
			strange.Digest.String(): string(gzip.NoEngine), torn.Digest.String(): string(gzip.Corrupt), bomb.Digest.String(): string(gzip.TooLarge),
		}
		if len(p.kept) != len(want) {
			t.Errorf("kept: %v", p.kept)
		}
		for d, reason := range p.kept {
			if !strings.HasPrefix(reason, want[d.String()]+": ") {
				t.Errorf("%s: %s, want %s", d, reason, want[d.String()])
			}
		}
		if p.left != 0 {
			t.Errorf("%d bytes are said to be left", p.left)
		}
	}
	p, said := proveAll(t, store, g)
	check(p, 4)
	if !strings.HasPrefix(said, "proved 4 gzip layers (") {
		t.Errorf("said %s", said)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	store = storeOf(t, dir)
	p, said = proveAll(t, store, g)
	check(p, 0)
	if !strings.Contains(said, "proved 0 gzip layers (0 B); the store knew of 4\n") {
		t.Errorf("said %s", said)
	}

	// What the disk has changed, what is no recipe here, and what a ferry with fewer engines found out is searched again.
	for recipe, b := range map[string]ocitest.Blob{
		"from the future": fine,
		`{"engines":0,"reason":"unknown encoder: here"}`: strange,
		`{}`: torn,
	} {
		if err := store.PutRecipe(b.Descriptor, []byte(recipe)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "recipes", bomb.Digest.Encoded()), []byte("rot"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, _ = proveAll(t, store, g)
	check(p, 4)
	p, _ = proveAll(t, store, g)
	check(p, 0)
}

// Once nothing else is shown, the proof tells how much is left of it.
func TestProverShows(t *testing.T) {
	g := ocitest.Image(ocitest.AMD64, goLayer(words(1, 300_000), 6), goLayer(words(2, 300_000), 6))
	store := storeOf(t, t.TempDir(), g.All()...)
	var said bytes.Buffer
	now := time.Unix(0, 0)
	std := &stdio{Err: &said, Now: func() time.Time { now = now.Add(progressInterval); return now }}
	p := newProver(store, std, []*oci.Node{g.Node()}, 1)
	p.read(g.Blobs[1].Size) // the first layer was read while blobs were fetched
	p.show()
	a := newArrivals()
	a.add(g.Blobs[2].Digest)
	a.end()
	p.layers = p.layers[1:]
	if err := p.run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if want := " of " + formatSize(g.Blobs[2].Size) + ", "; !strings.HasPrefix(said.String(), "proving: ") || !strings.Contains(said.String(), want) {
		t.Errorf("said %s", said.String())
	}
	said.Reset()
	p.show() // too late
	p.read(1)
	if said.Len() > 0 {
		t.Errorf("said %s", said.String())
	}
}
