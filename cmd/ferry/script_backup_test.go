package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// vanish REGISTRY REPOSITORY makes a registry list the repository and know none of its images, as when they are deleted
// after the list.
func (s *story) vanish(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].Fault(registrytest.Match{Kind: registrytest.Manifest, Repo: args[1]},
		registrytest.Code(404, "MANIFEST_UNKNOWN", "manifest unknown"))
	return nil
}

// delete REGISTRY REPOSITORY IMAGE takes an image out of a registry, with its blobs.
func (s *story) deleteImage(_ *testscript.TestScript, args []string) error {
	for _, b := range testImages[args[2]].graph().All() {
		s.registries[args[0]].Remove(args[1], b.Digest)
	}
	return nil
}

// untag REGISTRY REPOSITORY:TAG takes a tag off an image.
func (s *story) untag(_ *testscript.TestScript, args []string) error {
	repo, tag, _ := strings.Cut(args[1], ":")
	s.registries[args[0]].Untag(repo, tag)
	return nil
}
