package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ferry-oci/ferry/bundle"
)

// disks asks on the terminal for the disks with the volumes of a bundle that are not there.
type disks struct {
	set *bundle.Set
	std *stdio
}

// canAsk reports whether there is somebody at a terminal.
func (std *stdio) canAsk() bool {
	in, ok := std.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// diskInterval is the time between two looks for a disk while nobody types.
const diskInterval = time.Second

// ask asks for the disk with volume n until it is there. The user can put it in, which is seen, name another folder, or give up,
// which is a *bundle.MissingError.
func (d *disks) ask(ctx context.Context, n int) error {
	in := d.std.In.(*os.File)
	d.std.complain(d.question(n))
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line := ""
		if inputReady(in, diskInterval) {
			var err error
			if line, err = readLine(in); err != nil {
				line = "q" // nobody is there any more
			}
			line = strings.TrimSpace(line)
			if line == "q" {
				return d.set.MissingVolume(n)
			}
		} else if found, err := d.set.Look(n); found && err == nil {
			return nil
		} else {
			continue
		}
		var folders []string
		if line != "" {
			folders = append(folders, line)
		}
		switch found, err := d.set.Look(n, folders...); {
		case err != nil:
			d.std.complain(err.Error())
		case found:
			return nil
		default:
			d.std.complain(fmt.Sprintf("%s is not there yet", d.set.VolumeName(n)))
		}
	}
}

// question asks for volume n.
func (d *disks) question(n int) string {
	of := ""
	if d.set.Listed() {
		of = fmt.Sprintf(" of %d", d.set.Volumes())
	}
	return fmt.Sprintf("%s, volume %d%s, is not in %s.\nPut in its disk, and press Enter; or type the folder that it is in; q ends:",
		d.set.VolumeName(n), n, of, strings.Join(d.set.Folders(), " or "))
}

// askAll asks until all volumes are there at once.
func (d *disks) askAll(ctx context.Context) error {
	for {
		missing := d.set.Missing()
		if len(missing) == 0 {
			return nil
		}
		if err := d.ask(ctx, missing[0]); err != nil {
			return err
		}
	}
}

// reader returns the bytes of the whole, read from one disk after the other, each of which is asked for once.
func (d *disks) reader(ctx context.Context) io.ReadCloser {
	return d.set.Sequential(func(n int) error { return d.ask(ctx, n) })
}

// lacksDisks reports whether volumes are missing that somebody can be asked for.
func lacksDisks(set *bundle.Set, keepGoing bool, std *stdio) bool {
	return set.MissingError() != nil && !keepGoing && std.canAsk()
}
