// Package archive puts images into one tar that other programs load: an OCI image layout (oci-archive), or what docker
// save writes (docker-archive).
//
// [NewWriter] begins an archive on a stream, [Create] one in a file; both are the sink of a copy. Nothing is put
// aside: each blob goes into the tar as it comes, once, whatever number of images share it, after or while its digest is
// proven. A Writer needs memory for names and digests, not for content.
//
// # The tar
//
//	oci-layout            {"imageLayoutVersion":"1.0.0"}
//	blobs/sha256/<hex>    configs, layers and manifests, in the order in which they came; then manifests that have
//	                      a name, in the order of index.json, if they did not come by themselves
//	index.json            the images by name
//	manifest.json         of a docker-archive alone
//
// Regular files of mode 0644 without owner and time, so that equal images that come in an equal order give equal bytes.
// Headers are ustar; a size of 8 GiB or more is written in base-256, and a name of more than 100 bytes, as blobs with
// a sha512 digest have, with a GNU long name, both as GNU tar does it. (containerd, Docker, Podman, skopeo and busybox read
// either.)
//
// What names the images comes last. Loaders read all members before they look at it (containerd keeps blobs in its store
// meanwhile, Docker and Podman spool), but Go's tar reader, which they are built on, takes a tar that is cut at the edge of a
// member for a whole one, with end blocks or without: an archive that was cut must not name an image.
//
// # index.json
//
// An entry for each name, sorted; org.opencontainers.image.ref.name and io.containerd.image.name both have the full
// name, docker.io/library/nginx:1.27, by which ctr and Docker's containerd store name the image. An image without a tag is
// docker.io/library/nginx@sha256:... What belongs to an image is listed without a name, so that no loader takes it for
// an image to unpack: a manifest with a subject with its artifactType alone, one that goes by a tag of cosign's with
// that name in [oci.AnnotationReferrer].
//
// # manifest.json
//
// An array with an entry for each image manifest, sorted by its first name: Config and Layers are paths in blobs/,
// RepoTags are full names (Docker shows docker.io/library/nginx:1.27 as nginx:1.27). Layers stay as they are, gzip or
// zstd: loaders uncompress them and compare with the config's diff_ids. So the archive holds the manifest with its
// original digest, too, for loaders that take index.json first, as containerd, and Docker with containerd's store.
package archive

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// Format is a kind of archive.
type Format int

const (
	// OCI is an OCI image layout in a tar: whole indexes, artifacts and referrers with their digests.
	OCI Format = iota + 1
	// Docker is what docker save writes since version 25: images of one platform each, which is also an OCI image layout.
	Docker
)

// String returns the name that skopeo and Podman have for the format: oci-archive or docker-archive.
func (f Format) String() string {
	switch f {
	case OCI:
		return "oci-archive"
	case Docker:
		return "docker-archive"
	}
	return "unknown archive"
}

// Members that are not blobs.
const (
	layoutName   = ocispec.ImageLayoutFile
	indexName    = ocispec.ImageIndexFile
	manifestName = "manifest.json"
)
