package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/ferrycli"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// What all stories share; TestMain sets both.
var (
	ferryBin  string
	sharedDir string
)

func TestMain(m *testing.M) {
	code, err := runStories(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runStories(m *testing.M) (code int, err error) {
	if sharedDir, err = os.MkdirTemp("", "ferry-e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(sharedDir)
	if ferryBin, err = ferrycli.Build(context.Background(), sharedDir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// stock is a set of images and a folder from which a registry serves them.
type stock struct {
	images []corpus.Image
	layout corpus.Layout
	root   string
}

// demoStock builds the demo's images, once, and fills the folder of a registry with them.
var demoStock = sync.OnceValues(func() (stock, error) {
	ctx := context.Background()
	layout, err := corpus.NewLayout(filepath.Join(sharedDir, "layout"))
	if err != nil {
		return stock{}, err
	}
	images, err := corpus.Demo(ctx, layout)
	if err != nil {
		return stock{}, err
	}
	s := stock{images: images, layout: layout, root: filepath.Join(sharedDir, "registry")}
	return s, s.fill(ctx)
})

// fill puts the images into the folder from which a registry is to serve them, foreign layers included.
func (s stock) fill(ctx context.Context) (err error) {
	open, err := distribution.Start(ctx, distribution.Options{Root: s.root, AllowURLs: []string{"."}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	return s.layout.Push(ctx, wire.Registry{URL: open.URL()}, s.images)
}
