package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// merged REGISTRY REPOSITORY:TAG IMAGE... proves that the tag names an index which lists the manifests of those test
// images and no others, and that they are there, byte for byte.
func (s *story) merged(_ *testscript.TestScript, args []string) error {
	r := s.registries[args[0]]
	repo, tag, _ := strings.Cut(args[1], ":")
	_, raw, ok := r.Manifest(repo, tag)
	if !ok {
		return fmt.Errorf("%s is not there", args[1])
	}
	var index struct{ Manifests []oci.Descriptor }
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	got, want := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, d := range index.Manifests {
		got[d.Digest] = true
	}
	for _, name := range args[2:] {
		leaves := testImages[name].graph().Children
		if len(leaves) == 0 {
			leaves = []*ocitest.Graph{testImages[name].graph()}
		}
		for _, leaf := range leaves {
			want[leaf.Digest] = true
			if err := s.hasWhole(args[0], repo, leaf); err != nil {
				return err
			}
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("%s lists %q, want %q", args[1], slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	return nil
}

// drop REGISTRY REPOSITORY IMAGE takes the first manifest of an index out of a registry.
func (s *story) drop(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].Remove(args[1], testImages[args[2]].graph().Children[0].Digest)
	return nil
}

// mediatype REGISTRY REPOSITORY:TAG TYPE proves the media type of what a tag names.
func (s *story) mediaType(_ *testscript.TestScript, args []string) error {
	repo, tag, _ := strings.Cut(args[1], ":")
	if got, _, _ := s.registries[args[0]].Manifest(repo, tag); got.MediaType != args[2] {
		return fmt.Errorf("%s is %q", args[1], got.MediaType)
	}
	return nil
}
