package oci

import (
	"github.com/opencontainers/go-digest"
)

// Reference names an image: a repository with a tag, a digest, or both.
type Reference struct {
	Repository
	Tag    string
	Digest digest.Digest
}

// ParseReference reads a reference as docker pull takes it.
func ParseReference(s string) (Reference, error) { return Reference{}, errNotYet }

// String returns the canonical full form.
func (r Reference) String() string {
	s := r.Repository.String()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Name returns the name of the image: repository:tag, or repository@digest when there is no tag.
func (r Reference) Name() string {
	if r.Tag != "" {
		r.Digest = ""
	}
	return r.String()
}
