// Command ferry carries container images across an air gap: it packs images of every architecture into one file, and
// pushes that file to a registry on the other side.
//
// This is the only room of ferry that prints, reads the environment or exits. Each command has a file of its own, with
// its options and a function that runs it; here are the command table and the way from an error to an exit code.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], newStdio()))
}

// run is ferry from its arguments to its exit code.
func run(args []string, std *stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that the second signal ends the process at once
	err := execute(ctx, args, std)
	if err != nil && ctx.Err() != nil {
		err = &interruptedError{err}
	}
	return std.report(err)
}

// execute runs the command that args name. What goes wrong before a command begins is a mistake in args.
func execute(ctx context.Context, args []string, std *stdio) error {
	began := false
	root := newRoot(std)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		err := cmd.ValidateFlagGroups() // cobra does it later, too
		began = err == nil
		return err
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !began {
		return &usageError{err}
	}
	return err
}

// newRoot returns the command table.
func newRoot(std *stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "ferry",
		Short: "Carry container images across an air gap",
		Long: `ferry packs container images, every architecture, into one file that any OCI tool can read, and pushes that file to a
registry on the other side of an air gap.

Results go to stdout, everything for the eye to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 the bundle is damaged
or not the expected one, 4 something asked for is missing, 130 interrupted.`,
		Example: `  ferry pack -f images.list -o k8s.tar.zst
  ferry verify k8s.tar.zst
  ferry unpack k8s.tar.zst harbor.example/k8s`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.PersistentFlags().BoolVarP(&std.Quiet, "quiet", "q", false, "print results, warnings and errors only")
	root.PersistentFlags().BoolVarP(&std.Verbose, "verbose", "v", false, "print what was skipped or tried again, and why")
	root.MarkFlagsMutuallyExclusive("quiet", "verbose")
	setUsage(root)
	root.AddCommand(
		newPackCommand(std),
		newListCommand(std),
		newImagesCommand(std),
		newVerifyCommand(std),
		newInspectCommand(std),
		newMergeCommand(std),
		newUnpackCommand(std),
		newCopyCommand(std),
		newServeCommand(std),
		newHostsCommand(std),
		newLoginCommand(std),
		newLogoutCommand(std),
		newVersionCommand(std),
	)
	return root
}
