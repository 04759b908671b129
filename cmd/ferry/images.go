package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/mention"
)

// imagesOptions are the options of ferry images.
type imagesOptions struct {
	Files []string // files and folders; "-" is stdin
	Guess bool
	JSON  bool
}

func newImagesCommand(std *stdio) *cobra.Command {
	var o imagesOptions
	cmd := &cobra.Command{
		Use:   "images FILE|DIR|- ...",
		Short: "List the images that manifests, charts' output and compose files speak of",
		Long: `List the images that files speak of, one reference a line, each once, as ferry pack -f and ferry copy -f read them.

Known are Kubernetes manifests (all kinds that hold the spec of a pod, and lists of them), what helm template and
kustomize build print, compose files, the YAML of skopeo sync, the images that a Chart.yaml lists, and plain lists, as
kubespray, k3s and RKE2 publish them. Of a folder all .yaml, .yml, .json, .txt and .list files are read, those in folders
below, too.

What may be an image but need not is told on stderr, with file and line: fields of custom resources and of the values of
a chart, arguments and environment variables of containers. --guess takes those as well.

--json prints one object: images (name, file, line), one entry for each place.`,
		Example: `  helm template ingress-nginx/ingress-nginx | ferry images - > images.list
  ferry images k8s/ compose.yaml
  kubectl get pods -A -o json | ferry images - | ferry pack -f - -o cluster.tar.zst`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no file: name some, or - for stdin")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o.Files = args
			return runImages(o, std)
		},
	}
	cmd.Flags().BoolVar(&o.Guess, "guess", false, "take what is called image elsewhere, too: custom resources, arguments, variables")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print every place where an image is named, as one JSON object")
	return cmd
}

func runImages(o imagesOptions, std *stdio) error {
	files, err := mentionFiles(o.Files)
	if err != nil {
		return err
	}
	all := &mention.Found{}
	var errs []error
	for _, name := range files {
		found, err := findImages(name, name, mention.Options{Guess: o.Guess}, std)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		warnSources(found, std)
		all.Mentions = append(all.Mentions, found.Mentions...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	refs := all.References()
	if err := writeImages(std.Out, all, refs, o.JSON); err != nil {
		return err
	}
	if len(refs) == 0 {
		return &partialError{fmt.Errorf("no image in %s", strings.Join(o.Files, ", "))}
	}
	std.say("%s in %s", plural(len(refs), "image"), plural(len(files), "file"))
	return nil
}

// mentionEndings are those of the files that are read of a folder.
var mentionEndings = []string{".yaml", ".yml", ".json", ".txt", ".list"}

// mentionFiles returns names, with the files in folders in place of these.
func mentionFiles(names []string) ([]string, error) {
	var files []string
	for _, name := range names {
		if info, err := os.Stat(name); name == "-" || err != nil || !info.IsDir() {
			files = append(files, name) // what is not there shows when it is opened
			continue
		}
		before := len(files)
		err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && slices.Contains(mentionEndings, strings.ToLower(filepath.Ext(path))) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(files) == before {
			return nil, usagef("%s: no file in it ends in %s", name, strings.Join(mentionEndings, ", "))
		}
	}
	return files, nil
}

// findImages returns the images that one file speaks of, "-" being stdin, which by reads, and shows what else may be some.
func findImages(name, by string, o mention.Options, std *stdio) (*mention.Found, error) {
	title, in, err := openMention(name, by, std)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	found, err := mention.Find(title, in, o)
	if err != nil {
		return nil, err
	}
	for _, note := range found.Notes {
		std.warn("%s", note)
	}
	return found, nil
}

// warnSources tells of lines that are no images of a registry.
func warnSources(found *mention.Found, std *stdio) {
	for _, s := range found.Sources {
		std.warn("%s:%d: %s is a place on the disk, whose images are not listed here; ferry pack takes it", s.File, s.Line, s.Text)
	}
}

// openMention opens the file and returns what it is called in messages.
func openMention(name, by string, std *stdio) (title string, in io.ReadCloser, err error) {
	if name == "-" {
		in, err := std.takeInput(by)
		return "stdin", io.NopCloser(in), err
	}
	f, err := os.Open(name)
	if err != nil {
		return name, nil, &usageError{err}
	}
	return name, f, nil
}

// imagesSummary is what `ferry images --json` prints.
type imagesSummary struct {
	Images []imagePlace `json:"images"`
}

type imagePlace struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// writeImages prints the references, or with asJSON the places.
func writeImages(w io.Writer, found *mention.Found, refs []oci.Reference, asJSON bool) error {
	if asJSON {
		s := imagesSummary{Images: []imagePlace{}}
		for _, m := range found.Mentions {
			s.Images = append(s.Images, imagePlace{Name: m.Reference.String(), File: m.File, Line: m.Line})
		}
		return writeJSON(w, s)
	}
	out := bufio.NewWriter(w)
	for _, ref := range refs {
		fmt.Fprintln(out, ref)
	}
	return out.Flush()
}
