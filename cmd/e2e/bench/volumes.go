//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// volumeFacts compare unpack from the volumes of a bundle, in two folders, with unpack from its file.
type volumeFacts struct {
	File    row `json:"file"`
	Volumes row `json:"volumes"`
}

// volumes is in how many volumes the bundle is cut, half of them in each folder.
const volumes = 4

// packVolumes has the folders $ONE and $TWO with volumes of $SIZE bytes.
const packVolumes = `ferry pack -q --split "$SIZE" -f "$LIST" -o "$ONE/k8s.tar.zst"
mv "$ONE"/k8s.tar.zst.003 "$ONE"/k8s.tar.zst.004 "$TWO"
cp "$ONE"/k8s.tar.zst.sha256 "$TWO"`

// measureVolumes unpacks from a file and from volumes, in turns.
func (b *bench) measureVolumes(ctx context.Context) (f volumeFacts, err error) {
	f.File.Tool = tool{Name: "ferry unpack, one file", load: `ferry unpack -q "$FILE" "$DST"`}
	f.Volumes.Tool = tool{Name: fmt.Sprintf("ferry unpack, %d volumes in 2 folders", volumes), load: `ferry unpack -q "$ONE" "$TWO" "$DST"`}
	env, err := b.packForVolumes(ctx)
	if err != nil {
		return f, err
	}
	for i := range b.opts.runs {
		both := []*row{&f.File, &f.Volumes}
		for j := range both {
			r := both[(i+j)%len(both)]
			progress("%s, run %d of %d", r.Tool.Name, i+1, b.opts.runs)
			s, err := b.unpackVolumes(ctx, r.Tool, env)
			if err != nil {
				return f, describe(r.Tool, "load", err)
			}
			r.Samples = append(r.Samples, s)
		}
	}
	f.File.summarise()
	f.Volumes.summarise()
	return f, nil
}

// packForVolumes packs the images into a file and into volumes, and returns the environment that names them.
func (b *bench) packForVolumes(ctx context.Context) (env []string, err error) {
	file, err := b.packToServe(ctx)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	one, two := filepath.Join(b.work, "volumes-1"), filepath.Join(b.work, "volumes-2")
	if err := errors.Join(os.MkdirAll(one, 0o755), os.MkdirAll(two, 0o755)); err != nil {
		return nil, err
	}
	env = []string{"FILE=" + file, "ONE=" + one, "TWO=" + two, fmt.Sprintf("SIZE=%d", (info.Size()+volumes-1)/volumes)}
	r, err := b.newRoom("volumes", b.source.host, "", b.set.Images, env...)
	if err != nil {
		return nil, err
	}
	_, err = b.run(ctx, r, packVolumes)
	return env, err
}

// unpackVolumes unpacks into an empty registry and checks that every image is there.
func (b *bench) unpackVolumes(ctx context.Context, t tool, env []string) (s sample, err error) {
	to, err := b.newTarget(ctx, "volumes")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, to.remove()) }()
	r, err := b.newRoom("volumes", "", to.host+"/"+prefix, b.set.Images, env...)
	if err != nil {
		return s, err
	}
	if s, err = b.run(ctx, r, t.load, to.registry); err != nil {
		return s, err
	}
	return s, b.check(ctx, to.registry, b.set.Images, whole)
}

func (f volumeFacts) print(w io.Writer, runs int) error {
	if len(f.File.Samples) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nVOLUMES (medians of %d)\n", runs)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\twall s\tfastest-slowest\tCPU s\tpeak MB\t")
	for _, r := range []row{f.File, f.Volumes} {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f-%.2f\t%.2f\t%d\t\n", r.Tool.Name, r.Median.Wall, r.Fastest, r.Slowest, r.Median.CPU, r.Median.Memory/1e6)
	}
	return table.Flush()
}

// judgeVolumes compares the two.
func (r *report) judgeVolumes() {
	f := r.Volumes
	if len(f.File.Samples) == 0 {
		return
	}
	file := f.File.Median.Wall
	r.within("unpack from volumes in two folders is as fast as from one file", f.Volumes.Median.Wall, file, fmt.Sprintf("%.2f s", file))
}
