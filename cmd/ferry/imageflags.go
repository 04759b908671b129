package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
	"github.com/ferry-oci/ferry/oci/mention"
)

// imageFlags are the flags of every command that takes images from registries: which images, which of their platforms,
// and how the registries are spoken to.
type imageFlags struct {
	Images    []string // references
	Files     []string // lists of references; "-" is stdin
	Platforms []string // none: all
	Missing   string   // what becomes of images that lack one of them: fail, available or drop
	Repin     bool     // filter references with a digest, too
	Source    registryFlags
}

// The values of --platform-missing.
var missingPolicies = map[string]oci.MissingPolicy{
	"fail": oci.MissingFail, "available": oci.MissingAvailable, "drop": oci.MissingDrop,
}

// add defines the flags.
func (f *imageFlags) add(set *pflag.FlagSet) {
	set.StringArrayVarP(&f.Files, "file", "f", nil, "read references from `FILE`, - is stdin (repeatable): a list, or what ferry images takes")
	set.StringSliceVar(&f.Platforms, "platform", nil, "keep only these `PLATFORMS`, such as linux/amd64,linux/arm64")
	set.StringVar(&f.Missing, "platform-missing", "fail",
		"an image that lacks one of them: fail, take what is available, or drop the image")
	set.BoolVar(&f.Repin, "repin", false, "filter images that are named by digest, too; they get another digest")
	f.Source.add(set, sideSource)
	f.Source.addMirrors(set)
}

// planOptions returns what the flags say about a plan. All errors are mistakes in them.
func (f *imageFlags) planOptions() (o oci.PlanOptions, err error) {
	if _, ok := missingPolicies[f.Missing]; !ok {
		return o, checkOneOf("platform-missing", f.Missing, "fail", "available", "drop")
	}
	o.Missing, o.Repin = missingPolicies[f.Missing], f.Repin
	o.Platforms, err = parsePlatforms(f.Platforms)
	return o, err
}

// parsePlatforms reads the values of --platform.
func parsePlatforms(texts []string) (list []oci.Platform, err error) {
	for _, s := range texts {
		platform, err := oci.ParsePlatform(s)
		if err != nil {
			return nil, usagef("--platform: %w", err)
		}
		list = append(list, platform)
	}
	return list, nil
}

// refs returns the references of the command line and of the lists, and the sources on this machine that they name.
func (f *imageFlags) refs(std *stdio) ([]oci.Reference, []local.Source, error) {
	var names []string
	var texts []mention.Source
	for _, name := range f.Images {
		if local.IsSource(name) {
			texts = append(texts, mention.Source{Text: name})
		} else {
			names = append(names, name)
		}
	}
	refs, err := oci.ParseList("command line", strings.NewReader(strings.Join(names, "\n")))
	errs := []error{err}
	for _, name := range f.Files {
		found, err := readList(name, std)
		errs = append(errs, err)
		if err == nil {
			refs = append(refs, found.References()...)
			texts = append(texts, found.Sources...)
		}
	}
	sources, err := parseSources(texts)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, nil, err
	}
	refs = oci.Unique(refs)
	switch none := len(refs)+len(sources) == 0; {
	case none && len(f.Files) > 0:
		return nil, nil, usagef("no image in %s", strings.Join(f.Files, ", "))
	case none:
		return nil, nil, usagef("no image: name some, or give a list with -f FILE")
	}
	var hosts []string
	for _, ref := range refs {
		hosts = append(hosts, ref.Host)
	}
	return refs, sources, f.Source.checkHosts(hosts)
}

// parseSources reads what names places on this machine.
func parseSources(texts []mention.Source) (sources []local.Source, err error) {
	var errs []error
	for _, text := range texts {
		s, err := local.ParseSource(text.Text)
		var each []local.Source
		if err == nil {
			each, err = s.Expand()
		}
		switch {
		case err != nil && text.File != "":
			errs = append(errs, usagef("%s:%d: %w", text.File, text.Line, err))
		case err != nil:
			errs = append(errs, usagef("%w", err))
		default:
			sources = append(sources, each...)
		}
	}
	return sources, errors.Join(errs...)
}

// readList returns the images of a list, or of another file that speaks of some, "-" being stdin.
func readList(name string, std *stdio) (*mention.Found, error) {
	if info, err := os.Stat(name); name != "-" && err == nil && info.IsDir() {
		return nil, usagef("-f %s: it is a folder (to take the files in it: ferry images %s | ferry pack -f -)", name, name)
	}
	return findImages(name, "-f "+name, mention.Options{}, std)
}
