package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// ParseTarget reads where images go: REGISTRY[/PREFIX], as `harbor.local/k8s`, `localhost:5000` or `[fd00::1]:5000`.
// The result has the registry as its host and the prefix, which may be empty, as its path; they are a [Naming]'s Host
// and Prefix.
//
// The first segment is the registry always. Since `k8s/app` is more likely a name at Docker Hub than at a host `k8s`,
// the registry must look like one: with a dot or a port, or `localhost`.
func ParseTarget(s string) (oci.Repository, error) {
	if strings.Contains(s, "@") { // s is not repeated, since a password may stand before it
		return oci.Repository{}, errors.New("target: no @ belongs in it, with a user name or a digest")
	}
	target, err := parseTarget(s)
	if err != nil {
		return oci.Repository{}, fmt.Errorf("target %.200q: %w", s, err)
	}
	return target, nil
}

func parseTarget(s string) (oci.Repository, error) {
	if s == "" {
		return oci.Repository{}, errors.New("empty, want REGISTRY[/PREFIX]")
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return oci.Repository{}, fmt.Errorf("a target has no %s://, write %s", scheme, rest)
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(s, "/"), "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return oci.Repository{}, fmt.Errorf("%q is not a registry, which has a dot or a port as in %s:443", host, host)
	}
	if strings.Contains(prefix, ":") {
		return oci.Repository{}, errors.New("a target has no tag")
	}
	name := prefix
	if name == "" {
		name = "any"
	}
	ref, err := oci.ParseReference(host + "/" + name)
	if err != nil {
		return oci.Repository{}, reason(err)
	}
	return oci.Repository{Host: ref.Host, Path: prefix}, nil // not ref.Path: at Docker Hub that may be in library/
}

// reason returns what [oci.ParseReference] found wrong, without the name that it was given.
func reason(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
