package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci/ocitest"
)

// archived FILE NAME IMAGE [ARCHITECTURE] proves that the archive is whole and has the image, or the one of its images for that
// architecture, byte for byte under that name. In a docker-archive, manifest.json has to say the same.
func (s *story) archived(ts *testscript.TestScript, args []string) error {
	content, err := readArchive(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	g := testImages[args[2]].graph()
	if len(args) > 3 {
		if g = childFor(g, args[3]); g == nil {
			return fmt.Errorf("%s has no image for %s", args[2], args[3])
		}
	}
	var index ocispec.Index
	if err := json.Unmarshal(content["index.json"], &index); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	named := func(d ocispec.Descriptor) bool {
		return d.Annotations["io.containerd.image.name"] == args[1] && d.Digest == g.Digest && d.Size == g.Size
	}
	if !slices.ContainsFunc(index.Manifests, named) {
		return fmt.Errorf("index.json does not name %s: %s", g.Digest, content["index.json"])
	}
	for _, b := range g.All() {
		if !bytes.Equal(content["blobs/sha256/"+b.Digest.Encoded()], b.Bytes) {
			return fmt.Errorf("%s %s is not there, or has other bytes", b.MediaType, b.Digest)
		}
	}
	if raw := content["manifest.json"]; raw != nil {
		return dockerNames(raw, args[1], g)
	}
	return nil
}

func childFor(g *ocitest.Graph, architecture string) *ocitest.Graph {
	for _, child := range append(g.Children, g) {
		if child.Platform != nil && child.Platform.Architecture == architecture {
			return child
		}
	}
	return nil
}

// dockerNames proves that manifest.json names the image g.
func dockerNames(raw []byte, name string, g *ocitest.Graph) error {
	var images []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(raw, &images); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	var paths []string
	for _, b := range g.Blobs {
		paths = append(paths, "blobs/sha256/"+b.Digest.Encoded())
	}
	for _, image := range images {
		if slices.Contains(image.RepoTags, name) && slices.Equal(append([]string{image.Config}, image.Layers...), paths) {
			return nil
		}
	}
	return fmt.Errorf("manifest.json does not name it: %s", raw)
}

// readArchive returns the content of all members of a tar that ends as it should.
func readArchive(path string) (map[string][]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	content := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		switch {
		case err == io.EOF && !bytes.HasSuffix(raw, make([]byte, 1024)):
			return nil, errors.New("no end of the tar")
		case err == io.EOF:
			return content, nil
		case err != nil:
			return nil, err
		case content[h.Name] != nil:
			return nil, fmt.Errorf("%s comes twice", h.Name)
		}
		if content[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}

// unnamed FILE proves that no loader finds an image in what there is of an archive.
func (s *story) unnamed(ts *testscript.TestScript, args []string) error {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err != nil { // the end, or where it is cut
			return nil
		}
		if h.Name == "index.json" || h.Name == "manifest.json" {
			return fmt.Errorf("it has %s", h.Name)
		}
	}
}
