package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// namingOptions are the flags that say under which names images go to a registry.
type namingOptions struct {
	root       string
	keepHost   bool
	flatten    string
	flattenSep string
	mapFile    string

	set *pflag.FlagSet // tells what the user gave
}

// namingFlags are the names of the flags of namingOptions.
var namingFlags = []string{"root", "keep-host", "flatten", "flatten-sep", "map"}

func (n *namingOptions) add(set *pflag.FlagSet) {
	n.set = set
	set.StringVar(&n.root, "root", registry.DefaultRoot,
		"namespace `NAME` of images that have none; given, it holds for targets with a prefix, too; '' leaves them at the top")
	set.BoolVar(&n.keepHost, "keep-host", false, "keep the source's host as the first segment of the name")
	set.StringVar(&n.flatten, "flatten", "none", "join the segments of a name, or keep the `last` one: join, last or none")
	set.Lookup("flatten").NoOptDefVal = "join"
	set.StringVar(&n.flattenSep, "flatten-sep", "-", "the `SIGN` that --flatten joins with")
	set.StringVar(&n.mapFile, "map", "", "rename by the rules in `FILE`, one PATTERN => NAME... a line")
}

// flags returns the naming flags that the user gave, for messages.
func (n *namingOptions) flags() string {
	var names []string
	for _, name := range namingFlags {
		if n.set.Changed(name) {
			names = append(names, "--"+name)
		}
	}
	return strings.Join(names, " and ")
}

func (n *namingOptions) given() bool { return n.flags() != "" }

// naming returns the rules for a target REGISTRY[/PREFIX], or nil for a folder or an archive, where names stay as they are. All errors
// are mistakes in the command line or in the file of --map.
func (n *namingOptions) naming(target string) (*registry.Naming, error) {
	if isLocal(target) {
		return nil, nil
	}
	at, err := registry.ParseTarget(target)
	if err != nil {
		return nil, &usageError{err}
	}
	flatten, err := registry.ParseFlatten(n.flatten)
	if err != nil {
		return nil, usagef("--%w", err)
	}
	naming := &registry.Naming{
		Host: at.Host, Prefix: at.Path, KeepHost: n.keepHost, Flatten: flatten, FlattenSep: n.flattenSep,
	}
	if n.set.Changed("root") {
		naming.Root = &n.root
	}
	if n.mapFile != "" {
		if naming.Map, err = readMap(n.mapFile); err != nil {
			return nil, &usageError{fmt.Errorf("--map: %w", err)}
		}
	}
	// A name that fits any rule shows what is wrong with the settings themselves, before a bundle is read.
	if _, err := naming.Names(oci.Reference{Repository: oci.Repository{Host: "host.example", Path: "a/b"}, Tag: "c"}); err != nil {
		var name *registry.NameError
		if !errors.As(err, &name) {
			return nil, usagef("--%w", err)
		}
	}
	return naming, nil
}

// keepSourceNames lets the images of registries that were backed up have the names that they had there.
func keepSourceNames(namings []*registry.Naming, h *bundle.Head) {
	for _, naming := range namings {
		if naming == nil {
			continue
		}
		for _, source := range h.Sources {
			naming.Whole = append(naming.Whole, source.Registry)
		}
	}
}

func readMap(path string) ([]registry.Rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return registry.ParseMap(path, f)
}

// imageFilter chooses images by patterns on their names.
type imageFilter struct {
	texts    []string
	patterns []*regexp.Regexp
}

// newImageFilter reads patterns, in which `*` stands for any text and `?` for one character. No pattern takes all.
func newImageFilter(patterns []string) *imageFilter {
	f := &imageFilter{texts: patterns}
	for _, p := range patterns {
		f.patterns = append(f.patterns, glob(p))
	}
	return f
}

// glob compiles a pattern, in which `*` stands for any text and `?` for one character.
func glob(pattern string) *regexp.Regexp {
	expr := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`\A(?:` + expr + `)\z`)
}

// match reports whether a pattern fits one of the names of ref. The patterns that do are set in used.
func (f *imageFilter) match(ref oci.Reference, used []bool) bool {
	if len(f.patterns) == 0 {
		return true
	}
	matched := false
	for i, p := range f.patterns {
		for _, name := range namesOf(ref) {
			if p.MatchString(name) {
				used[i], matched = true, true
			}
		}
	}
	return matched
}

// namesOf returns all that an image is called: with and without its tag, its host, and the library of docker.io.
func namesOf(ref oci.Reference) []string {
	names := []string{ref.Repository.String(), ref.Path}
	short := strings.TrimPrefix(ref.Path, "library/")
	// Not library/quay.io/app, which in short would be another image.
	if r, err := oci.ParseReference(short); err == nil && r.Repository == ref.Repository {
		names = append(names, short)
	}
	tail := strings.TrimPrefix(ref.Name(), ref.Repository.String())
	for _, name := range names {
		names = append(names, name+tail)
	}
	return names
}
