package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/server/cache"
)

const (
	// serveFrames is how many bytes of frames are held of each bundle.
	serveFrames = 64 << 20
	// serveGarbage is how large garbage becomes before it is collected, in percent of all else: what makes layers holds much and
	// leaves little.
	serveGarbage = 30
)

// limitServeGarbage holds garbage to serveGarbage, unless something else was said by GOGC.
func limitServeGarbage() {
	const usual = 100
	if before := debug.SetGCPercent(serveGarbage); before != usual {
		debug.SetGCPercent(before)
	}
}

// makingOptions are the flags that say how layers of compact bundles are made for who wants them.
type makingOptions struct {
	Recreate  int
	Cache     string // folder; empty: none
	CacheSize string
}

// add defines the flags.
func (o *makingOptions) add(set *pflag.FlagSet) {
	set.IntVar(&o.Recreate, "recreate", 2, "make `N` layers of compact bundles at a time, which take some 170 MB each; who wants another waits")
	set.StringVar(&o.Cache, "cache", "", "keep layers of compact bundles that were made in this `FOLDER`, and give them from there")
	set.StringVar(&o.CacheSize, "cache-size", "", "keep at most `SIZE` there, such as 50GB, of what was used last (default as much as there is)")
}

// maxRecreate is the largest number that --recreate takes.
const maxRecreate = 1000

// check finds what is wrong with the flags alone.
func (o *makingOptions) check() error {
	if o.Recreate < 1 || o.Recreate > maxRecreate {
		return usagef("--recreate %d: 1 to %d", o.Recreate, maxRecreate)
	}
	if o.CacheSize != "" && o.Cache == "" {
		return usagef("--cache-size without --cache")
	}
	_, err := o.cacheSize()
	return err
}

// cacheSize returns the value of --cache-size, 0 for no limit.
func (o *makingOptions) cacheSize() (int64, error) {
	if o.CacheSize == "" {
		return 0, nil
	}
	n, err := parseSize(o.CacheSize)
	if err != nil {
		return 0, usagef("--cache-size: %w", err)
	}
	if n < 1 {
		return 0, usagef("--cache-size %s: more than nothing", o.CacheSize)
	}
	return n, nil
}

// making is what all bundles of a server share for layers that have to be made.
type making struct {
	turns *bundle.Turns
	most  int
	cache *cache.Cache // nil: none
}

// open opens the cache, if there is to be one.
func (o *makingOptions) open(std *stdio) (*making, error) {
	m := &making{turns: bundle.NewTurns(o.Recreate), most: o.Recreate}
	if o.Cache == "" {
		return m, nil
	}
	size, err := o.cacheSize()
	if err != nil {
		return nil, err
	}
	m.cache, err = cache.Open(o.Cache, cache.Options{
		MaxSize: size,
		Failed:  func(err error) { std.warn("--cache: %s", oneLine(err.Error())) },
	})
	if err != nil {
		return nil, fmt.Errorf("--cache: %w", err)
	}
	return m, nil
}

// Close ends what is being made for the cache.
func (m *making) Close() error {
	if m.cache == nil {
		return nil
	}
	return m.cache.Close()
}

// options returns how a bundle is opened.
func (m *making) options() bundle.Options {
	o := bundle.Options{Reader: reading(), Lenient: true, Turns: m.turns}
	o.Reader.MaxMemory, o.Reader.LongDecoders = serveFrames, m.most
	return o
}

// source returns the source of a bundle's blobs, with the cache before it.
func (m *making) source(b *bundle.Bundle) oci.Source {
	if m.cache == nil || !b.Head().IsCompact() {
		return b
	}
	return m.cache.Source(b, b.Direct)
}
