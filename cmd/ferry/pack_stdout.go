package main

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
)

// stdoutName is the output that is stdout.
const stdoutName = "-"

// stdoutDisk is a disk that is never full.
var stdoutDisk = disk{device: "stdout", free: math.MaxInt64}

func (f *outputFlags) toStdout() bool { return f.Output == stdoutName }

// format returns the compressor, which the ending of a file names, and --format that of stdout.
func (f *outputFlags) format() (compress.Format, error) {
	name := f.Output
	switch {
	case f.Format != "" && !f.toStdout():
		return 0, usagef("--format: it is for -o -; the ending of %s says how it is compressed", f.Output)
	case f.toStdout() && f.Format == "":
		name = ".tar.zst"
	case f.Format == "none":
		name = ".tar"
	case f.Format != "":
		name = ".tar." + f.Format
	}
	format, err := compress.FormatByName(name)
	switch {
	case err != nil && f.Format != "":
		return 0, usagef("--format %s: zst, xz or none is needed", f.Format)
	case err != nil:
		return 0, &usageError{err}
	}
	return format, nil
}

// checkStdout finds out what cannot be given together with stdout, and takes it.
func (p *packing) checkStdout() (err error) {
	switch {
	case p.o.Split != "":
		return usagef("-o -: there are no volumes in a pipe, so --split cannot be given")
	case p.o.Consume:
		return usagef("-o -: whether it arrives is not known, so --consume cannot be given")
	case len(p.o.With.platforms) > 0:
		return usagef("-o -: nothing can lie beside stdout, so --with cannot be given")
	}
	disks := p.diskOf
	p.diskOf = func(path string) (disk, error) {
		if path == stdoutName {
			return stdoutDisk, nil
		}
		return disks(path)
	}
	if !p.o.DryRun {
		p.stdout, err = p.std.takeOutput("-o -")
	}
	return err
}

// outputName returns the name by which runs that write one output know each other. What goes to stdout is known by its
// images.
func (p *packing) outputName() string {
	if !p.o.toStdout() {
		return p.o.Output
	}
	names := p.wanted()
	for _, s := range p.sources {
		names = append(names, s.String())
	}
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return fmt.Sprintf("stdout-%x", sum[:6])
}

// createOutput begins the output.
func (p *packing) createOutput() (*bundle.Output, error) {
	if p.o.toStdout() {
		return bundle.StreamOutput(p.stdout), nil
	}
	return bundle.CreateOutput(p.o.Output, p.output)
}
