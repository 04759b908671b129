package corpus

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What index.json of a layout says of an image beside its name.
const (
	annotationComment = "org.ferry-oci.e2e.comment"
	annotationPinned  = "org.ferry-oci.e2e.pinned"
)

// List returns an images.list that names images on a registry, with comments.
func List(host string, images []Image) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d images\n", len(images))
	for _, image := range images {
		if image.Comment != "" {
			fmt.Fprintf(&b, "\n# %s\n", image.Comment)
		}
		fmt.Fprintln(&b, image.Reference(host))
	}
	return b.String()
}

// Images returns what index.json of the layout, as WriteIndex wrote it, names.
func (l Layout) Images() ([]Image, error) {
	raw, err := os.ReadFile(filepath.Join(l.Dir, ocispec.ImageIndexFile))
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, err
	}
	var images []Image
	for _, d := range index.Manifests {
		repository, tag, ok := strings.Cut(d.Annotations[ocispec.AnnotationRefName], ":")
		if !ok {
			return nil, fmt.Errorf("%s: entry %s has no repository:tag", l.Dir, d.Digest)
		}
		image := Image{
			Repository: repository, Tag: tag, Pinned: d.Annotations[annotationPinned] != "",
			Comment: d.Annotations[annotationComment],
		}
		d.Annotations = nil
		image.Root = d
		images = append(images, image)
	}
	return images, nil
}
