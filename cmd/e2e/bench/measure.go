//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// measure runs everything that was asked for and returns what came out.
func (b *bench) measure(ctx context.Context) (*report, error) {
	r := &report{Machine: machine(b.work), Corpus: b.set.facts(), Runs: b.opts.runs}
	var err error
	if b.opts.wants(rowsPlain) {
		if err = b.measurePlain(ctx, r); err != nil {
			return nil, err
		}
		r.judge()
	}
	if r.Compact, err = b.measureCompact(ctx); err != nil {
		return nil, err
	}
	r.judgeCompact()
	if b.opts.wants(rowsServe) {
		if r.Serve, err = b.measureServe(ctx); err != nil {
			return nil, fmt.Errorf("serve: %w", err)
		}
		r.judgeServe()
	}
	if b.opts.wants(rowsVolumes) {
		if r.Volumes, err = b.measureVolumes(ctx); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		r.judgeVolumes()
	}
	return r, nil
}

// measurePlain measures plain bundles and copy, beside what others do.
func (b *bench) measurePlain(ctx context.Context, r *report) (err error) {
	if r.Save, err = b.turns(ctx, "save", func(t tool) string { return t.save }, b.save); err != nil {
		return err
	}
	if r.Load, err = b.turns(ctx, "load", func(t tool) string { return t.load }, b.load); err != nil {
		return err
	}
	if r.Copy, err = b.turns(ctx, "copy", func(t tool) string { return t.copy }, b.copy); err != nil {
		return err
	}
	if r.Line, err = b.measureLine(ctx); err != nil {
		return err
	}
	r.Ferry, err = b.measureFerry(ctx)
	return err
}

// turns measures all tools that can do it, one after the other, as many times as asked for. A tool that fails is told
// of and left out, unless it is ferry.
func (b *bench) turns(
	ctx context.Context, what string, script func(tool) string, do func(context.Context, tool) (sample, error),
) ([]row, error) {
	var rows []row
	for _, t := range append(slices.Clone(b.tools), floorTools()...) {
		if script(t) != "" {
			rows = append(rows, row{Tool: t})
		}
	}
	for i := range b.opts.runs {
		for j := range rows {
			row := &rows[(i+j)%len(rows)] // nobody always follows the same
			if row.Failed != "" {
				continue
			}
			progress("%s, run %d of %d: %s", what, i+1, b.opts.runs, row.Tool.Name)
			s, err := do(ctx, row.Tool)
			if err != nil && (row.Tool.Name == ferryTool().Name || ctx.Err() != nil) {
				return nil, err
			}
			if err != nil {
				progress("%v", err)
				row.Failed = err.Error()
				continue
			}
			row.Samples = append(row.Samples, s)
		}
	}
	for i := range rows {
		rows[i].summarise()
	}
	return rows, nil
}

// measureFerry measures what there is nothing to compare with.
func (b *bench) measureFerry(ctx context.Context) (f ferryFacts, err error) {
	progress("ferry: warm store, second unpack, xz, %d images", len(b.set.Many))
	pack := tool{Name: "ferry", archive: "k8s.tar.zst", save: `ferry pack -q -f "$LIST" -o "$OUT" --store "$STORE"`}
	if f.WarmPack, err = b.warmPack(ctx, pack); err != nil {
		return f, err
	}
	if f.SecondUnpack, err = b.secondUnpack(ctx); err != nil {
		return f, err
	}
	xz := ferryTool()
	xz.Name, xz.archive = "ferry-xz", "k8s.tar.xz"
	if f.XZPack, err = b.save(ctx, xz); err != nil {
		return f, err
	}
	if f.ListTags, err = b.listTags(ctx); err != nil {
		return f, err
	}
	f.ManyPack, f.ManyUnpack, err = b.many(ctx)
	return f, err
}

// warmPack packs twice with one store and measures the second time.
func (b *bench) warmPack(ctx context.Context, t tool) (s sample, err error) {
	store := "STORE=" + filepath.Join(b.work, "store")
	for range 2 {
		r, err := b.newRoom("warm", b.source.host, "", b.set.Images, store)
		if err != nil {
			return s, err
		}
		if s, err = b.saveTo(ctx, t, r, filepath.Join(b.work, "warm.tar.zst")); err != nil {
			return s, describe(t, "warm pack", err)
		}
	}
	return s, nil
}

// secondUnpack unpacks twice into one registry and measures the second time.
func (b *bench) secondUnpack(ctx context.Context) (s sample, err error) {
	t := ferryTool()
	to, err := b.newTarget(ctx, "second")
	if err != nil {
		return s, err
	}
	for range 2 {
		if s, err = b.loadInto(ctx, t, to, b.archives[t.Name], b.set.Images); err != nil {
			break
		}
	}
	if removed := to.remove(); err == nil {
		err = removed
	}
	return s, describe(t, "second unpack", err)
}

// many packs and unpacks ten times as many images, with the same large layers.
func (b *bench) many(ctx context.Context) (pack, unpack sample, err error) {
	if err := b.set.Layout.Push(ctx, b.source.Registry, b.set.Many); err != nil {
		return pack, unpack, err
	}
	t := ferryTool()
	out := filepath.Join(b.work, "many.tar.zst")
	r, err := b.newRoom("many", b.source.host, "", b.set.Many)
	if err != nil {
		return pack, unpack, err
	}
	if pack, err = b.saveTo(ctx, t, r, out); err != nil {
		return pack, unpack, describe(t, "pack many", err)
	}
	to, err := b.newTarget(ctx, "many")
	if err != nil {
		return pack, unpack, err
	}
	unpack, err = b.loadInto(ctx, t, to, out, b.set.Many)
	if err == nil {
		err = b.check(ctx, to.registry, b.set.Many, whole)
	}
	if removed := to.remove(); err == nil {
		err = removed
	}
	return pack, unpack, describe(t, "unpack many", err)
}

// machine describes where the measurements were made.
func machine(dir string) machineFacts {
	m := machineFacts{CPUs: runtime.NumCPU(), Go: runtime.Version(), FileSystem: fileSystem(dir)}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(raw))
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "model name"); ok {
				m.CPU = strings.TrimLeft(name, "\t :")
				break
			}
		}
	}
	return m
}

// fileSystem returns the type of the file system that dir is on.
func fileSystem(dir string) string {
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown"
	}
	best, kind := "", "unknown"
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			best, kind = f[1], f[2]
		}
	}
	return fmt.Sprintf("%s (%s)", kind, best)
}
