// Package mention finds the images that people's files speak of: Kubernetes manifests and what `helm template` prints,
// compose files, the YAML of `skopeo sync`, and plain lists, as kubespray, k3s and RKE2 publish them.
//
// Nothing is rendered or fetched. What speaks of an image without naming it, and what may be an image but need not, is
// a [Note]: the caller shows it, so that no image is missed in silence.
package mention

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
)

const (
	maxFile   = 64 << 20  // bytes of a file
	maxNodes  = 4_000_000 // nodes of a file that are looked at, what aliases repeat counted again
	maxDepth  = 200       // of a node below its document
	maxErrors = 1000      // after which the rest of a file is not read
)

// ErrFormat comes back for a file that looks like YAML or JSON and is neither.
var ErrFormat = errors.New("not YAML")

// Options say what counts as an image. The zero value takes what is one by the rules of its kind of file.
type Options struct {
	// Guess takes what is only called image, too: fields of custom resources and of Helm values, arguments and
	// environment variables of containers.
	Guess bool
}

// Mention is an image and where it is named.
type Mention struct {
	oci.Reference
	File string
	Line int // counted from 1
}

// Note is a place where an image may be meant, and none was taken.
type Note struct {
	File string
	Line int // 0 when it is about the whole file
	Text string
}

func (n Note) String() string {
	if n.Line == 0 {
		return n.File + ": " + n.Text
	}
	return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text)
}

// Found is what a file speaks of, in its order. Duplicates are kept.
type Found struct {
	Mentions []Mention
	Sources  []Source
	Notes    []Note
}

// Source is a line of a list that names no image of a registry but a place on the disk where images lie, see
// [local.IsSource].
type Source struct {
	Text string
	File string
	Line int // counted from 1
}

// References returns the references of all mentions, each once.
func (f *Found) References() []oci.Reference {
	var refs []oci.Reference
	for _, m := range f.Mentions {
		refs = append(refs, m.Reference)
	}
	return oci.Unique(refs)
}

// Find reads a file of at most 64 MiB and returns the images in it. A file whose first line that is neither empty nor a
// comment is YAML or JSON is taken as such, with as many documents as it has, and any other one as a list, see
// [oci.ParseList].
//
// What should be a reference and is none is an error: all of them at once, as the [errors.Join] of one *[oci.LineError]
// each; file only names the file in them and in what is found. ErrFormat comes with them, or alone.
func Find(file string, r io.Reader, o Options) (*Found, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case len(raw) > maxFile:
		return nil, fmt.Errorf("%s: more than %d MiB: no file that speaks of images is so large", file, maxFile>>20)
	}
	f := &finder{file: file, guess: o.Guess}
	if !isYAML(raw) {
		return f.list(raw)
	}
	f.documents(raw)
	if len(f.bad) > 0 {
		return nil, errors.Join(f.bad...)
	}
	return &f.found, nil
}

// isYAML reports whether the first line that is neither empty nor a comment is one of YAML or JSON and not of a list of
// images: a reference has no white space, and does not end in a colon.
func isYAML(raw []byte) bool {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	for line := range bytes.Lines(raw) {
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		for _, start := range []string{"---", "%YAML", "{", "[", "- "} {
			if strings.HasPrefix(text, start) {
				return true
			}
		}
		text, _, _ = strings.Cut(text, " #")
		text = strings.TrimSpace(text)
		return strings.Contains(text, ": ") || strings.HasSuffix(text, ":") || text == "-"
	}
	return false
}

// finder goes through one file.
type finder struct {
	file  string
	guess bool

	found Found
	bad   []error
	nodes int // looked at
}

// list takes the file as a list of images.
func (f *finder) list(raw []byte) (*Found, error) {
	lines, err := oci.ParseListLines(f.file, bytes.NewReader(f.sources(raw)))
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		f.found.Mentions = append(f.found.Mentions, Mention{Reference: l.Reference, File: f.file, Line: l.Line})
	}
	return &f.found, nil
}

// sources takes the lines of a list that name sources, and returns the list with blank lines in their place.
func (f *finder) sources(raw []byte) []byte {
	var rest []byte
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		text, _, _ := strings.Cut(string(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))), " #")
		if text = strings.TrimSpace(text); local.IsSource(text) {
			f.found.Sources = append(f.found.Sources, Source{Text: text, File: f.file, Line: n})
			line = []byte("\n")
		}
		rest = append(rest, line...)
	}
	return rest
}

// documents goes through the documents of a YAML or JSON file.
func (f *finder) documents(raw []byte) {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	for len(f.bad) < maxErrors {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.bad = append(f.bad, f.broken(raw, err))
			return
		}
		f.document(resolve(&n))
	}
}

// broken returns the error of a file that is no YAML, and the remedy where it is the source of a template.
func (f *finder) broken(raw []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if bytes.Contains(raw, []byte("{{")) {
		return fmt.Errorf("%s: %w: %s (a template? Render it: helm template CHART | ferry images -)", f.file, ErrFormat, text)
	}
	return fmt.Errorf("%s: %w: %s", f.file, ErrFormat, text)
}

// enter counts a node, and reports whether there is still leave to go below it.
func (f *finder) enter(n *yaml.Node, depth int) bool {
	f.nodes++
	switch {
	case f.nodes == maxNodes:
		f.fail(n, "", errors.New("the file is too large, or its aliases repeat too much"))
	case depth > maxDepth:
		f.fail(n, "", fmt.Errorf("nested deeper than %d", maxDepth))
	}
	return f.nodes < maxNodes && depth <= maxDepth
}

// take takes the text of n as a reference.
func (f *finder) take(n *yaml.Node) { f.takeText(n, n.Value) }

// takeText takes text, which stands at n, as a reference.
func (f *finder) takeText(n *yaml.Node, text string) {
	if strings.TrimSpace(text) == "" {
		f.note(n, "an image without a name")
		return
	}
	ref, err := oci.ParseReference(text)
	if err != nil {
		if strings.Contains(text, "{{") {
			err = errors.New("a template; render it first: helm template CHART | ferry images -")
		}
		f.fail(n, text, err)
		return
	}
	f.found.Mentions = append(f.found.Mentions, Mention{Reference: ref, File: f.file, Line: n.Line})
}

// fail takes note of text that should be a reference.
func (f *finder) fail(n *yaml.Node, text string, err error) {
	if len(f.bad) < maxErrors {
		f.bad = append(f.bad, &oci.LineError{File: f.file, Line: n.Line, Text: text, Err: err})
	}
}

func (f *finder) note(n *yaml.Node, format string, args ...any) {
	note := Note{File: f.file, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		note.Line = n.Line
	}
	f.found.Notes = append(f.found.Notes, note)
}
