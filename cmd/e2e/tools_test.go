package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// requireTools skips a story whose tools are not all there. Where FERRY_REQUIRE_TOOLS is set, it fails.
func requireTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("FERRY_REQUIRE_TOOLS") != "" {
				t.Fatalf("%s is not installed", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

// requireRoot skips a story that only root can tell.
func requireRoot(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("takes root on Linux")
	}
}

// tool runs a foreign program in the folder of the story, which is to succeed, and returns its standard output.
func (w *world) tool(name string, args ...string) string {
	w.Helper()
	stdout, _ := w.both(name, args...)
	return stdout
}

// both is tool with the standard error.
func (w *world) both(name string, args ...string) (string, string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), name, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String()
}

// containerd runs a containerd that has nothing in common with one of this machine, and returns its socket. It takes
// root and ends with the test.
func containerd(t *testing.T) (socket string) {
	t.Helper()
	requireTools(t, "containerd", "ctr")
	requireRoot(t)
	dir, err := os.MkdirTemp("", "ferry-cd-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "c.sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, filepath.Join(dir, "t.sock"))
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(disabledPlugins+config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "--config", filepath.Join(dir, "config.toml"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for exec.CommandContext(ctx, "ctr", "--address", socket, "version").Run() != nil {
		select {
		case err := <-ended:
			t.Fatalf("containerd ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			t.Fatal("containerd does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return socket
}

// disabledPlugins is what a containerd that runs nothing does not need and a container cannot give.
const disabledPlugins = `disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
`
