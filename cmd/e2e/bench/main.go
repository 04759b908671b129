//go:build linux

// Command bench measures ferry against what people would use instead, in one run on one corpus.
//
// It builds a corpus of real multi-architecture images (kept in the user's cache folder), serves it from a registry in
// a process of its own, and has ferry and the other tools save all of it into one file, load that file into an empty
// registry, and copy from registry to registry, in turns. Printed are wall and processor time, peak memory of the whole
// process tree, bytes on the wire, requests, bytes written and the size of the archive, as medians, with ratios to ferry;
// then what only ferry can say, also over a long line, and the project's goals.
//
// Compact bundles are measured against programs that compress the same content, once each, as sizes and processor time
// do not vary much.
//
// It runs on Linux, and best on a machine that does nothing else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options are the flags.
type options struct {
	runs  int
	small bool
	gate  bool
	json  string
	cache string
	work  string
	only  string
	rows  string
}

// The groups of rows, as the flag -rows names them.
const (
	rowsPlain    = "plain"    // plain bundles and copy, beside other tools
	rowsCompact  = "compact"  // compact bundles of the same corpus
	rowsMax      = "max"      // at --level max, of a part of it
	rowsVersions = "versions" // of a corpus of two point releases, with frames of several sizes
	rowsParts    = "parts"    // un-gzip and re-creation by encoder
	rowsCores    = "cores"    // one core against two
	rowsServe    = "serve"    // ferry serve beside other registries
	rowsVolumes  = "volumes"  // unpack from volumes, beside one file
)

func allRows() []string {
	return []string{rowsPlain, rowsCompact, rowsMax, rowsVersions, rowsParts, rowsCores, rowsServe, rowsVolumes}
}

// wants reports whether a group of rows was asked for.
func (o options) wants(rows string) bool {
	return o.rows == "" || slices.Contains(strings.Split(o.rows, ","), rows)
}

// check refuses groups of rows that there are not.
func (o options) check() error {
	for _, rows := range strings.Split(o.rows, ",") {
		if o.rows != "" && !slices.Contains(allRows(), rows) {
			return fmt.Errorf("-rows %s: there are no such rows; take some of %s", rows, strings.Join(allRows(), ","))
		}
	}
	return nil
}

func main() {
	var opts options
	flag.IntVar(&opts.runs, "n", 5, "measure each tool `N` times")
	flag.BoolVar(&opts.small, "small", false, "use a small corpus, of programs of the Go distribution")
	flag.BoolVar(&opts.gate, "gate", false, "exit with 1 when a goal is missed")
	flag.StringVar(&opts.json, "json", "", "write the results to this `file`, - is standard output in place of the tables")
	flag.StringVar(&opts.cache, "cache", "", "keep corpus and tools in this `folder` (default ferry-bench in the user's cache)")
	flag.StringVar(&opts.work, "work", "", "work in a new folder under this `folder` (default the cache)")
	flag.StringVar(&opts.only, "only", "", "comma-separated `names` of the tools to run beside ferry (default all)")
	flag.StringVar(&opts.rows, "rows", "", "measure these comma-separated `groups` of rows (default all: "+
		strings.Join(allRows(), ",")+")")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, opts); {
	case err == nil:
	case errors.Is(err, errMissed) && !opts.gate:
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errMissed comes back when a goal is missed.
var errMissed = errors.New("a goal is missed")

func run(ctx context.Context, opts options) (err error) {
	if err := opts.check(); err != nil {
		return err
	}
	b, err := prepare(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	report, err := b.measure(ctx)
	if err != nil {
		return err
	}
	var text io.Writer = os.Stdout
	if opts.json != "" {
		if err := writeJSON(opts.json, report); err != nil {
			return err
		}
		if opts.json == "-" {
			text = io.Discard
		}
	}
	if err := report.print(text); err != nil {
		return err
	}
	if report.missed() {
		return errMissed
	}
	return nil
}

func writeJSON(file string, report *report) error {
	raw, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if file == "-" {
		_, err = os.Stdout.Write(raw)
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}

// progress tells the one who waits what is going on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// folders returns the cache folder and a new one to work in, on the same file system unless told otherwise.
func folders(opts options) (cache, work string, err error) {
	cache = opts.cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", "", err
		}
		cache = filepath.Join(user, "ferry-bench")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", "", err
	}
	under := opts.work
	if under == "" {
		under = cache
	}
	if err := errors.Join(os.MkdirAll(cache, 0o755), os.MkdirAll(under, 0o755)); err != nil {
		return "", "", err
	}
	if under, err = filepath.Abs(under); err != nil {
		return "", "", err
	}
	work, err = os.MkdirTemp(under, "work-")
	return cache, work, err
}
