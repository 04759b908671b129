package oci

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// FoundBy says how a referrer was found at its source.
type FoundBy string

const (
	FoundByAPI      FoundBy = "api"      // the referrers API
	FoundByFallback FoundBy = "fallback" // the index under the tag that stands in for the API, see [FallbackTag]
	FoundByTag      FoundBy = "tag"      // a tag of cosign's, see [ParseCosignTag]
)

// Referrer is a manifest about another one, its subject, which does not know of it: a signature, an SBOM, an
// attestation. In a list of them one that is about another comes after that.
type Referrer struct {
	Subject digest.Digest
	Root    *Node // the manifest or index, with all below it
	Found   FoundBy
	Tag     string // that names it, with FoundByTag; else empty
}

// FoundReferrer is a referrer as a registry tells of it: nothing of it has been read.
type FoundReferrer struct {
	Descriptor Descriptor `json:"descriptor"`
	Found      FoundBy    `json:"found"`
	Tag        string     `json:"tag,omitempty"` // that names it, with FoundByTag; else empty
}

// ReferrerFinder is a [Source] that can tell what is about a manifest.
type ReferrerFinder interface {
	// Referrers returns what is about the manifest subject of repo, in an order that depends on nothing else; one that is
	// found in two ways by its subject comes once, one with a tag once more for each tag. None is no error. That they
	// name their subject is for the caller to prove.
	Referrers(ctx context.Context, repo Repository, subject digest.Digest) ([]FoundReferrer, error)
}

// Type returns what the manifest says to be: its artifactType, else the media type of its config, else nothing.
func (m *Manifest) Type() string {
	switch {
	case m.ArtifactType != "":
		return m.ArtifactType
	case m.Config != nil:
		return m.Config.MediaType
	}
	return ""
}

// CosignTags returns the tags under which cosign puts what is about the manifest with that digest, sorted.
func CosignTags(subject digest.Digest) []string {
	tag := FallbackTag(subject)
	return []string{tag + ".att", tag + ".sbom", tag + ".sig"}
}

// cosignTag is the tag under which cosign puts what is about the manifest with that digest.
var cosignTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.(?:sig|att|sbom)$`)

// ParseCosignTag returns the digest of what the manifest under a tag such as sha256-<hex>.sig is about: cosign's
// signatures (.sig), attestations (.att) and SBOMs (.sbom).
func ParseCosignTag(tag string) (subject digest.Digest, ok bool) {
	m := cosignTag.FindStringSubmatch(tag)
	if m == nil {
		return "", false
	}
	return digest.NewDigestFromEncoded(digest.SHA256, m[1]), true
}

// FallbackTag returns the tag of the index that lists the referrers of subject in a registry without the referrers API:
// sha256-<hex>, of other digests no more than 64 digits.
func FallbackTag(subject digest.Digest) string {
	const most = 64
	hex := subject.Encoded()
	return fmt.Sprintf("%s-%s", subject.Algorithm(), hex[:min(most, len(hex))])
}

// IsFallbackTag reports whether tag has the form of [FallbackTag] with a sha256 digest.
func IsFallbackTag(tag string) bool {
	hex, ok := strings.CutPrefix(tag, string(digest.SHA256)+"-")
	return ok && digest.NewDigestFromEncoded(digest.SHA256, hex).Validate() == nil
}
