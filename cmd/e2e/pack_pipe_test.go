package e2e

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// half is one of the two ferries of a pipe.
type half struct {
	*exec.Cmd
	said bytes.Buffer
}

// start begins a half of a pipe, which ends with the story at the latest.
func (w *world) start(args ...string) *half {
	h := &half{Cmd: w.command(w.Context(), args...)}
	h.Stderr = &h.said
	return h
}

// code waits for the end and returns the exit code, -1 when it was killed.
func (h *half) code(t *testing.T) int {
	t.Helper()
	var exit *exec.ExitError
	if err := h.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return h.ProcessState.ExitCode()
}

// through runs pack and unpack with a pipe between them, and calls between when n bytes have passed it; n < 0 is never. It returns
// both when they have ended.
func (w *world) through(n int64, between func(from, to *half)) (from, to *half) {
	w.Helper()
	from, to = w.start("pack", "-f", "images.list", "-o", "-"), w.start("unpack", "-", w.to())
	out, err := from.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	in, err := to.StdinPipe()
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range []*half{from, to} {
		if err := h.Start(); err != nil {
			w.Fatal(err)
		}
	}
	if n >= 0 {
		if _, err := io.CopyN(in, out, n); err != nil {
			w.Fatal(err)
		}
		between(from, to)
	}
	_, _ = io.Copy(in, out) // fails when unpack has ended; that shows in its exit code
	out.Close()
	in.Close()
	return from, to
}

// noTags proves that no image has a tag at the target.
func (w *world) noTags() {
	w.Helper()
	registry := wire.Registry{URL: w.target.URL()}
	for _, image := range w.images {
		if tags, err := registry.Tags(w.Context(), prefix+"/"+image.Repository); err == nil && len(tags) > 0 {
			w.Errorf("%s has the tags %q", image.Repository, tags)
		}
	}
}

// pack -o - and unpack - need no file between them. Whichever of both is killed, the other one ends with an error, no tag is
// set, and the same command finishes the work.
func TestPackIntoUnpack(t *testing.T) {
	t.Parallel()
	whole := func(w *world) {
		w.Helper()
		from, to := w.through(-1, nil)
		if code, other := from.code(w.T), to.code(w.T); code != 0 || other != 0 {
			w.Fatalf("exit codes %d and %d\n%s%s", code, other, from.said.String(), to.said.String())
		}
		w.arrived()
	}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		whole(newWorld(t, distribution.Options{}, distribution.Options{}))
	})
	t.Run("pack killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, distribution.Options{}, distribution.Options{})
		from, to := w.through(3<<20, func(from, _ *half) { _ = from.Process.Kill() })
		if code := from.code(t); code != -1 {
			t.Errorf("pack: exit code %d", code)
		}
		if code := to.code(t); code != 3 {
			t.Errorf("unpack: exit code %d, want 3\n%s", code, to.said.String())
		}
		w.noTags()
		w.settle(w.source)
		w.settle(w.target)
		whole(w)
	})
	t.Run("unpack killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, distribution.Options{}, distribution.Options{})
		from, to := w.through(3<<20, func(_, to *half) { _ = to.Process.Kill() })
		if code := from.code(t); code != 1 || !strings.Contains(from.said.String(), "stdout: broken pipe") {
			t.Errorf("pack: exit code %d, want 1\n%s", code, from.said.String())
		}
		if code := to.code(t); code != -1 {
			t.Errorf("unpack: exit code %d", code)
		}
		w.noTags()
		w.settle(w.source)
		w.settle(w.target)
		whole(w)
	})
}
