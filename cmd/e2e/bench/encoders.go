//go:build linux

package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/klauspost/pgzip"
)

// compressor returns a writer that compresses into another, as corpus.Layout has it.
type compressor = func(io.Writer) (io.WriteCloser, error)

// encoders returns what compresses the layers of some parts, when not Go's gzip: what the makers of images use beside it.
// A program that is not on PATH is left out.
func encoders(ctx context.Context) map[string]compressor {
	all := map[string]compressor{
		"perl": podman, "icu": podman, "skopeo": podman, "etcd": podman, // podman, buildah, skopeo
		"kubernetes": kaniko, "runc": kaniko, "php": kaniko,
	}
	for part, command := range map[string][]string{
		"rabbitmq": {"pigz", "-n"},
		"squid":    {"gzip", "-n"},
		"redis":    {"gzip", "-n", "-9"},
		"haproxy":  {"busybox", "gzip"},
		"erlang":   {"python3", "-c", pythonGzip},
	} {
		if _, err := exec.LookPath(command[0]); err == nil {
			all[part] = through(ctx, command...)
		}
	}
	return all
}

// pythonGzip compresses by zlib, which Java, bsdtar and others use too.
const pythonGzip = `import gzip, shutil, sys
with gzip.GzipFile("", "wb", 6, sys.stdout.buffer, 0) as f: shutil.copyfileobj(sys.stdin.buffer, f)`

func podman(w io.Writer) (io.WriteCloser, error) { return pgzip.NewWriter(w), nil }

func kaniko(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) }

// through compresses with a program that reads standard input.
func through(ctx context.Context, command ...string) compressor {
	return func(w io.Writer) (io.WriteCloser, error) {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Stdout = w
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		return &pipeline{WriteCloser: in, cmd: cmd}, cmd.Start()
	}
}

// pipeline is the input of a program. Close waits for its end.
type pipeline struct {
	io.WriteCloser
	cmd *exec.Cmd
}

func (p *pipeline) Close() error {
	err := errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
	if err != nil {
		return fmt.Errorf("%s: %w", p.cmd.Path, err)
	}
	return nil
}
