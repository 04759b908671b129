//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// compactFacts are measurements of compact bundles, once each. What was not asked for is empty.
type compactFacts struct {
	Sets   []compactSet `json:"sets,omitempty"`
	Frames []frameFacts `json:"frames,omitempty"`
	Parts  []partFacts  `json:"parts,omitempty"`
	Cores  []coreFacts  `json:"cores,omitempty"`
}

// compactSet compares the compact bundle of a corpus with what else makes it small.
type compactSet struct {
	Corpus corpusFacts    `json:"corpus"`
	Level  string         `json:"level"`
	Plain  int64          `json:"plainBytes"` // of the layers, each once
	Others []otherProgram `json:"others"`
	Alone  sample         `json:"compressorAlone"` // ferry's, over the plain tars; nothing without xz
	Pack   sample         `json:"pack"`
	Unpack sample         `json:"unpack"`
	Recipe recipeFacts    `json:"recipes"`
}

// otherProgram is a program that compresses the same.
type otherProgram struct {
	Name string `json:"name"`
	sample
}

// other returns what a program took, or nothing.
func (c compactSet) other(name string) sample {
	for _, o := range c.Others {
		if o.Name == name {
			return o.sample
		}
	}
	return sample{}
}

// What a level of ferry is compared with: the recipe of today's users over the layout, and zstd over the plain tars that
// ferry compresses, in its order.
const (
	otherXZ     = "xz -9 -T0, layout"
	otherZstd9  = "zstd -9 --long=27, plain"
	otherZstd19 = "zstd -19 --long=27, plain"
)

// otherScript returns the script of one of them. $BLOBS is a folder of all blobs, $PLAIN a list of the plain tars.
func otherScript(name string) string {
	const plain = `xargs -a "$PLAIN" cat | zstd -q -T1 --long=27 -o "$OUT" `
	return map[string]string{
		otherXZ:     `tar -chf - -C "$BLOBS" . | xz -9 -T0 >"$OUT"`,
		otherZstd9:  plain + "-9",
		otherZstd19: plain + "-19",
	}[name]
}

// The levels that are measured.
const (
	levelBest = "best"
	levelMax  = "max"
)

// compactTool is ferry that makes compact bundles, with $STORE as its store if that is set.
func compactTool(level string) tool {
	return tool{
		Name: "ferry-compact-" + level, archive: "k8s.tar.zst",
		save: `ferry pack -q --compact --level ` + level + ` ${STORE:+--store "$STORE"} -f "$LIST" -o "$OUT"`,
		load: `ferry unpack -q "$IN" "$DST"`,
	}
}

// partBytes is how many bytes of blobs are enough for what takes long.
const partBytes = 100e6

// measureCompact measures what was asked for.
func (b *bench) measureCompact(ctx context.Context) (f compactFacts, err error) {
	few, err := part(b.set, partBytes)
	if err != nil {
		return f, err
	}
	for _, of := range []struct {
		rows string
		do   func() error
	}{
		{rowsCompact, func() error { return b.addSet(ctx, &f, b.set, b.source, levelBest, []string{otherXZ, otherZstd9}) }},
		{rowsVersions, func() error { return b.measureVersions(ctx, &f) }},
		{rowsMax, func() error { return b.addSet(ctx, &f, few, b.source, levelMax, []string{otherZstd19}) }},
		{rowsParts, func() (err error) { f.Parts, err = b.measureParts(ctx, few); return err }},
		{rowsCores, func() (err error) { f.Cores, err = b.measureCores(ctx, few); return err }},
	} {
		if !b.opts.wants(of.rows) {
			continue
		}
		if err := of.do(); err != nil {
			return f, fmt.Errorf("%s: %w", of.rows, err)
		}
	}
	return f, nil
}

// part returns the first images of a set that have no more than so many bytes of blobs together, at least one.
func part(s set, limit int64) (set, error) {
	few := newSet(s.Source, s.Layout)
	for i := range s.Images {
		more := newSet(s.Source, s.Layout)
		if err := more.add(s.Images[:i+1]); err != nil {
			return few, err
		}
		if i > 0 && more.Bytes > limit {
			break
		}
		few = more
	}
	return few, nil
}

// measureVersions measures the corpus of two point releases, and frames of several sizes on it. xz is left out: it takes
// longer than all else together, and has the layout as incompressible as that of one release.
func (b *bench) measureVersions(ctx context.Context, f *compactFacts) (err error) {
	s, err := chooseVersions(ctx, filepath.Dir(b.bin), b.opts.small)
	if err != nil {
		return err
	}
	r, err := b.serve(ctx, s, "versions")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	store := "STORE=" + filepath.Join(b.work, "versions-store") // with the recipes, for the packs that follow
	if err := b.addSet(ctx, f, s, r.registry, levelBest, []string{otherZstd9}, store); err != nil {
		return err
	}
	f.Frames, err = b.measureFrames(ctx, s, r.registry, store)
	return err
}

