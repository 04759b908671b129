package ocitest_test

import (
	"bytes"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

func TestMemoryPassesTheSuite(t *testing.T) {
	ocitest.TestEnds(t, func(*testing.T) (oci.Source, oci.Sink) {
		m := &ocitest.Memory{}
		return m, m
	})
}

func TestMemoryRefusesManifestsWithoutBlobs(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	for _, missing := range g.All()[:5] {
		var m ocitest.Memory
		m.Add(ocitest.Where, "", g)
		m.Delete(ocitest.Where, missing.Digest)
		var needs oci.Descriptor // the manifest that points to it
		raw := g.Bytes
		for _, c := range g.Children {
			if bytes.Contains(c.Bytes, []byte(missing.Digest)) {
				needs, raw = c.Descriptor, c.Bytes
			}
		}
		if needs.Digest == "" {
			needs = g.Descriptor
		}
		if err := m.Tag(t.Context(), ocitest.Where, "v1", needs, raw); err == nil {
			t.Errorf("took a manifest without %s %s", missing.MediaType, missing.Digest)
		}
	}
}

func TestImagesAreTheSameEachTime(t *testing.T) {
	a, b := ocitest.MultiArch(1, "app"), ocitest.MultiArch(1, "app")
	if a.Digest != b.Digest {
		t.Errorf("%s and %s", a.Digest, b.Digest)
	}
	if ocitest.MultiArch(1, "other").Digest == a.Digest || ocitest.MultiArch(2, "app").Digest == a.Digest {
		t.Error("other content, same digest")
	}
}

func TestNodeIsWhatTheParserMakes(t *testing.T) {
	for name, g := range map[string]*ocitest.Graph{
		"index":  ocitest.MultiArch(1, "app"),
		"docker": ocitest.DockerList(ocitest.DockerImage(ocitest.AMD64, ocitest.RandomLayer(1, 100))),
	} {
		want := g.Node().Blobs()
		for _, n := range append(g.Node().Children, g.Node()) {
			m, err := oci.ParseManifest(n.MediaType, n.Raw)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			n.Manifest = m
		}
		if got := g.Node().Blobs(); len(got) != len(want) || len(got) == 0 {
			t.Errorf("%s: %d blobs, want %d", name, len(got), len(want))
		}
	}
}
