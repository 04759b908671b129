//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// The goals of compact bundles.
const (
	bestOfZstd9    = 0.92 // size, of zstd -9 --long=27
	maxOfZstd19    = 1.01 // size, of zstd -19 --long=27
	bestOfXZ       = 0.65 // size, of xz -9 over the layout
	compressorOfXZ = 0.25 // processor time
	packOfXZ       = 0.5  // processor time
	recipesOfBlobs = 0.0005
	compactMemory  = 500_000_000
	parseRate      = 150 // MB of plain tar for each second of a core
	twoCores       = 1.7 // times as fast as one
)

// partGoals are rates by engine, as parse has them.
func partGoals() map[string]struct{ find, recreate float64 } {
	return map[string]struct{ find, recreate float64 }{
		"docker": {22, 28},
		"podman": {50, 65},
	}
}

// judgeCompact compares what was measured of compact bundles with the goals.
func (r *report) judgeCompact() {
	for _, c := range r.Compact.Sets {
		r.judgeSet(c)
	}
	for _, p := range r.Compact.Parts {
		r.goal(p.Maker+": deflate is parsed at 150 MB/s", p.rate(p.Parse) >= parseRate, "%.0f MB/s a core", p.rate(p.Parse))
		want, ok := partGoals()[p.Maker]
		if !ok {
			continue
		}
		r.goal(fmt.Sprintf("%s: un-gzip with proof at %.0f MB/s", p.Maker, want.find), p.rate(p.Find) >= want.find,
			"%.0f MB/s a core (%s)", p.rate(p.Find), p.Engine)
		r.goal(fmt.Sprintf("%s: re-creation at %.0f MB/s", p.Maker, want.recreate), p.rate(p.Recreate) >= want.recreate,
			"%.0f MB/s a core (%s)", p.rate(p.Recreate), p.Engine)
	}
	for _, c := range r.Compact.Cores {
		r.goal(c.What+": two cores are 1.7 times as fast", c.faster() >= twoCores, "%.2f times", c.faster())
	}
}

func (r *report) judgeSet(c compactSet) {
	name := c.name() + ": "
	layers, share := c.Recipe.sum()
	r.goal(name+"every gzip layer is un-gzipped", c.Recipe.Kept == 0, "%d of %d", layers.Layers, layers.Layers+c.Recipe.Kept)
	r.goal(name+"recipes are at most 0.05 % of the blobs", share <= recipesOfBlobs, "%.4f %%", 100*share)
	r.goal(name+"a recipe has 200 bytes and 16 for each member and flush", c.Recipe.Large == 0, "%d are larger", c.Recipe.Large)
	r.goal(name+"pack and unpack take at most 500 MB of memory", max(c.Pack.Memory, c.Unpack.Memory) <= compactMemory,
		"%d and %d MB", c.Pack.Memory/1e6, c.Unpack.Memory/1e6)
	size := func(limit float64, other string) {
		ratio := float64(c.Pack.Archive) / float64(c.other(other).Archive)
		r.goal(fmt.Sprintf("%s%s is at most %.2f of %s", name, c.Level, limit, other), ratio <= limit, "%.3f", ratio)
	}
	if c.Level == levelMax {
		size(maxOfZstd19, otherZstd19)
		return
	}
	size(bestOfZstd9, otherZstd9)
	xz := c.other(otherXZ).CPU
	if xz == 0 {
		return
	}
	size(bestOfXZ, otherXZ)
	r.goal(name+"the compressor takes at most 1/4 of xz's processor time", c.Alone.CPU <= compressorOfXZ*xz,
		"%.0f s of %.0f s: %.2f", c.Alone.CPU, xz, c.Alone.CPU/xz)
	r.goal(name+"pack takes at most 1/2 of xz's processor time", c.Pack.CPU <= packOfXZ*xz,
		"%.0f s of %.0f s: %.2f", c.Pack.CPU, xz, c.Pack.CPU/xz)
}

// name tells the sets apart.
func (c compactSet) name() string {
	return fmt.Sprintf("%s, %d images", c.Level, c.Corpus.Images)
}

