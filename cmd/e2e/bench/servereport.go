//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

const (
	serveShare  = 0.8 // of distribution's rate that ferry serve is to have
	firstSecond = 0.2 // in which the first manifest is to be there
)

func (f serveFacts) print(w io.Writer, runs int, bytes int64) error {
	if len(f.Rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nSERVING all images, from one bundle or from files (medians of %d)\n", runs)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "client\tserver\twall s\tMB/s\trate of ferry/server\tclient CPU s\tserver CPU s\tserver peak MB\t")
	for _, r := range f.Rows {
		m := r.Median
		fmt.Fprintf(table, "%s\t%s\t%.2f\t%.0f\t%s\t%.2f\t%.2f\t%d\t\n", r.Client, r.Server, m.Wall, float64(bytes)/1e6/m.Wall,
			ratio(m.Wall, f.row(serverFerry, r.Client).Median.Wall), m.CPU, m.ServerCPU, m.ServerMemory/1e6)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	first := slices.Clone(f.First)
	fmt.Fprintf(w, "first manifest of a bundle of %.1f GB: %.3f s from the start of the process\n", float64(f.Large)/1e9, median(first))
	fmt.Fprintf(w, "%d pulls at once: %d MB at most\n", manyPulls, f.ManyMemory/1e6)
	return nil
}

// judgeServe compares ferry serve with its goals. The rate is that of a client that proves what it gets, as nodes do.
func (r *report) judgeServe() {
	f := r.Serve
	if len(f.Rows) == 0 {
		return
	}
	ferry, other := f.row(serverFerry, clientCrane).Median, f.row(serverDistribution, clientCrane).Median
	share := other.Wall / ferry.Wall
	r.goal(fmt.Sprintf("serve has %.1f of the rate of distribution, by %s", serveShare, clientCrane), share >= serveShare,
		"%.2f: %.2f s against %.2f s", share, ferry.Wall, other.Wall)
	first := median(slices.Clone(f.First))
	r.goal("the first manifest of a large bundle is there at once", first < firstSecond, "%.3f s, at most %.1f s", first, firstSecond)
	r.goal(fmt.Sprintf("%d pulls at once take at most 200 MB of memory", manyPulls), f.ManyMemory <= memoryLimit, "%d MB", f.ManyMemory/1e6)
}
