//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// goal is something that the project wants to reach, and whether this run did.
type goal struct {
	What   string `json:"what"`
	Result string `json:"result"` // pass, tie or MISSED
	Detail string `json:"detail"`
}

const (
	memoryLimit = 200_000_000 // bytes, whatever the number of images
	logs        = 1_000_000   // bytes that unpack may write to the disk
)

// judge compares the measurements with the goals.
func (r *report) judge() {
	save, load := find(r.Save, ferryTool().Name).Median, find(r.Load, ferryTool().Name).Median
	if name, fastest := fastestPeer(r.Save); name != "" {
		r.within("pack is as fast as the fastest peer", save.Wall, fastest, fmt.Sprintf("%s %.2f s", name, fastest))
	}
	if name, fastest := fastestPeer(r.Load); name != "" {
		push := find(r.Load, "floor: push").Median.Wall
		limit := max(0.6*fastest, 1.2*push)
		r.within("unpack takes 0.6 of the fastest peer, or 1.2 of curl", load.Wall, limit,
			fmt.Sprintf("%s %.2f s, curl %.2f s, so %.2f s", name, fastest, push, limit))
	}
	f := r.Ferry
	r.memory("pack", save, f.ManyPack)
	r.memory("unpack", load, f.ManyUnpack)
	fetched := f.WarmPack.Counts.Requests["GET blob"]
	r.goal("pack with a warm store fetches no blob", fetched == 0, "%d blobs, %.2f s", fetched, f.WarmPack.Wall)
	uploads := f.SecondUnpack.Counts.Uploads() + f.SecondUnpack.Counts.Requests["POST upload"]
	r.goal("a second unpack uploads nothing", uploads == 0, "%d uploads", uploads)
	asked := 0
	for _, n := range f.SecondUnpack.Counts.Requests {
		asked += n
	}
	most := r.Corpus.Images + r.Corpus.Blobs + 1 // and /v2/
	r.goal("a second unpack asks at most once an image and blob", asked <= most,
		"%d requests, %d images and blobs", asked, most-1)
	r.goal("unpack writes nothing to the disk", load.Written <= logs, "%d kB", load.Written/1e3)
}

// goal adds a goal that is reached or not.
func (r *report) goal(what string, reached bool, format string, args ...any) {
	result := "pass"
	if !reached {
		result = "MISSED"
	}
	r.Goals = append(r.Goals, goal{What: what, Result: result, Detail: fmt.Sprintf(format, args...)})
}

// within adds a goal that a time stays below a limit; a little more is a tie.
func (r *report) within(what string, got, limit float64, against string) {
	r.goal(what, got <= limit*(1+tie), "%.2f s against %s", got, against)
	if last := &r.Goals[len(r.Goals)-1]; last.Result == "pass" && got > limit {
		last.Result = "tie"
	}
}

// memory adds the goal for the memory of some images and of ten times as many.
func (r *report) memory(command string, few, many sample) {
	r.goal(command+" takes at most 200 MB of memory", max(few.Memory, many.Memory) <= memoryLimit,
		"%d MB for %d images, %d MB for %d", few.Memory/1e6, r.Corpus.Images, many.Memory/1e6, r.Corpus.Images*variants)
}

// fastestPeer returns the fastest of the tools that the goals speak of, and its time; none has no name.
func fastestPeer(rows []row) (name string, wall float64) {
	wall = math.Inf(1)
	for _, r := range rows {
		if r.Tool.Gate && r.Failed == "" && r.Median.Wall < wall {
			name, wall = r.Tool.Name, r.Median.Wall
		}
	}
	return name, wall
}

// missed reports whether a goal was missed.
func (r *report) missed() bool {
	for _, g := range r.Goals {
		if g.Result == "MISSED" {
			return true
		}
	}
	return false
}

func (r *report) printGoals(w io.Writer) error {
	fmt.Fprint(w, "\nGOALS\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, g := range r.Goals {
		fmt.Fprintf(table, "%s\t%s\t%s\n", g.Result, g.What, g.Detail)
	}
	return table.Flush()
}
