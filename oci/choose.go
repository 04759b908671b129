package oci

import "fmt"

// ChooseImage returns the one image manifest of the graph n that a machine of that platform runs: of several that match, the
// first with the usual variant of its architecture, else the first. An image without index whose platform is not known is
// taken for any. Errors: ErrNotFound when there is none, [ErrUnsupported] when n is or holds no image, but an artifact.
func ChooseImage(n *Node, want Platform) (*Node, error) {
	var chosen *Image
	artifacts := true
	for _, image := range n.Images() {
		if image.Describes != "" || image.Manifest.Config == nil || !IsImageConfig(image.Manifest.Config.MediaType) {
			continue
		}
		artifacts = false
		switch p := image.Platform; {
		case p == nil && image.Digest != n.Digest, p != nil && !MatchPlatform(want, *p):
		case chosen == nil, p != nil && isUsual(*p) && !isUsual(*chosen.Platform):
			chosen = &image
		}
	}
	switch {
	case artifacts:
		return nil, fmt.Errorf("it is no image, but an artifact: %w", ErrUnsupported)
	case chosen == nil:
		return nil, fmt.Errorf("no image for %s: %w", FormatPlatform(want), ErrNotFound)
	}
	root := *chosen.Node
	root.Platform = chosen.Platform
	return &root, nil
}

// isUsual reports whether p is of the usual variant of its architecture.
func isUsual(p Platform) bool {
	p = normalisePlatform(p)
	return usualVariant(p) == usualVariant(Platform{OS: p.OS, Architecture: p.Architecture})
}