// print writes the measurements as tables.
func (f compactFacts) print(w io.Writer) error {
	for _, c := range f.Sets {
		if err := c.print(w); err != nil {
			return err
		}
	}
	for _, print := range []func(io.Writer) error{f.printFrames, f.printParts, f.printCores} {
		if err := print(w); err != nil {
			return err
		}
	}
	return nil
}

func (c compactSet) print(w io.Writer) error {
	fmt.Fprintf(w, "\nCOMPACT, --level %s: %d images for %d platforms of %s; %d MB of blobs, plain %d MB (once each)\n",
		c.Level, c.Corpus.Images, c.Corpus.Platforms, c.Corpus.Source, c.Corpus.Bytes/1e6, c.Plain/1e6)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\tMB\tof the blobs\tCPU s\twall s\tpeak MB\t")
	line := func(what string, s sample) {
		fmt.Fprintf(table, "%s\t%.2f\t%.3f\t%.1f\t%.1f\t%d\t\n", what, float64(s.Archive)/1e6,
			float64(s.Archive)/float64(c.Corpus.Bytes), s.CPU, s.Wall, s.Memory/1e6)
	}
	for _, o := range c.Others {
		line(o.Name, o.sample)
	}
	if c.Alone.CPU > 0 {
		line("ferry's compressor alone, plain", c.Alone)
	}
	line("ferry pack --compact", c.Pack)
	unpack := c.Unpack
	unpack.Archive = c.Pack.Archive
	line("ferry unpack", unpack)
	if err := table.Flush(); err != nil {
		return err
	}
	return c.Recipe.print(w)
}

func (f recipeFacts) print(w io.Writer) error {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "engine\tlayers\tblobs MB\tplain MB\trecipes, bytes\tof the blobs\t")
	all, _ := f.sum()
	for _, e := range append(f.Engines, all) {
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\t%d\t%.4f %%\t\n", e.Name, e.Layers, float64(e.Blobs)/1e6, float64(e.Plain)/1e6,
			e.Recipe, 100*float64(e.Recipe)/float64(max(e.Blobs, 1)))
	}
	fmt.Fprintf(table, "as they are\t%d\t%.1f\t\t\t\t\n", f.Kept, float64(f.KeptBytes)/1e6)
	return table.Flush()
}

func (f compactFacts) printParts(w io.Writer) error {
	if len(f.Parts) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nUN-GZIP AND RE-CREATION of a layer of %d MB, MB of plain tar for each second of a core (once each)\n",
		f.Parts[0].Plain/1e6)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "made by\tengine\tparse\tun-gzip, proof\tre-create\trecipe, bytes\tpeak MB\t")
	for _, p := range f.Parts {
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t%.1f\t%d\t%d\t\n", p.Maker, p.Engine, p.rate(p.Parse), p.rate(p.Find),
			p.rate(p.Recreate), p.Recipe, max(p.Find.Memory, p.Recreate.Memory)/1e6)
	}
	return table.Flush()
}

func (f compactFacts) printCores(w io.Writer) error {
	if len(f.Cores) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nONE CORE AND TWO (once each)\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\tone, s\ttwo, s\ttimes as fast\tpeak MB\t")
	for _, c := range f.Cores {
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.2f\t%d\t\n", c.What, c.One.Wall, c.Two.Wall, c.faster(),
			max(c.One.Memory, c.Two.Memory)/1e6)
	}
	return table.Flush()
}

func (f compactFacts) printFrames(w io.Writer) error {
	if len(f.Frames) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nSIZE OF LONG FRAMES, on the corpus of two point releases (once each)\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "at most MiB\tframes\tMB\tsize lost\timages hit by a bad byte, mean\tworst\tof\t")
	least := f.Frames[0].Archive
	for _, x := range f.Frames {
		least = min(least, x.Archive)
	}
	for _, x := range f.Frames {
		fmt.Fprintf(table, "%d\t%d\t%.2f\t%.2f %%\t%.1f\t%d\t%d\t\n", x.Limit>>20, x.Frames, float64(x.Archive)/1e6,
			100*(float64(x.Archive)/float64(least)-1), x.Mean, x.Worst, x.Images)
	}
	return table.Flush()
}
