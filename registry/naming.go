package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// Flatten tells what becomes of a repository path of several segments.
type Flatten int

const (
	FlattenNone Flatten = iota // it stays
	FlattenJoin                // the segments become one, joined by Naming.FlattenSep
	FlattenLast                // the last segment alone stays
)

// ParseFlatten reads "none", "join" or "last".
func ParseFlatten(s string) (Flatten, error) {
	for i, name := range []string{"none", "join", "last"} {
		if s == name {
			return Flatten(i), nil
		}
	}
	return FlattenNone, fmt.Errorf("flatten %.50q: want none, join or last", s)
}

// DefaultRoot is the namespace of repositories that have none, as registry.k8s.io/pause.
const DefaultRoot = "root"

// Naming tells under which names images go to a registry. NAMING.md, beside this file, has its rules with examples.
// The zero value with a Host drops the source's registry and keeps path and tag.
//
// A name takes these steps in order: the source's host is dropped, or kept; Map; Root; Flatten; Prefix. [Naming.Plan]
// then looks for collisions.
type Naming struct {
	Host   string // the target registry, host[:port]
	Prefix string // put before each path; empty for a target that is a bare host
	// Root is the namespace for repositories of one segment. Nil puts them in DefaultRoot if there is no Prefix, which
	// is a namespace already. A name goes before such repositories at every target, "" leaves them at the top.
	Root *string
	// Whole are hosts whose names are complete, as those of a registry that was saved as it is. Unless Root is given, its
	// repositories of one segment stay at the top.
	Whole      []string
	KeepHost   bool // the source's host becomes the first segment, its ':' a '_'
	Flatten    Flatten
	FlattenSep string // of FlattenJoin: ".", "_", "__" or dashes; "-" by default
	Map        []Rule // see ParseMap
	// Merged tells that images of different content may come to one name, since they are merged there.
	Merged   bool
	MaxDepth int // how many segments the target takes in a path, Prefix included; 0 is any number
}

// TargetName is the name of an image at the target.
type TargetName struct {
	Repository oci.Repository
	Tag        string   // empty for an image that goes by its digest alone
	Renamed    []string // the rules that changed the name, in order: "keep-host", "map FILE:LINE", "root", "flatten"
}

// String returns host/path:tag.
func (t TargetName) String() string {
	return oci.Reference{Repository: t.Repository, Tag: t.Tag}.String()
}

// NameError tells why an image cannot have the name that it would get.
type NameError struct {
	Source oci.Reference
	Target TargetName
	Err    error
}

func (e *NameError) Error() string {
	rules := ""
	if len(e.Target.Renamed) > 0 {
		rules = " (" + strings.Join(e.Target.Renamed, ", ") + ")"
	}
	return fmt.Sprintf("%s to %s%s: %v", e.Source, e.Target, rules, e.Err)
}

func (e *NameError) Unwrap() error { return e.Err }

// Names returns the names of the image ref at the target: one, or as many as the rule of Map gives that fits. Names
// that the target cannot take are errors, each a [*NameError], all of them together; an impossible setting of n is an
// error too.
func (n Naming) Names(ref oci.Reference) ([]TargetName, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	names, err := n.names(ref)
	if err != nil {
		return nil, err
	}
	return names, nil
}

// check reports settings that no name could have.
func (n Naming) check() error {
	if sep := n.separator(); strings.Trim(sep, "._-") != "" || !isPath("a"+sep+"b") {
		return fmt.Errorf("flatten: %.20q cannot join segments: want '.', '_', '__' or dashes", sep)
	}
	if n.Root != nil && *n.Root != "" && !isPath(*n.Root) {
		return fmt.Errorf("root %.100q: not a repository path", *n.Root)
	}
	if n.Flatten < FlattenNone || n.Flatten > FlattenLast {
		return fmt.Errorf("flatten: %d is no mode", n.Flatten)
	}
	return nil
}

// isPath reports whether path can be, or begin, the path of a repository.
func isPath(path string) bool {
	ref, err := oci.ParseReference("host.example/" + path)
	return err == nil && ref.Path == path
}

// names returns the names that the target takes, and an error for the others.
func (n Naming) names(ref oci.Reference) ([]TargetName, error) {
	start := TargetName{Repository: oci.Repository{Host: n.Host, Path: ref.Path}, Tag: ref.Tag}
	if n.KeepHost {
		n.keepHost(&start, ref.Host)
	}
	var good []TargetName
	mapped, err := mapName(n.Map, ref, start)
	errs := []error{err}
	for _, t := range mapped {
		n.addRoot(&t, ref.Host)
		n.flatten(&t)
		if n.Prefix != "" {
			t.Repository.Path = n.Prefix + "/" + t.Repository.Path
		}
		if err := n.refuse(t); err != nil {
			errs = append(errs, &NameError{Source: ref, Target: t, Err: err})
			continue
		}
		same := func(other TargetName) bool { return other.String() == t.String() }
		if !slices.ContainsFunc(good, same) { // the steps may have brought two names of one rule together
			good = append(good, t)
		}
	}
	return good, errors.Join(errs...)
}

func (n Naming) keepHost(t *TargetName, host string) {
	segment := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(strings.ToLower(host))
	t.Repository.Path = segment + "/" + t.Repository.Path
	if segment != host {
		t.rename("keep-host")
	}
}

func (n Naming) addRoot(t *TargetName, source string) {
	root := ""
	switch {
	case n.Root != nil:
		root = *n.Root
	case n.Prefix == "" && !slices.Contains(n.Whole, source):
		root = DefaultRoot
	}
	if root != "" && !strings.Contains(t.Repository.Path, "/") {
		t.Repository.Path = root + "/" + t.Repository.Path
		t.rename("root")
	}
}

func (n Naming) flatten(t *TargetName) {
	segments := strings.Split(t.Repository.Path, "/")
	if len(segments) == 1 {
		return
	}
	switch n.Flatten {
	case FlattenJoin:
		t.Repository.Path = strings.Join(segments, n.separator())
	case FlattenLast:
		t.Repository.Path = segments[len(segments)-1]
	default:
		return
	}
	t.rename("flatten")
}

func (n Naming) separator() string {
	if n.FlattenSep == "" {
		return "-"
	}
	return n.FlattenSep
}

// refuse tells why no registry, or not this one, takes the name t.
func (n Naming) refuse(t TargetName) error {
	ref, err := oci.ParseReference(t.String())
	if err != nil {
		return reason(err)
	}
	if ref.Repository != t.Repository {
		return fmt.Errorf("%s has no repositories outside of namespaces", ref.Host)
	}
	if depth := 1 + strings.Count(t.Repository.Path, "/"); n.MaxDepth > 0 && depth > n.MaxDepth {
		return fmt.Errorf("%d segments, the target takes %d", depth, n.MaxDepth)
	}
	return nil
}

// rename notes that rule changed the name.
func (t *TargetName) rename(rule string) { t.Renamed = append(t.Renamed, rule) }
