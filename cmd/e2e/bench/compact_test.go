//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

func TestWants(t *testing.T) {
	for _, test := range []struct {
		rows          string
		plain, frames bool
		bad           bool
	}{
		{"", true, true, false},
		{"plain", true, false, false},
		{"versions,parts", false, true, false},
		{"plain,nothing", true, false, true},
	} {
		o := options{rows: test.rows}
		if o.wants(rowsPlain) != test.plain || o.wants(rowsVersions) != test.frames || (o.check() != nil) != test.bad {
			t.Errorf("-rows %q: plain %v, versions %v, %v", test.rows, o.wants(rowsPlain), o.wants(rowsVersions), o.check())
		}
	}
}

// used makes a sample of a size and of processor time.
func used(archive int64, cpu float64) sample {
	return sample{Archive: archive, usage: usage{CPU: cpu, Wall: cpu, Memory: 100e6}}
}

// bestSet reaches all goals of --level best, though not by much.
func bestSet() compactSet {
	return compactSet{
		Level:  levelBest,
		Others: []otherProgram{{otherXZ, used(1000, 100)}, {otherZstd9, used(700, 10)}},
		Alone:  used(640, 25), Pack: used(644, 50),
		Recipe: recipeFacts{Engines: []engineFacts{{Layers: 3, Blobs: 2000, Recipe: 1}}},
	}
}

func TestJudgeCompact(t *testing.T) {
	with := func(change func(*compactSet)) compactFacts {
		c := bestSet()
		change(&c)
		return compactFacts{Sets: []compactSet{c}}
	}
	fast, slow := used(0, 1), used(0, 3)
	for _, test := range []struct {
		name   string
		facts  compactFacts
		missed string // part of the goal
	}{
		{"reached", with(func(*compactSet) {}), ""},
		{"kept", with(func(c *compactSet) { c.Recipe.Kept = 1 }), "every gzip layer"},
		{"recipes", with(func(c *compactSet) { c.Recipe.Engines[0].Recipe = 2 }), "recipes are"},
		{"large recipe", with(func(c *compactSet) { c.Recipe.Large = 1 }), "200 bytes"},
		{"zstd", with(func(c *compactSet) { c.Pack.Archive = 645 }), otherZstd9},
		{"xz", with(func(c *compactSet) { c.Others[0].Archive = 990 }), otherXZ},
		{"compressor", with(func(c *compactSet) { c.Alone.CPU = 26 }), "the compressor"},
		{"pack", with(func(c *compactSet) { c.Pack.CPU = 51 }), "pack takes at most 1/2"},
		{"memory", with(func(c *compactSet) { c.Unpack.Memory = 501e6 }), "500 MB of memory"},
		{"max", with(func(c *compactSet) {
			c.Level, c.Others = levelMax, []otherProgram{{otherZstd19, used(600, 10)}}
		}), otherZstd19},
		{"parser", compactFacts{Parts: []partFacts{{Maker: "gzip", Plain: 300e6, Parse: slow, Find: slow}}}, "deflate"},
		{"un-gzip", compactFacts{Parts: []partFacts{{Maker: "docker", Plain: 200e6, Parse: fast, Find: used(0, 10), Recreate: slow}}}, "un-gzip"},
		{"re-creation", compactFacts{Parts: []partFacts{{Maker: "podman", Plain: 180e6, Parse: fast, Find: slow, Recreate: slow}}}, "re-creation"},
		{"cores", compactFacts{Cores: []coreFacts{{What: "unpack", One: slow, Two: used(0, 2)}}}, "two cores"},
		{"no xz", with(func(c *compactSet) { c.Others, c.Alone.CPU = c.Others[1:], 900 }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := report{Compact: test.facts}
			r.judgeCompact()
			var missed []string
			for _, g := range r.Goals {
				if g.Result == "MISSED" {
					missed = append(missed, g.What)
				}
			}
			if test.missed == "" && len(missed) > 0 || test.missed != "" && (len(missed) != 1 || !strings.Contains(missed[0], test.missed)) {
				t.Errorf("missed %q, want one with %q", missed, test.missed)
			}
			if err := r.Compact.print(io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEncoders(t *testing.T) {
	plain := []byte(strings.Repeat("what a layer has in it, ", 100_000))
	for name, c := range makers(t.Context()) {
		if c == nil {
			continue // the program is not here
		}
		var blob bytes.Buffer
		w, err := c(&blob)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := gzip.NewReader(&blob)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: got %d other bytes, %v", name, len(got), err)
		}
	}
}

// TestWritePlain proves the order: by repository, position, platform, tag, and what is shared once, at its first place.
func TestWritePlain(t *testing.T) {
	l, err := corpus.NewLayout(filepath.Join(t.TempDir(), "layout"))
	if err != nil {
		t.Fatal(err)
	}
	layer := func(content string) corpus.Layer {
		made, err := l.Layer(content, corpus.File{Name: "f", Content: []byte(content)})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	base := map[string]corpus.Layer{"amd64": layer("base amd64"), "arm64": layer("base arm64")}
	image := func(repository, tag string) blueprint {
		b := blueprint{repository: repository, tag: tag, layers: map[string][]corpus.Layer{}}
		for _, arch := range architectures() {
			b.layers[arch] = []corpus.Layer{base[arch], layer(repository + " " + arch + " " + tag)}
		}
		return b
	}
	images, err := assemble(l, []blueprint{image("b", "2"), image("b", "1"), image("a", "1")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newSet("", l)
	if err := s.add(images); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "plain")
	if _, err := writePlain(s, dir); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(plainList(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for file := range strings.FieldsSeq(string(list)) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content, _, _ := bytes.Cut(raw[512:], []byte{0})
		if !bytes.HasPrefix(content, []byte("etc/settings")) { // of the settings
			got = append(got, string(content))
		}
	}
	want := "base amd64,base arm64,a amd64 1,a arm64 1,b amd64 1,b amd64 2,b arm64 1,b arm64 2"
	if strings.Join(got, ",") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}
