package corpus

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// programs is the package path under which the programs of the images lie.
const programs = "github.com/ferry-oci/ferry/cmd/e2e/corpus/programs/"

// compile builds programs for a platform and returns them by name. The working directory must be in this module.
func compile(ctx context.Context, p ocispec.Platform, names ...string) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "ferry-e2e-programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}
	args = append(args, "-o", dir+string(filepath.Separator))
	for _, name := range names {
		args = append(args, programs+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s for %s/%s: %w\n%s", strings.Join(names, " "), p.OS, p.Architecture, err, out)
	}
	built := map[string][]byte{}
	for _, name := range names {
		if built[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return built, nil
}
