package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/archive"
)

// archiveTarget is a target oci-archive:FILE or docker-archive:FILE.
type archiveTarget struct {
	format archive.Format
	path   string // "-" is stdout
}

// parseArchive reads a target, and reports whether it is an archive.
func parseArchive(target string) (archiveTarget, bool) {
	for _, f := range []archive.Format{archive.OCI, archive.Docker} {
		if path, ok := strings.CutPrefix(target, f.String()+":"); ok {
			return archiveTarget{f, path}, true
		}
	}
	return archiveTarget{}, false
}

func (a archiveTarget) String() string { return a.format.String() + ":" + a.path }

func (a archiveTarget) toStdout() bool { return a.path == "-" }

// check returns a usage error when the target is no name of a file. skopeo has a reference behind it, ferry keeps all names.
func (a archiveTarget) check() error {
	switch {
	case a.path == "":
		return usagef("target %s needs a file, as in %s:images.tar, or - for stdout", a, a.format)
	case strings.Contains(filepath.Base(a.path), ":"):
		return usagef("target %s: names are kept as they are, so no reference follows the file", a)
	}
	return nil
}

// archive returns the target if it is an archive.
func (o *deliverOptions) archive() (archiveTarget, bool) { return parseArchive(o.Targets[0]) }

func (o *deliverOptions) toArchive() bool { _, ok := o.archive(); return ok }

// onePlatform reports whether the target takes images of one platform.
func (o *deliverOptions) onePlatform() bool {
	a, ok := o.archive()
	return ok && a.format == archive.Docker
}

// platforms returns the platforms that images are to be narrowed to, of those that were given; none: all.
func (o *deliverOptions) platforms(given []oci.Platform) ([]oci.Platform, error) {
	switch {
	case !o.onePlatform():
		return given, nil
	case len(given) > 1:
		return nil, usagef("--platform: a docker-archive holds one platform; oci-archive:FILE holds several")
	case len(given) == 1:
		return given, nil
	}
	return []oci.Platform{hostPlatform()}, nil
}

// hostPlatform is the platform of the containers that this machine runs, which are Linux's on other systems, too.
func hostPlatform() oci.Platform {
	return oci.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// openArchive begins the archive. It is written when the run has ended well, see [destination.end]; with partial, without
// images that failed, too, if there are others.
func openArchive(a archiveTarget, partial, dryRun bool, std *stdio) (*destination, error) {
	to := &destination{explain: func(err error) error { return err }}
	to.end = func(err error) error { return err }
	if dryRun {
		return to, nil
	}
	if a.toStdout() {
		out, err := std.takeOutput("target " + a.String())
		if err != nil {
			return nil, err
		}
		w := archive.NewWriter(out, a.format)
		to.target = streamTarget{w}
		to.end = archiveEnd{w, partial, a, std, w.Close, func() {}}.end
		return to, nil
	}
	f, err := archive.Create(a.path, a.format)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", a, err)
	}
	to.target = f
	to.end = archiveEnd{f.Writer, partial, a, std, f.Commit, f.Abort}.end
	return to, nil
}

// streamTarget is an archive on its way to stdout, from which nothing can be read back.
type streamTarget struct{ *archive.Writer }

func (streamTarget) Open(_ context.Context, _ oci.Repository, d oci.Descriptor, _ int64) (io.ReadCloser, error) {
	return nil, fmt.Errorf("blob %s: %w", d.Digest, oci.ErrGone)
}

// archiveEnd ends an archive.
type archiveEnd struct {
	w       *archive.Writer
	partial bool
	target  archiveTarget
	std     *stdio
	commit  func() error
	abort   func()
}

// end writes what makes the archive whole, unless the run has ended in an error that leaves nothing whole.
func (e archiveEnd) end(err error) error {
	var partial *partialError
	some := errors.As(err, &partial) && e.partial && e.w.Images() > 0
	if err != nil && !some {
		e.abort()
		switch {
		case e.w.Size() == 0:
		case e.target.toStdout():
			e.std.say("what went to stdout is no archive, and no program takes it for one")
		case errors.As(err, &partial):
			e.std.say("%s was not written; --keep-going writes it without the images that failed", e.target.path)
		}
		return err
	}
	if cerr := e.commit(); cerr != nil {
		return cerr
	}
	name := e.target.path
	if e.target.toStdout() {
		name = "stdout"
	}
	e.std.say("wrote %s: %s, %s, %s", name, e.target.format, formatSize(e.w.Size()), plural(e.w.Images(), "name"))
	return err
}

// choosePlatforms makes the names mean images of the wanted platforms alone. An image that has none of them fails.
func (d *delivery) choosePlatforms(wants []oci.Platform) func(context.Context, []*plannedName) error {
	return func(ctx context.Context, names []*plannedName) error {
		for _, n := range names {
			if n.err != nil {
				continue
			}
			root, err := n.root, error(nil)
			if root == nil {
				root, err = d.from.graph(ctx, n.image)
			}
			if err == nil && d.o.onePlatform() {
				root, err = oci.ChooseImage(root, wants[0])
			} else if err == nil {
				root, err = oci.FilterPlatforms(root, wants)
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil && d.from.stops(err):
				return err
			case err != nil:
				n.err = err
			default:
				n.root, n.want = root, root.Digest
			}
		}
		return nil
	}
}
