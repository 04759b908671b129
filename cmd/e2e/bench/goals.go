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
	lineShare   = 0.9         // of a long line's rate that is to be used
	// catalogRequests is how many requests list may make beside one a repository: what kind of registry it is, and the
	// catalog.
	catalogRequests = 4
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
	r.judgeCopy()
	r.judgeLine()
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
	asked = int(f.ListTags.Requests)
	r.goal("list asks once a repository, and for the catalog", asked <= taggedRepositories+catalogRequests,
		"%d requests for %d repositories, %.2f s", asked, taggedRepositories, f.ListTags.Wall)
	r.goal("unpack writes nothing to the disk", load.Written <= logs, "%d kB", load.Written/1e3)
}

// judgeCopy compares copy with the peers and with curl.
func (r *report) judgeCopy() {
	ferry := find(r.Copy, ferryTool().Name).Median
	if name, least := leastOfPeers(r.Copy, func(s sample) float64 { return s.CPU }); name != "" {
		r.goal("copy takes less processor time than every peer", ferry.CPU < least, "%.2f s against %s %.2f s",
			ferry.CPU, name, least)
	}
	if name, least := leastOfPeers(r.Copy, func(s sample) float64 { return float64(s.Requests) }); name != "" {
		r.goal("copy takes fewer requests than every peer", float64(ferry.Requests) < least, "%d against %s %.0f",
			ferry.Requests, name, least)
	}
	if pipe := find(r.Copy, "floor: pipe").Median.Wall; pipe > 0 {
		r.within("copy takes 1.2 of curl into curl", ferry.Wall, 1.2*pipe, fmt.Sprintf("1.2 x %.2f s", pipe))
	}
}

// judgeLine compares what went over a long line with what could have. A corpus that crosses in less than some round
// trips says nothing.
func (r *report) judgeLine() {
	if r.Corpus.Bytes < 10*lineRate {
		return
	}
	for _, of := range []struct {
		command string
		s       sample
	}{{"pack", r.Line.Pack}, {"copy", r.Line.Copy}} {
		share := r.Line.share(r.Corpus.Bytes, of.s)
		r.goal(of.command+" uses a long line", share >= lineShare, "%.0f %% of 100 Mbit/s with 50 ms each way", 100*share)
	}
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
	return leastOfPeers(rows, func(s sample) float64 { return s.Wall })
}

// leastOfPeers returns the tool that took the least of something, of those that the goals speak of; none has no name.
func leastOfPeers(rows []row, of func(sample) float64) (name string, least float64) {
	least = math.Inf(1)
	for _, r := range rows {
		if r.Tool.Gate && r.Failed == "" && of(r.Median) < least {
			name, least = r.Tool.Name, of(r.Median)
		}
	}
	return name, least
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
