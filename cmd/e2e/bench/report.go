//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is what came out; it is what --json writes.
type report struct {
	Machine machineFacts `json:"machine"`
	Corpus  corpusFacts  `json:"corpus"`
	Runs    int          `json:"runs"`
	Compact compactFacts `json:"compact"`
	Save    []row        `json:"save"`
	Load    []row        `json:"load"`
	Copy    []row        `json:"copy"`
	Line    lineFacts    `json:"line"`
	Ferry   ferryFacts   `json:"ferry"`
	Serve   serveFacts   `json:"serve"`
	Volumes volumeFacts  `json:"volumes"`
	Goals   []goal       `json:"goals"`
}

type machineFacts struct {
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	Memory     int64  `json:"memoryBytes"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"fileSystem"`
	Go         string `json:"go"`
}

type corpusFacts struct {
	Source    string `json:"source"`
	Images    int    `json:"images"`
	Platforms int    `json:"platforms"`
	Blobs     int    `json:"blobs"`
	Bytes     int64  `json:"bytes"`
}

// row is a tool and what was measured of it. Median is taken number by number.
type row struct {
	Tool    tool     `json:"tool"`
	Samples []sample `json:"samples"`
	Median  sample   `json:"median"`
	Fastest float64  `json:"fastestSeconds"`
	Slowest float64  `json:"slowestSeconds"`
	Failed  string   `json:"failed,omitempty"`
}

// ferryFacts are measurements of ferry alone.
type ferryFacts struct {
	WarmPack     sample `json:"warmPack"`
	SecondUnpack sample `json:"secondUnpack"`
	XZPack       sample `json:"xzPack"`
	ManyPack     sample `json:"manyPack"`
	ManyUnpack   sample `json:"manyUnpack"`
	ListTags     sample `json:"listTags"`
}

// median returns the middle of the values, or the mean of both middles.
func median[T int64 | float64](values []T) T {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (r *row) summarise() {
	if len(r.Samples) == 0 {
		return
	}
	middle := func(of func(sample) int64) int64 {
		var values []int64
		for _, s := range r.Samples {
			values = append(values, of(s))
		}
		return median(values)
	}
	var wall, cpu []float64
	for _, s := range r.Samples {
		wall, cpu = append(wall, s.Wall), append(cpu, s.CPU)
	}
	r.Fastest, r.Slowest = slices.Min(wall), slices.Max(wall)
	r.Median.Wall, r.Median.CPU = median(wall), median(cpu)
	r.Median.Memory = middle(func(s sample) int64 { return s.Memory })
	r.Median.Written = middle(func(s sample) int64 { return s.Written })
	r.Median.Wire = middle(func(s sample) int64 { return s.Wire })
	r.Median.Archive = middle(func(s sample) int64 { return s.Archive })
	r.Median.Requests = middle(func(s sample) int64 { return s.Requests })
}

// print writes the report as tables.
func (r *report) print(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%d x %s, %d GB, Linux %s, %s\n", m.CPUs, m.CPU, m.Memory/1e9, m.Kernel, m.FileSystem)
	fmt.Fprintf(w, "%d images for %d platforms of %s: %d blobs, %d MB\n",
		r.Corpus.Images, r.Corpus.Platforms, r.Corpus.Source, r.Corpus.Blobs, r.Corpus.Bytes/1e6)
	fmt.Fprint(w, `Registry: CNCF distribution on loopback, plain http, a process of its own, content in files and in the page cache.
Sync: every archive is synced to the disk within the time that is shown, the registry syncs every blob that it takes;
folders on the way are not synced. Before each run everything is synced. Memory is that of the whole process tree.
`)
	if len(r.Save) > 0 {
		if err := r.printPlain(w); err != nil {
			return err
		}
	}
	if err := r.Compact.print(w); err != nil {
		return err
	}
	if err := r.Serve.print(w, r.Runs, r.Corpus.Bytes); err != nil {
		return err
	}
	if err := r.Volumes.print(w, r.Runs); err != nil {
		return err
	}
	return r.printGoals(w)
}

// printPlain writes what was measured of plain bundles and copy.
func (r *report) printPlain(w io.Writer) error {
	if err := printRows(w, "SAVING: all images from a registry into one file", r.Save, r.Runs); err != nil {
		return err
	}
	if err := printRows(w, "LOADING: one file into an empty registry", r.Load, r.Runs); err != nil {
		return err
	}
	if err := printRows(w, "COPYING: all images from a registry into an empty one", r.Copy, r.Runs); err != nil {
		return err
	}
	return r.printFerry(w)
}

func printRows(w io.Writer, title string, rows []row, runs int) error {
	fmt.Fprintf(w, "\n%s (medians of %d)\n", title, runs)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "tool\twall s\tfastest-slowest\tferry/tool\tCPU s\tferry/tool\tpeak MB\twire MB\trequests\twritten MB\tarchive MB\t")
	ferry := find(rows, ferryTool().Name).Median
	for _, r := range rows {
		if r.Failed != "" {
			fmt.Fprintf(table, "%s\tfailed\t\t\t\t\t\t\t\t\t\t\n", r.Tool.Name)
			continue
		}
		s := r.Median
		fmt.Fprintf(table, "%s\t%.2f\t%.2f-%.2f\t%s\t%.2f\t%s\t%d\t%d\t%d\t%d\t%d\t\n",
			r.Tool.Name, s.Wall, r.Fastest, r.Slowest, ratio(ferry.Wall, s.Wall), s.CPU, ratio(ferry.CPU, s.CPU),
			s.Memory/1e6, s.Wire/1e6, s.Requests, s.Written/1e6, s.Archive/1e6)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		about := slices.DeleteFunc([]string{r.Tool.Name, r.Tool.Version, r.Tool.Note}, empty)
		fmt.Fprintln(w, " ", strings.Join(about, ", "))
	}
	return nil
}

