package bundle

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// layerUse is a layer in its place in an image.
type layerUse struct {
	oci.Descriptor
	repository string
	position   int // from the lowest layer
	platform   string
	version    string // tag or digest
}

func compareUses(a, b layerUse) int {
	return cmp.Or(
		cmp.Compare(a.repository, b.repository),
		cmp.Compare(a.position, b.position),
		cmp.Compare(a.platform, b.platform),
		compareNatural(a.version, b.version),
	)
}

// inOrder returns the layers of all images, each once, in the order of a compact bundle: similar ones near each other.
// What the images have besides layers, and their referrers, comes last, without a repository.
func inOrder(entries []Entry) []layerUse {
	var uses []layerUse
	for _, e := range entries {
		uses = append(uses, usesOf(e)...)
	}
	slices.SortStableFunc(uses, compareUses)
	_, _, layers := oci.Blobs(rootsOf(entries)...)
	for _, d := range layers {
		uses = append(uses, layerUse{Descriptor: d})
	}
	seen := make(map[digest.Digest]bool, len(layers))
	return slices.DeleteFunc(uses, func(u layerUse) bool {
		twice := seen[u.Digest]
		seen[u.Digest] = true
		return twice
	})
}

// usesOf returns the layers of one image.
func usesOf(e Entry) []layerUse {
	repository, version := splitName(e.Name)
	var uses []layerUse
	for _, image := range e.Root.Images() {
		platform := ""
		if image.Platform != nil {
			platform = oci.FormatPlatform(*image.Platform)
		}
		for i, d := range image.Manifest.Layers {
			uses = append(uses, layerUse{Descriptor: d, repository: repository, position: i, platform: platform, version: version})
		}
	}
	return uses
}

// splitName splits the name of an image before its tag or digest.
func splitName(name string) (repository, version string) {
	ref, err := oci.ParseReference(name)
	if err != nil {
		return name, ""
	}
	repository = ref.Repository.String()
	return repository, strings.TrimPrefix(ref.String(), repository)
}

// rootsOf returns the roots of the images, each before those of its referrers.
func rootsOf(entries []Entry) []*oci.Node {
	var roots []*oci.Node
	for _, e := range entries {
		roots = append(roots, e.Root)
		for _, r := range e.Referrers {
			roots = append(roots, r.Root)
		}
	}
	return roots
}

// compareNatural compares texts in which runs of digits count as numbers: v1.9 comes before v1.10.
func compareNatural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if isDigit(x[0]) && isDigit(y[0]) {
			var m, n string
			m, x = cutNumber(x)
			n, y = cutNumber(y)
			if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n)); c != 0 {
				return c
			}
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// cutNumber cuts the digits before the rest of s, and leaves out leading zeros.
func cutNumber(s string) (number, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return strings.TrimLeft(s[:len(s)-len(rest)], "0"), rest
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isGzip reports whether blobs of mediaType are gzip, going by its end.
func isGzip(mediaType string) bool { return strings.HasSuffix(mediaType, "gzip") }

// isCompressedType reports whether blobs of mediaType do not shrink, going by its end.
func isCompressedType(mediaType string) bool {
	return slices.ContainsFunc([]string{"gzip", "zstd", "xz", "bzip2", "lz4", "zip", "encrypted"}, func(end string) bool {
		return strings.HasSuffix(mediaType, end)
	})
}
