package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// outputFlags are the flags of a command that writes a bundle.
type outputFlags struct {
	Output  string // its ending is the compressor; with Split, folders may follow, after commas
	Split   string // size of volumes; empty: one file
	Replace bool   // volumes, or a bundle, of another pack
	Format  string // of a bundle that goes to stdout
	Level   string
	Labels  []string // key=value
	Created string   // RFC 3339; empty: SOURCE_DATE_EPOCH or none
	Jobs    int
}

// add defines the flags.
func (f *outputFlags) add(set *pflag.FlagSet) {
	set.StringVarP(&f.Output, "output", "o", "", "write the bundle to `BUNDLE`")
	set.StringVar(&f.Split, "split", "", "write volumes of this `SIZE`: fat32, dvd, bd25, or bytes as 4GB; -o then takes more folders, as BUNDLE,DIR,DIR")
	set.BoolVar(&f.Replace, "replace", false, "remove what another pack has left under the name of the bundle: volumes, or with --split a bundle, too")
	set.StringVar(&f.Level, "level", "default", "compress what is not compressed yet: fastest, default, better, best or max")
	set.StringArrayVar(&f.Labels, "label", nil, "put `KEY=VALUE` into the bundle (repeatable)")
	set.StringVar(&f.Created, "created", "", "put this `TIME` (RFC 3339) into the bundle (default SOURCE_DATE_EPOCH, else none)")
	addJobs(set, &f.Jobs)
}

// bundleOptions is what outputFlags say about a bundle.
type bundleOptions struct {
	writer  compress.WriterOptions
	output  bundle.OutputOptions
	labels  map[string]string
	created *time.Time
}

// options returns what the flags say. All errors are mistakes in them.
func (f *outputFlags) options(std *stdio) (o bundleOptions, err error) {
	if f.Output == "" {
		return o, usagef("-o BUNDLE is missing")
	}
	if o.output, err = f.outputOptions(); err != nil {
		return o, err
	}
	if o.writer.Format, err = f.format(); err != nil {
		return o, err
	}
	if o.writer.Level, err = compress.ParseLevel(f.Level); err != nil {
		return o, &usageError{fmt.Errorf("--level: %w", err)}
	}
	if err := checkAtLeast("jobs", f.Jobs, 0); err != nil {
		return o, err
	}
	o.writer.Jobs = f.Jobs
	if o.writer.Format == compress.XZ {
		o.writer.XZProgram = program("xz")
	}
	if o.writer.Format == compress.Zstd && o.writer.Level == compress.Max {
		o.writer.ZstdProgram = program("zstd")
	}
	if o.labels, err = f.labels(); err != nil {
		return o, err
	}
	o.created, err = f.created(std)
	return o, err
}

func (f *outputFlags) labels() (map[string]string, error) {
	labels := map[string]string{}
	for _, label := range f.Labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return nil, usagef("--label %q: KEY=VALUE is needed", label)
		}
		labels[key] = value
	}
	return labels, nil
}

// created returns the time that goes into the bundle, nil for none.
func (f *outputFlags) created(std *stdio) (*time.Time, error) {
	created := f.Created
	if epoch := std.Getenv("SOURCE_DATE_EPOCH"); created == "" && epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 {
			return nil, usagef("SOURCE_DATE_EPOCH %q: seconds since 1970 are needed", epoch)
		}
		created = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	if created == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, created)
	if err != nil || at.Unix() < 0 {
		return nil, usagef("--created %q: a time such as 2026-11-23T10:00:00Z is needed", created)
	}
	at = at.UTC().Truncate(time.Second)
	return &at, nil
}

// checkReplaces returns an error when the output would replace what it is not to: one of the files that the command reads, of which what
// says what they are, or what another pack has left.
func checkReplaces(path string, o bundle.OutputOptions, files []string, what string) error {
	old, err := bundle.Old(path, o)
	if err != nil {
		return err
	}
	for _, file := range append(old, path) {
		if slices.ContainsFunc(files, func(name string) bool { return sameFile(file, name) }) {
			return usagef("-o %s: that is %s, which the bundle would replace", file, what)
		}
	}
	if len(old) == 0 || o.Replace {
		return nil
	}
	return fmt.Errorf("output %s: of another pack there is %s; --replace removes that", path, someNames(old))
}