// serve puts a set into a registry of its own.
func (b *bench) serve(ctx context.Context, s set, name string) (target, error) {
	r, err := b.newTarget(ctx, name)
	if err != nil {
		return r, err
	}
	if err := s.Layout.Push(ctx, r.Registry, s.Images); err != nil {
		return r, errors.Join(err, r.remove())
	}
	return r, nil
}

// addSet packs a set at a level, unpacks it, and has the others compress it.
func (b *bench) addSet(
	ctx context.Context, f *compactFacts, s set, from *registry, level string, others []string, env ...string,
) error {
	c := compactSet{Corpus: s.facts(), Level: level}
	if err := b.compressors(ctx, &c, s, from, others); err != nil {
		return err
	}
	t := compactTool(level)
	progress("%s of %d images", t.Name, len(s.Images))
	var err error
	if c.Pack, c.Unpack, err = b.roundTrip(ctx, t, s, from, env...); err != nil {
		return err
	}
	_, err = b.ask(ctx, &c.Recipe, `parts recipes "$BUNDLE"`, "BUNDLE="+b.archives[t.Name])
	f.Sets = append(f.Sets, c)
	return err
}

// compressors has ferry's compressor and the others compress the layers of a set.
func (b *bench) compressors(ctx context.Context, c *compactSet, s set, from *registry, others []string) (err error) {
	dir := filepath.Join(b.work, "plain")
	if c.Plain, err = writePlain(s, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	floor, err := prepareFloor(dir, s, from.host)
	if err != nil {
		return err
	}
	env := []string{"PLAIN=" + plainList(dir), "BLOBS=" + floor.blobs}
	for _, name := range others {
		progress("%s of %d MB", name, c.Plain/1e6)
		o := otherProgram{Name: name}
		if o.sample, err = b.compress(ctx, otherScript(name), env); err != nil {
			return err
		}
		c.Others = append(c.Others, o)
	}
	if !slices.Contains(others, otherXZ) {
		return nil
	}
	progress("ferry's compressor of %d MB", c.Plain/1e6)
	c.Alone, err = b.compress(ctx, `xargs -a "$PLAIN" parts compress -level `+c.Level+` -o "$OUT" >/dev/null`, env)
	return err
}

// compress runs a script that leaves a file $OUT, whose size counts.
func (b *bench) compress(ctx context.Context, script string, env []string) (s sample, err error) {
	r, err := b.newRoom("compress", b.source.host, "", nil, env...)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	out := filepath.Join(r.dir, "out")
	r.env = append(r.env, "OUT="+out)
	if s, err = b.run(ctx, r, script); err != nil {
		return s, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return s, err
	}
	s.Archive = info.Size()
	return s, nil
}

// roundTrip packs a set and unpacks it into an empty registry, which then has to have all images.
func (b *bench) roundTrip(
	ctx context.Context, t tool, s set, from *registry, env ...string,
) (pack, unpack sample, err error) {
	defer func() { err = describe(t, "round trip", err) }()
	out := filepath.Join(b.work, "saved-"+t.Name+"-"+t.archive)
	r, err := b.newRoom(t.Name, from.host, "", s.Images, env...)
	if err != nil {
		return pack, unpack, err
	}
	r.env = append(r.env, "OUT="+out)
	if pack, err = b.run(ctx, r, t.save, from); err != nil {
		return pack, unpack, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return pack, unpack, err
	}
	pack.Archive = info.Size()
	b.archives[t.Name] = out
	to, err := b.newTarget(ctx, t.Name)
	if err != nil {
		return pack, unpack, err
	}
	defer func() { err = errors.Join(err, to.remove()) }()
	if unpack, err = b.loadInto(ctx, t, to, out, s.Images); err != nil {
		return pack, unpack, err
	}
	return pack, unpack, b.check(ctx, to.registry, s.Images, whole)
}

// ask runs parts and decodes what it prints into v.
func (b *bench) ask(ctx context.Context, v any, script string, env ...string) (s sample, err error) {
	r, err := b.newRoom("parts", b.source.host, "", nil, env...)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if s, err = b.run(ctx, r, script+" >result.json"); err != nil {
		return s, err
	}
	raw, err := os.ReadFile(filepath.Join(r.dir, "result.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, v)
}
