//go:build linux

package main

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// partFacts is what un-gzip and re-creation of a blob of one encoder took, on one core.
type partFacts struct {
	Maker    string `json:"maker"`
	Engine   string `json:"engine"` // as ferry calls it
	Plain    int64  `json:"plainBytes"`
	Recipe   int64  `json:"recipeBytes"`
	Parse    sample `json:"parse"`
	Find     sample `json:"find"` // with proof
	Recreate sample `json:"recreate"`
}

// rate returns how many MB of plain bytes were done in a second of processor time.
func (p partFacts) rate(s sample) float64 {
	if s.CPU == 0 {
		return 0
	}
	return float64(p.Plain) / 1e6 / s.CPU
}

// makers are the encoders that are measured.
func makers(ctx context.Context) map[string]compressor {
	all := encoders(ctx)
	return map[string]compressor{
		"docker":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"kaniko":  kaniko,
		"podman":  podman,
		"pigz":    all["rabbitmq"],
		"gzip":    all["squid"],
		"gzip -9": all["redis"],
		"busybox": all["haproxy"],
		"zlib":    all["erlang"],
	}
}

// measureParts measures each encoder on the largest layer of a set.
func (b *bench) measureParts(ctx context.Context, s set) (facts []partFacts, err error) {
	dir := filepath.Join(b.work, "parts")
	if _, err := writePlain(s, dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	plain, err := largest(dir)
	if err != nil {
		return nil, err
	}
	all := makers(ctx)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] == nil {
			continue // its program is not there
		}
		progress("un-gzip and re-create a layer by %s", name)
		f := partFacts{Maker: name}
		blob := filepath.Join(dir, "blob")
		if err := compressFile(all[name], plain, blob); err != nil {
			return nil, err
		}
		if err := b.measurePart(ctx, &f, blob); err != nil {
			return nil, err
		}
		facts = append(facts, f)
	}
	return facts, nil
}

// measurePart measures the parts of one blob. An encoder that ferry does not know has no engine.
func (b *bench) measurePart(ctx context.Context, f *partFacts, blob string) (err error) {
	env := []string{"BLOB=" + blob, "GOMAXPROCS=1"}
	var found struct {
		Engine        string
		Plain, Recipe int64
	}
	if f.Parse, err = b.ask(ctx, &found, `parts parse "$BLOB"`, env...); err != nil {
		return err
	}
	if f.Find, err = b.ask(ctx, &found, `parts find -plain "$BLOB.plain" -recipe "$BLOB.recipe" "$BLOB"`, env...); err != nil {
		return err
	}
	f.Engine, f.Plain, f.Recipe = found.Engine, found.Plain, found.Recipe
	f.Recreate, err = b.ask(ctx, &found, `parts recreate "$BLOB.plain" "$BLOB.recipe"`, env...)
	return err
}

// largest returns the largest plain tar that writePlain wrote.
func largest(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	var most int64
	var found string
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() > most {
			found, most = file, info.Size()
		}
	}
	return found, err
}

// compressFile writes a file through a compressor.
func compressFile(c compressor, from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w, err := c(out)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return errors.Join(err, w.Close())
}

// coreFacts is what took one core and then two.
type coreFacts struct {
	What string `json:"what"`
	One  sample `json:"one"`
	Two  sample `json:"two"`
}

// faster returns how many times as fast two cores are.
func (c coreFacts) faster() float64 { return c.One.Wall / c.Two.Wall }

// measureCores unpacks a set, and one image of a single layer that has all its content; and does the parts alone.
func (b *bench) measureCores(ctx context.Context, many set) (facts []coreFacts, err error) {
	one, err := b.oneLayer(many)
	if err != nil {
		return nil, err
	}
	from, err := b.serve(ctx, one, "one")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.remove()) }()
	for _, of := range []struct {
		what string
		set  set
		from *registry
	}{{"many layers", many, b.source}, {"one layer", one, from.registry}} {
		progress("one core, then two: %s", of.what)
		f := coreFacts{What: "unpack, " + of.what}
		if _, f.Two, err = b.roundTrip(ctx, onCores("0,1"), of.set, of.from); err != nil {
			return nil, err
		}
		if f.One, err = b.unpackOn(ctx, onCores("0"), of.set); err != nil {
			return nil, err
		}
		facts = append(facts, f)
	}
	alone, err := b.measureCoresAlone(ctx, one)
	return append(facts, alone...), err
}

// measureCoresAlone measures un-gzip and re-creation of the one layer, without a registry and a compressor.
func (b *bench) measureCoresAlone(ctx context.Context, one set) ([]coreFacts, error) {
	uses, err := one.layers()
	if err != nil {
		return nil, err
	}
	find, recreate := coreFacts{What: "un-gzip, one layer"}, coreFacts{What: "re-create, one layer"}
	for _, on := range []struct {
		cores          string
		find, recreate *sample
	}{{"0", &find.One, &recreate.One}, {"0,1", &find.Two, &recreate.Two}} {
		blob := filepath.Join(b.work, "huge-blob")
		env := []string{"BLOB=" + one.Layout.Path(uses[0].layer.Digest), "TO=" + blob}
		var found map[string]any
		if *on.find, err = b.ask(ctx, &found,
			`taskset -c `+on.cores+` parts find -j 0 -plain "$TO.plain" -recipe "$TO.recipe" "$BLOB"`, env...); err != nil {
			return nil, err
		}
		if *on.recreate, err = b.ask(ctx, &found,
			`taskset -c `+on.cores+` parts recreate -j 0 "$TO.plain" "$TO.recipe"`, env...); err != nil {
			return nil, err
		}
	}
	return []coreFacts{find, recreate}, nil
}

// unpackOn unpacks what was packed before into another registry.
func (b *bench) unpackOn(ctx context.Context, t tool, s set) (u sample, err error) {
	to, err := b.newTarget(ctx, "cores")
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, to.remove()) }()
	return b.loadInto(ctx, t, to, b.archives[t.Name], s.Images)
}

// onCores is compact ferry that has some of the cores.
func onCores(cores string) tool {
	t := compactTool(levelBest)
	t.load = "taskset -c " + cores + " " + t.load
	return t
}

// oneLayer makes an image of one layer of all plain tars of a set.
func (b *bench) oneLayer(of set) (set, error) {
	root := filepath.Join(b.work, "huge-content")
	if _, err := writePlain(of, root); err != nil {
		return set{}, err
	}
	one, err := loadOrBuild(context.Background(), filepath.Join(b.work, "huge"), of.Source+", all in one layer",
		func(_ context.Context, l corpus.Layout) ([]blueprint, error) {
			layer, err := l.LayerOf("all", root)
			same := map[string][]corpus.Layer{}
			for _, arch := range architectures() {
				same[arch] = []corpus.Layer{layer}
			}
			return []blueprint{{repository: "library/huge", tag: "1", layers: same}}, err
		}, 0)
	return one, errors.Join(err, os.RemoveAll(root))
}
