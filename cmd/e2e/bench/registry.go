//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// registry is a CNCF distribution registry in a process of its own, over plain http, its content in files.
type registry struct {
	wire.Registry
	host string
	cmd  *exec.Cmd
}

// startRegistry runs the program with content in root.
func startRegistry(ctx context.Context, program, root string) (*registry, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	portFile := filepath.Join(root, "port")
	if err := os.RemoveAll(portFile); err != nil {
		return nil, err
	}
	r := &registry{cmd: exec.Command(program, "--root", root, "--port-file", portFile)}
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the bench, which ends the registry
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	port, err := waitFor(ctx, portFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("registry %s: %w", program, err), r.stop())
	}
	r.host = "127.0.0.1:" + port
	r.Registry = wire.Registry{URL: "http://" + r.host}
	return r, nil
}

// waitFor waits for a file to appear and returns its only line.
func waitFor(ctx context.Context, file string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		content, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(content)), nil
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the registry and waits for it.
func (r *registry) stop() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return r.cmd.Wait()
}

// counts returns what the registry was asked for since the last reset.
func (r *registry) counts(ctx context.Context) (c distribution.Counts, err error) {
	resp, err := r.ask(ctx, http.MethodGet)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// reset sets the counts to zero.
func (r *registry) reset(ctx context.Context) error {
	resp, err := r.ask(ctx, http.MethodDelete)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (r *registry) ask(ctx context.Context, method string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+distribution.CountsPath, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
