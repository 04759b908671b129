package main

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"syscall"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
	"github.com/ferry-oci/ferry/oci/mention"
)

// Exit codes, a contract with the scripts that call ferry.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDamaged     = 3
	exitPartial     = 4
	exitInterrupted = 130
)

// usageError is a mistake in the command line or in a list that it names.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// partialError says that some of what was asked for is missing or could not be moved, and the rest was.
type partialError struct{ err error }

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

// damagedError says that a bundle is damaged, or is not the one that was expected. The text says what was found; damage
// that the reader of a bundle found is a bundle.ErrCorrupt already.
type damagedError struct {
	text string
	hits int // images, where it is damage to some of them
}

func (e *damagedError) Error() string { return e.text }

// hitsImages reports whether err is damage that ended a command and hits images, while others may be whole.
func hitsImages(err error) bool {
	var partial *partialError
	var damaged *damagedError
	var damage *bundle.DamageError
	switch {
	case errors.As(err, &partial):
		return false
	case errors.As(err, &damaged):
		return damaged.hits > 0
	}
	return errors.As(err, &damage) && len(damage.Images) > 0
}

func damagedf(format string, args ...any) error {
	return &damagedError{text: fmt.Sprintf(format, args...)}
}

// interruptedError ends a run that the user has stopped, whatever that made fail.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string { return "interrupted" }
func (e *interruptedError) Unwrap() error { return e.err }

// side is an end of a copy as the flags call it.
type side string

const (
	sideSource side = "src"
	sideDest   side = "dest"
	sideOnly   side = "" // of a command that speaks to one registry alone
)

// flag returns the full name of a flag of the end, such as src-ca for ca.
func (s side) flag(name string) string {
	if s == sideOnly {
		return name
	}
	return string(s) + "-" + name
}

// endError says which end of a copy failed, so that the hint can name the flags of that end. Its text is that of the
// error inside.
type endError struct {
	side side
	err  error
}

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// at marks err as one of the end s.
func (s side) at(err error) error {
	if err == nil {
		return nil
	}
	return &endError{side: s, err: err}
}

// exitCode returns the exit code for what a command returned.
func exitCode(err error) int {
	var interrupted *interruptedError
	var usage *usageError
	var partial *partialError
	var damaged *damagedError
	var missing *bundle.MissingError
	var line *oci.LineError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &interrupted):
		return exitInterrupted
	case errors.As(err, &partial), errors.As(err, &missing):
		return exitPartial
	case errors.As(err, &damaged), errors.Is(err, local.ErrCorrupt), errors.Is(err, bundle.ErrCorrupt), errors.Is(err, bundle.ErrNotBundle),
		errors.Is(err, bundle.ErrVersion):
		return exitDamaged
	case errors.As(err, &usage), errors.As(err, &line), errors.Is(err, mention.ErrFormat), errors.Is(err, local.ErrNaming):
		return exitUsage
	}
	return exitFailed
}

// report prints err with its hints and returns the exit code.
func (std *stdio) report(err error) int {
	code := exitCode(err)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if strings.TrimSpace(line) != "" {
				std.complain("ferry: " + line)
			}
		}
	}
	for _, hint := range hints(err) {
		std.complain("ferry: hint: " + hint)
	}
	return code
}

// hints returns what the user can do about err.
func hints(err error) []string {
	var interrupted *interruptedError
	var usage *usageError
	var missing *bundle.MissingError
	var line *oci.LineError
	switch {
	case err == nil, errors.As(err, &interrupted), errors.Is(err, local.ErrNaming):
		return nil
	case errors.As(err, &line):
		return []string{"a list has one image a line, such as docker.io/library/nginx:1.27; # begins a comment"}
	case errors.As(err, &usage):
		return []string{"ferry --help and ferry COMMAND --help tell what is expected"}
	case errors.Is(err, bundle.ErrVersion):
		return []string{fmt.Sprintf("this is ferry %s; the ferry that packed the bundle, or a later one, can read it", ferryVersion())}
	case isUnsaid(err):
		return []string{hintUnsaid}
	case errors.As(err, &missing):
		return []string{"put in the other disks, and name their folders, too, in any order; on a terminal ferry asks for each disk. " +
			"`ferry unpack --keep-going` pushes what is whole without them"}
	case errors.Is(err, oci.ErrLocked):
		return []string{"wait for the other run to end, or choose another folder with --store DIR, or --cache DIR of serve"}
	case hitsImages(err):
		return []string{"`ferry verify --damaged-list FILE BUNDLE` writes the images that are hit as a list for ferry pack -f, " +
			"`ferry unpack --keep-going` pushes all others"}
	case errors.Is(err, syscall.EFBIG):
		return []string{"the file system takes no file that large, as FAT none above 4.3 GB; choose another disk, or format it as exFAT"}
	case errors.As(err, new(*stdoutError)):
		return []string{"what reads ferry's output has ended, or cannot take more; its own message tells why"}
	case isNoSpace(err):
		return []string{"free some space or choose another disk; what is in the store is kept, the same command goes on from there"}
	}
	var referrers *oci.ReferrersError
	var attached *oci.AttachedError
	if errors.As(err, &referrers) || errors.As(err, &attached) {
		return append(connectionHints(err), "--no-referrers leaves behind what belongs to the images: signatures and SBOMs")
	}
	return connectionHints(err)
}

// isNoSpace reports whether a disk or a quota is full.
func isNoSpace(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	const handleDiskFull, diskFull = syscall.Errno(39), syscall.Errno(112) // the names of Windows for it
	return runtime.GOOS == "windows" && (errors.Is(err, handleDiskFull) || errors.Is(err, diskFull))
}

// bareError returns err without the path that os puts before it, for a caller that names the file itself.
func bareError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
