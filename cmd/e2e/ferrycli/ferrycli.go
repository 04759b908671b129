// Package ferrycli builds the ferry of this checkout, for those who run it as its users do.
package ferrycli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Build compiles ferry into dir and returns the path of the program. The working directory must be in the module of
// this package. A program named by the environment's FERRY_BIN is taken instead of building one.
func Build(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("FERRY_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ferry")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "./cmd/ferry")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ferry: %w\n%s", err, out)
	}
	return bin, nil
}

// Root returns the folder of ferry's own module, from a working directory in the module of this package.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := filepath.ToSlash(strings.TrimSpace(string(out)))
	root, ok := strings.CutSuffix(mod, "/cmd/e2e/go.mod")
	if !ok {
		return "", errors.New("the working directory is not in cmd/e2e of ferry")
	}
	return filepath.FromSlash(root), nil
}
