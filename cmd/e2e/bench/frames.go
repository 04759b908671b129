//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// recipeFacts is what parts says of the recipes of a bundle.
type recipeFacts struct {
	Engines   []engineFacts `json:"engines"`
	Kept      int           `json:"kept"` // gzip layers that are in the bundle as they are
	KeptBytes int64         `json:"keptBytes"`
	Large     int           `json:"large"` // recipes that are larger than they may be, checkpoints apart
}

// engineFacts is what an engine re-creates.
type engineFacts struct {
	Name   string `json:"name"`
	Layers int    `json:"layers"`
	Blobs  int64  `json:"blobs"` // bytes, as the next
	Plain  int64  `json:"plain"`
	Recipe int64  `json:"recipe"`
}

// sum returns all engines as one, and which part of the blobs the recipes are.
func (f recipeFacts) sum() (all engineFacts, share float64) {
	all.Name = "all"
	for _, e := range f.Engines {
		all.Layers, all.Blobs, all.Plain, all.Recipe = all.Layers+e.Layers, all.Blobs+e.Blobs, all.Plain+e.Plain, all.Recipe+e.Recipe
	}
	return all, float64(all.Recipe) / float64(max(all.Blobs, 1))
}

// frameFacts is a bundle with long frames of at most Limit plain bytes.
type frameFacts struct {
	Limit   int64 `json:"limit"`
	Archive int64 `json:"archiveBytes"`
	radiusFacts
}

// radiusFacts is what parts says about a bad byte in the plain layers of a bundle: how many images need what is behind it
// in its frame.
type radiusFacts struct {
	Frames int     `json:"frames"` // long ones
	Images int     `json:"images"`
	Mean   float64 `json:"mean"` // of all bytes of the file that are in long frames
	Worst  int     `json:"worst"`
}

// measureFrames packs a set with long frames of several sizes, from a store that has the recipes. Of the largest, the
// bundle is there.
func (b *bench) measureFrames(ctx context.Context, s set, from *registry, store string) (facts []frameFacts, err error) {
	for _, limit := range []int64{64 << 20, 128 << 20, 256 << 20} {
		progress("frames of at most %d MiB", limit>>20)
		t := tool{
			Name: "frames", archive: "frames.tar.zst",
			save: fmt.Sprintf(`ferry pack -q --compact --level %s --frame-size %dMiB --store "$STORE" -f "$LIST" -o "$OUT"`, levelBest, limit>>20),
		}
		r, err := b.newRoom(t.Name, from.host, "", s.Images, store)
		if err != nil {
			return nil, err
		}
		out := filepath.Join(b.work, t.archive)
		packed, err := b.saveTo(ctx, t, r, out)
		if err != nil {
			return nil, describe(t, "pack", err)
		}
		if facts, err = b.addFrames(ctx, facts, limit, out, packed.Archive); err != nil {
			return nil, err
		}
	}
	whole := b.archives[compactTool(levelBest).Name]
	info, err := os.Stat(whole)
	if err != nil {
		return nil, err
	}
	return b.addFrames(ctx, facts, 512<<20, whole, info.Size())
}

// addFrames adds what there is to say of the frames of a bundle.
func (b *bench) addFrames(ctx context.Context, to []frameFacts, limit int64, bundle string, size int64) ([]frameFacts, error) {
	f := frameFacts{Limit: limit, Archive: size}
	_, err := b.ask(ctx, &f.radiusFacts, `parts radius "$BUNDLE"`, "BUNDLE="+bundle)
	return append(to, f), err
}