// checkFolder finds out early that a folder of an output is none.
func checkFolder(path, dir string) error {
	folder, err := os.Stat(dir)
	if err == nil && !folder.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return fmt.Errorf("output %s: folder %s: %w", path, dir, bareError(err))
	}
	return nil
}

// checkOutput finds out early that there can be no bundle of that name, see also checkReplaces.
func checkOutput(path string, o bundle.OutputOptions, files []string, what string) error {
	if err := checkFolders(path, o); err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("output %s: %w", path, bareError(err))
	case info.IsDir():
		return fmt.Errorf("output %s: it is a folder", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("output %s: not a regular file", path)
	}
	return checkReplaces(path, o, files, what)
}

// lockOutput keeps other runs away from the output, whatever their stores are, and returns what ends that. The lock lies
// beside the output's own store. A dry run needs none.
func lockOutput(output string, dryRun bool) (unlock func(), err error) {
	path, err := ownStore(output)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil || dryRun {
		return func() {}, nil // a user without a cache folder goes without the lock
	}
	lock := flock.New(path + ".lock")
	held, err := lock.TryLock()
	for begin := time.Now(); err == nil && !held && time.Since(begin) < lockPatience; held, err = lock.TryLock() {
		time.Sleep(lockPatience / 50)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	if !held {
		return nil, fmt.Errorf("output %s: another run is writing it", output)
	}
	return func() {
		// What cannot be removed, as on Windows, is an empty file in the cache; the lock ends with the process at the latest.
		_ = os.Remove(lock.Path())
		_ = lock.Unlock()
	}, nil
}

// lockPatience is how long a lock is waited for. A run that was killed while it started a program leaves that with the lock until it has begun.
const lockPatience = time.Second

// sealedBundle is what is known of a bundle that was written.
type sealedBundle struct {
	head      *bundle.Head
	contentID string
}

// othersNeed names the programs that read a bundle without ferry.
var othersNeed = map[compress.Format]string{
	compress.Zstd: "tar, zstd and skopeo", compress.XZ: "tar, xz and skopeo", compress.None: "tar and skopeo",
}

// say prints what was written and what the far side needs.
func (s *sealedBundle) say(std *stdio, output string, format compress.Format, out *bundle.Output) {
	totals := summarize(s.head).Totals
	size := formatSize(out.Size())
	if totals.Compact != nil && totals.Bytes > 0 {
		size += fmt.Sprintf(" (%d %% of %s)", (100*out.Size()+totals.Bytes/2)/totals.Bytes, formatSize(totals.Bytes))
	}
	first, join := output, ""
	sum := fmt.Sprintf(" (in %s, too)", filepath.Base(bundle.SumFile(output)))
	if output == stdoutName {
		output, sum = "stdout", ""
	}
	if n := out.Volumes(); len(n) > 0 {
		size += " in " + plural(len(n), "volume")
		first, join = n[0], fmt.Sprintf(", after `cat %s.[0-9]* > %s`", filepath.Base(output), filepath.Base(output))
	}
	std.say("wrote %s: %s, %s%s, %s", output, size, plural(len(s.head.Images), "image"),
		withReferrers(totals.Referrers), plural(totals.Blobs, "blob"))
	if totals.Compact != nil {
		for _, line := range totals.Compact.lines() {
			std.say("  %s", line)
		}
	}
	std.say("  sha256      %s%s", out.Sum(), sum)
	std.say("  content id  %s", s.contentID)
	std.say("the far side needs ferry %s (ferry unpack %s REGISTRY), or %s%s",
		ferryVersion(), filepath.Base(first), othersNeed[format], join)
	if n := dockerRoots(s.head); n > 0 {
		std.say("  (%s in Docker's media types, which skopeo does not find in a layout; ferry and containerd do)", plural(n, "image"))
	}
}

// dockerRoots counts the images whose manifest or index is of Docker's media types.
func dockerRoots(h *bundle.Head) int {
	n := 0
	for _, img := range h.Images {
		if img.MediaType == oci.MediaTypeDockerList || img.MediaType == oci.MediaTypeDockerManifest {
			n++
		}
	}
	return n
}
