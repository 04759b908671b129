package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// mergeOptions are the options of ferry merge.
type mergeOptions struct {
	Bundles []string

	outputFlags
	Map    string   // file of rules; empty: none
	Prefer string   // fail, first, last or newest
	Assume []string // PLATFORM or BUNDLE=PLATFORM
	DryRun bool
}

func newMergeCommand(std *stdio) *cobra.Command {
	var o mergeOptions
	cmd := &cobra.Command{
		Use:   "merge BUNDLE... -o BUNDLE",
		Short: "Make one bundle of several, with one index for each name",
		Long: `Make one bundle of several. What they hold under one name, the registry's host aside, becomes one index for all
platforms: registries that have the same names for different architectures become one. A name that one bundle alone has stays
as it is. The host of a merged image is that of the first bundle which has it.

--map renames before that, by the same rules as in unpack, so that app:v1-amd64 and app:v1-arm64 become app:v1, from one
bundle, too. Where a bundle has the same name from several hosts, and no rule has brought it there, hosts count.

Different images for one platform are a conflict. All of them are listed, and nothing is written unless --prefer
decides. The same goes for signatures under one tag of cosign's; newest takes the first of those.

--assume-platform says for what platform images are that have their name alone and tell none; as BUNDLE=PLATFORM
it holds for those of that bundle whatever they tell. The images stay as they are, only the index says so.

` + bundleHelp + ` Those with different .sha256 files are different bundles.

Blobs go from bundle to bundle and are proven on their way; nothing else is written to the disk. Damage in a bundle ends
the run with exit code 3 and without output. --dry-run prints what each bundle has for each name and what becomes of
it.`,
		Example: `  ferry merge amd64.tar.zst arm64.tar.zst -o all.tar.zst
  ferry merge --dry-run amd64.tar.zst arm64.tar.zst -o all.tar.zst
  ferry merge --map rules --prefer newest amd64.tar.zst arm64.tar.zst -o all.tar.zst
  ferry merge --assume-platform arm64.tar.zst=linux/arm64 amd64.tar.zst arm64.tar.zst -o all.tar.zst`,
		Args: leastArgs("BUNDLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Bundles = args
			return runMerge(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	o.outputFlags.add(set)
	set.StringVar(&o.Map, "map", "", "rename by the rules in `FILE`, one PATTERN => NAME... a line")
	addPrefer(set, &o.Prefer, "that of the bundle named first", "of the one named last")
	set.StringArrayVar(&o.Assume, "assume-platform", nil,
		"images that tell no platform are for this one, as [BUNDLE=]`PLATFORM` (repeatable)")
	set.BoolVar(&o.DryRun, "dry-run", false, "print what becomes of each name, and write nothing")
	return cmd
}

// merging is one run of ferry merge.
type merging struct {
	o      *mergeOptions
	std    *stdio
	diskOf func(path string) (disk, error)
	bundleOptions
	prefer oci.Prefer
	rules  []registry.Rule

	inputs []*mergeInput
	images []*mergedImage // sorted by name
}

// mergeInput is one of the bundles that are merged.
type mergeInput struct {
	path string // of its file, or of its volumes without their numbers
	set  *bundle.Set
	*packedFile
	assume       *oci.Platform // for images that tell no platform; nil: none
	assumeAlways bool          // whatever they tell
}

// failed returns an error of reading the bundle with its name.
func (in *mergeInput) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", in.path, err)
}

func runMerge(ctx context.Context, o mergeOptions, std *stdio) (err error) {
	m := &merging{o: &o, std: std, diskOf: diskOf}
	if err := m.check(); err != nil {
		return err
	}
	unlock, err := lockOutput(o.Output, o.DryRun)
	if err != nil {
		return err
	}
	defer unlock()
	defer func() {
		for _, in := range m.inputs {
			in.Close()
		}
	}()
	if err := m.open(ctx); err != nil {
		return err
	}
	if err := m.plan(ctx); err != nil {
		return err
	}
	if o.DryRun {
		if err := m.writePlan(std.Out); err != nil {
			return err
		}
	}
	if err := m.judge(); err != nil || o.DryRun {
		return err
	}
	return m.write(ctx)
}

// check finds what is wrong with the options alone.
func (m *merging) check() (err error) {
	o := m.o
	if o.toStdout() {
		return usagef("-o -: what merge writes has to be a file")
	}
	if m.bundleOptions, err = o.options(m.std); err != nil {
		return err
	}
	if m.prefer, err = parsePrefer(o.Prefer); err != nil {
		return err
	}
	if o.Map != "" {
		if m.rules, err = readMap(o.Map); err != nil {
			return &usageError{fmt.Errorf("--map: %w", err)}
		}
	}
	for i, path := range o.Bundles {
		if slices.Contains(o.Bundles[:i], path) {
			return usagef("%s: named twice", path)
		}
	}
	sets, err := findBundles(o.Bundles)
	if err != nil {
		return err
	}
	var files []string
	for _, set := range sets {
		files = append(files, set.Files()...)
		m.inputs = append(m.inputs, &mergeInput{path: set.Name(), set: set})
	}
	for _, text := range o.Assume {
		if err := m.assume(text); err != nil {
			return err
		}
	}
	m.output.Free = freeOf(m.diskOf)
	return checkOutput(o.Output, m.output, files, "one of the bundles that are merged")
}

// assume reads a value of --assume-platform.
func (m *merging) assume(text string) error {
	path, name := "", text
	if i := strings.LastIndex(text, "="); i >= 0 {
		path, name = text[:i], text[i+1:]
	}
	p, err := oci.ParsePlatform(name)
	if err != nil {
		return usagef("--assume-platform: %w", err)
	}
	known := path == ""
	for _, in := range m.inputs {
		switch {
		case path == "" && in.assume == nil:
			in.assume = &p
		case path != "" && (in.path == path || filepath.Base(in.path) == path):
			in.assume, in.assumeAlways, known = &p, true, true
		}
	}
	if !known {
		return usagef("--assume-platform %s: %s is none of the bundles", text, path)
	}
	return nil
}

// open opens the bundles, proves their frames, and repeats what they lack.
func (m *merging) open(ctx context.Context) error {
	for i, in := range m.inputs {
		var err error
		if in.packedFile, err = openFile(ctx, in.set, false, m.std); err != nil {
			m.inputs = m.inputs[:i]
			return in.failed(err)
		}
		for _, missing := range in.Head().Missing {
			m.std.warn("%s has not got %s: %s", in.path, missing.Name, missing.Reason)
		}
	}
	return nil
}
