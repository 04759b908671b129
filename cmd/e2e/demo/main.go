// Command demo shows the whole trip on one machine: it builds ferry, puts real multi-architecture images into a
// registry, packs, inspects, verifies and unpacks them into a second, empty registry, and then proves over plain HTTP
// that everything arrived unchanged.
//
// It takes Go and nothing else, leaves nothing behind and nothing running, and exits with 0 when all is equal, else 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/ferrycli"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Now()
	err := run(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("\nThe demo took %.0f s, has removed its files and left nothing running.\n", time.Since(start).Seconds())
}

// trip is one run of the demo.
type trip struct {
	dir             string
	ferry           string
	source, target  *distribution.Server
	images          []corpus.Image
	targetNamespace string
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "ferry-demo-")
	if err != nil {
		return err
	}
	t := &trip{dir: dir, targetNamespace: "k8s-use"}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, step := range []func(context.Context) error{t.build, t.fill, t.list, t.carry, t.prove} {
		if err := step(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the registries and removes the files.
func (t *trip) close() error {
	var errs []error
	for _, s := range []*distribution.Server{t.source, t.target} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(t.dir))...)
}

func (t *trip) build(ctx context.Context) (err error) {
	fmt.Println("# build ferry")
	t.ferry, err = ferrycli.Build(ctx, t.dir)
	return err
}

// fill starts both registries and puts the images into the first.
func (t *trip) fill(ctx context.Context) (err error) {
	fmt.Println("# cross-compile a few programs and make images of them (the first time takes a minute)")
	layout, err := corpus.NewLayout(filepath.Join(t.dir, "layout"))
	if err != nil {
		return err
	}
	if t.images, err = corpus.Demo(ctx, layout); err != nil {
		return err
	}
	if t.source, err = distribution.Start(ctx, distribution.Options{}); err != nil {
		return err
	}
	if t.target, err = distribution.Start(ctx, distribution.Options{}); err != nil {
		return err
	}
	fmt.Printf("# two CNCF distribution registries: %s with the images, %s empty\n", t.source.Host(), t.target.Host())
	return layout.Push(ctx, wire.Registry{URL: t.source.URL()}, t.images)
}

// list writes images.list and shows it.
func (t *trip) list(context.Context) error {
	list := corpus.List(t.source.Host(), t.images)
	fmt.Printf("\n$ cat images.list\n%s", list)
	return os.WriteFile(filepath.Join(t.dir, "images.list"), []byte(list), 0o644)
}

// carry runs the commands of the trip, as a user would.
func (t *trip) carry(ctx context.Context) error {
	for _, args := range [][]string{
		{"pack", "-f", "images.list", "-o", "k8s.tar.zst"},
		{"inspect", "k8s.tar.zst"},
		{"verify", "k8s.tar.zst"},
		{"unpack", "k8s.tar.zst", t.target.Host() + "/" + t.targetNamespace},
	} {
		line := "ferry " + strings.Join(args, " ")
		fmt.Printf("\n$ %s\n", line)
		if err := t.run(ctx, args); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

// run runs ferry in the folder of the demo. It ends with ctx, given time to clean up.
func (t *trip) run(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, t.ferry, args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "HOME="+t.dir, "XDG_CACHE_HOME="+filepath.Join(t.dir, "cache"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