func empty(s string) bool { return s == "" }

// tie is how far apart two times may be and count as equal.
const tie = 0.10

// ratio returns a/b as text; within a tenth of 1 it is a tie, and of ferry itself it says nothing.
func ratio(a, b float64) string {
	if b == 0 || a == b {
		return "-"
	}
	q := a / b
	if q > 1-tie && q < 1+tie {
		return fmt.Sprintf("%.2f tie", q)
	}
	return fmt.Sprintf("%.2f", q)
}

// find returns the row of a tool, or an empty one.
func find(rows []row, name string) row {
	for _, r := range rows {
		if r.Tool.Name == name {
			return r
		}
	}
	return row{}
}

func (r *report) printFerry(w io.Writer) error {
	fmt.Fprint(w, "\nFERRY ALONE (once each)\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\twall s\tCPU s\tpeak MB\twire MB\twritten MB\tarchive MB\trequests\t")
	for _, line := range []struct {
		what string
		s    sample
	}{
		{"pack again, warm --store", r.Ferry.WarmPack},
		{"unpack again", r.Ferry.SecondUnpack},
		{"pack to .tar.xz", r.Ferry.XZPack},
		{fmt.Sprintf("pack %d images", r.Corpus.Images*variants), r.Ferry.ManyPack},
		{fmt.Sprintf("unpack %d images", r.Corpus.Images*variants), r.Ferry.ManyUnpack},
		{fmt.Sprintf("list %d tags", taggedRepositories*tagsInEach), r.Ferry.ListTags},
		{"pack over a line", r.Line.Pack},
		{"copy over a line", r.Line.Copy},
	} {
		s := line.s
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t%s\t\n", line.what, s.Wall, s.CPU, s.Memory/1e6, s.Wire/1e6,
			s.Written/1e6, s.Archive/1e6, requests(s))
	}
	return table.Flush()
}

// requests lists what a registry was asked, in short.
func requests(s sample) string {
	var all []string
	for kind, n := range s.Counts.Requests {
		all = append(all, fmt.Sprintf("%d %s", n, kind))
	}
	slices.SortFunc(all, func(a, b string) int {
		_, a, _ = strings.Cut(a, " ")
		_, b, _ = strings.Cut(b, " ")
		return strings.Compare(a, b)
	})
	return strings.Join(all, ", ")
}
