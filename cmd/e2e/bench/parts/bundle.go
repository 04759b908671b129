package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// openBundle is a bundle and its file.
type openBundle struct {
	*bundle.Bundle
	file *os.File
	size int64
}

// open opens the bundle that the arguments name.
func open(ctx context.Context, flags *flag.FlagSet, args []string) (b openBundle, err error) {
	if err := flags.Parse(args); err != nil {
		return b, err
	}
	if b.file, err = os.Open(flags.Arg(0)); err != nil {
		return b, err
	}
	info, err := b.file.Stat()
	if err != nil {
		return b, err
	}
	b.size = info.Size()
	b.Bundle, err = bundle.Open(ctx, b.file, b.size, bundle.Options{})
	return b, err
}

// engine is what an engine re-creates in a bundle; sizes are bytes.
type engine struct {
	Name   string `json:"name"`
	Layers int    `json:"layers"`
	Blobs  int64  `json:"blobs"`
	Plain  int64  `json:"plain"`
	Recipe int64  `json:"recipe"`
}

// A recipe without its checkpoints may have so many bytes, and so many more for each member and each flush.
const (
	recipeBytes = 200
	recipeEach  = 16
)

// recipes counts recipes by engine.
func recipes(ctx context.Context, flags *flag.FlagSet, args []string) (any, error) {
	b, err := open(ctx, flags, args)
	if err != nil {
		return nil, err
	}
	defer b.file.Close()
	var result struct {
		Engines   []engine `json:"engines"`
		Kept      int      `json:"kept"`
		KeptBytes int64    `json:"keptBytes"`
		Large     int      `json:"large"`
	}
	h := b.Head()
	for _, k := range h.Kept {
		result.Kept++
		result.KeptBytes += h.Members[k.Blob].Size
	}
	for _, r := range h.Recreated {
		i := slices.IndexFunc(result.Engines, func(e engine) bool { return e.Name == r.Engine })
		if i < 0 {
			i = len(result.Engines)
			result.Engines = append(result.Engines, engine{Name: r.Engine})
		}
		e := &result.Engines[i]
		e.Layers++
		e.Blobs, e.Plain, e.Recipe = e.Blobs+r.Size, e.Plain+h.Members[r.Plain].Size, e.Recipe+h.Members[r.Recipe].Size
		large, err := b.large(ctx, h.Members[r.Recipe])
		if err != nil {
			return nil, fmt.Errorf("recipe of %s: %w", r.Digest, err)
		}
		if large {
			result.Large++
		}
	}
	slices.SortFunc(result.Engines, func(x, y engine) int { return cmp.Compare(y.Layers, x.Layers) })
	return result, nil
}

// large reports whether a recipe is larger than it may be.
func (b openBundle) large(ctx context.Context, m bundle.Member) (bool, error) {
	f, err := b.Open(ctx, oci.Repository{}, m.Descriptor(), 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	encoded, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	r, err := gzip.Decode(encoded)
	if err != nil {
		return false, err
	}
	most := recipeBytes
	for i := range r.Members {
		r.Members[i].Checkpoints = nil
		most += recipeEach * (1 + len(r.Members[i].Flushes))
	}
	return len(r.Encode()) > most, nil
}

// radius tells how many images a bad byte hits that is somewhere in the frames of the plain layers: those that need a
// layer that ends behind it in its frame. Within a frame plain bytes are taken to shrink alike.
func radius(ctx context.Context, flags *flag.FlagSet, args []string) (any, error) {
	b, err := open(ctx, flags, args)
	if err != nil {
		return nil, err
	}
	defer b.file.Close()
	table, err := compress.ReadTable(b.file, b.size)
	if err != nil {
		return nil, err
	}
	h := b.Head()
	var result struct {
		Frames int     `json:"frames"`
		Images int     `json:"images"`
		Mean   float64 `json:"mean"`
		Worst  int     `json:"worst"`
	}
	result.Images = len(h.Images)
	var bytes, hits float64
	for _, frame := range table.Frames {
		behind := map[string]bool{}
		inside := false
		for _, r := range slices.Backward(h.Recreated) {
			m := h.Members[r.Plain]
			from := max(m.Offset, frame.PlainOffset)
			to := min(m.Offset+m.Size, frame.PlainOffset+frame.PlainSize)
			if from >= to {
				continue
			}
			inside = true
			for _, name := range h.ImagesWith(r.Digest) {
				behind[name] = true
			}
			weight := float64(frame.Size) * float64(to-from) / float64(frame.PlainSize)
			bytes, hits = bytes+weight, hits+weight*float64(len(behind))
		}
		if inside {
			result.Frames++
		}
		result.Worst = max(result.Worst, len(behind))
	}
	result.Mean = hits / max(bytes, 1)
	return result, nil
}
