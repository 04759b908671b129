// Package goprograms installs other people's Go programs, each of a fixed version, through the Go module proxy.
package goprograms

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Packages of the programs, with the versions of their modules.
const (
	Crane  = "github.com/google/go-containerregistry/cmd/crane@v0.20.6"
	Oras   = "oras.land/oras/cmd/oras@v1.3.6"
	Regctl = "github.com/regclient/regclient/cmd/regctl@v0.11.7"
)

// Install builds a program into dir, under the last segment of its package's path.
func Install(ctx context.Context, dir, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", pkg)
	cmd.Dir = dir // outside of this module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", pkg, err, out)
	}
	return nil
}
