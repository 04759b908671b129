//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/link"
)

// What a long line is like: 100 Mbit/s in each direction, each byte 50 ms late.
const (
	lineRate  = 100_000_000 / 8 // bytes a second
	lineDelay = 50 * time.Millisecond
)

// lineFacts are measurements of ferry over a long line to each registry.
type lineFacts struct {
	Rate int64  `json:"bytesPerSecond"` // of the line, in each direction
	Pack sample `json:"pack"`
	Copy sample `json:"copy"`
}

// share returns which part of the line's rate a run used that moved content, in bytes, once over each line.
func (f lineFacts) share(content int64, s sample) float64 {
	return float64(content) / s.Wall / float64(f.Rate)
}

// measureLine packs, and copies, over a long line.
func (b *bench) measureLine(ctx context.Context) (f lineFacts, err error) {
	progress("ferry over a line of 100 Mbit/s and 50 ms in each direction")
	f.Rate = lineRate
	opts := link.Options{Delay: lineDelay, Rate: lineRate}
	near, err := link.Start(ctx, b.source.host, opts)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, near.Close()) }()
	t := ferryTool()
	r, err := b.newRoom("line", near.Host(), "", b.set.Images)
	if err != nil {
		return f, err
	}
	if f.Pack, err = b.saveTo(ctx, t, r, filepath.Join(b.work, "line.tar.zst")); err != nil {
		return f, describe(t, "pack over a line", err)
	}
	f.Copy, err = b.copyOverLine(ctx, t, near.Host(), opts)
	return f, describe(t, "copy over a line", err)
}

// copyOverLine copies from one end of a line to one behind another line.
func (b *bench) copyOverLine(ctx context.Context, t tool, src string, opts link.Options) (s sample, err error) {
	target, err := b.newTarget(ctx, "line")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, target.remove()) }()
	far, err := link.Start(ctx, target.host, opts)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	r, err := b.newRoom("line", src, far.Host()+"/"+prefix, b.set.Images)
	if err != nil {
		return s, err
	}
	if s, err = b.run(ctx, r, t.copy, b.source, target.registry); err != nil {
		return s, err
	}
	return s, errors.Join(b.check(ctx, target.registry, b.set.Images, whole), os.RemoveAll(r.dir))
}
