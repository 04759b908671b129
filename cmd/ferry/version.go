package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
)

// version is set by the Makefile's release target; other builds have the version that Go recorded.
var version string

func newVersionCommand(std *stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of ferry and of the bundles that it writes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return runVersion(std)
		},
	}
}

func runVersion(std *stdio) error {
	_, err := fmt.Fprintf(std.Out, "ferry %s (bundle format %d, %s, %s/%s)\n",
		ferryVersion(), bundle.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// ferryVersion returns the version of this program, such as v0.1.0.
func ferryVersion() string {
	recorded := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		recorded = info.Main.Version
	}
	return cmp.Or(version, recorded, "(devel)")
}
