package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
)

// verifyOptions are the options of ferry verify.
type verifyOptions struct {
	Bundles     []string
	DamagedList string // file for the images that are hit; empty: none
	Expect      string // content id; empty: any
	KeepGoing   bool   // prove what is there, without asking for what is missing
	JSON        bool
	Jobs        int // 0: all processors
}

func newVerifyCommand(std *stdio) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify BUNDLE...",
		Short: "Read all of a bundle and prove it",
		Long: `Read all of a bundle, trust nothing, and prove it: its frames, its checksums, each blob against its digest, each image
down to its last layer, and the file against NAME.sha256 where that lies beside it. The file is read once, in order,
and from the disk itself: what the system holds of it in memory is dropped first.

` + bundleHelp + ` Each is proven against NAME.sha256 by the way. When some are missing, ferry asks for one disk
after the other, and reads each once; without a terminal, or with --keep-going, the volumes that are there are proven, the
images that need the others are listed, and the exit code is 4.

Gzip layers that a compact bundle holds un-gzipped are made again, which takes longer than reading them.

Each damaged member is listed with its place in the file and the images that need it; the rest is read on. Then the
exit code is 3, and --damaged-list writes the images that are hit as a list for ferry pack -f.

--json prints one object: contentId, fileSize, sha256 (of the file), sumFile (whether NAME.sha256 was there), members and
bytes (that were proven), recreated and recreatedBytes (gzip layers that were made again and proven; absent when there are
none), images (that are whole), missingVolumes and lacking (the images that need them), platforms, damage (member, digest, images,
offset, length, reason, and volume: name and offset) and missing (name, reason).`,
		Example: `  ferry verify k8s.tar.zst
  ferry verify --damaged-list again.list k8s.tar.zst`,
		Args: atLeastArgs("BUNDLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Bundles = args
			return runVerify(cmd.Context(), o, std)
		},
	}
	cmd.Flags().StringVar(&o.DamagedList, "damaged-list", "", "write the images that are hit to `FILE`, as a list for pack -f")
	cmd.Flags().StringVar(&o.Expect, "expect", "", "fail unless the bundle has this content `ID`")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print the report as one JSON object")
	cmd.Flags().BoolVar(&o.KeepGoing, "keep-going", false, "prove the volumes that are there, and do not ask for the others")
	addJobs(cmd.Flags(), &o.Jobs)
	return cmd
}

// verification is what `ferry verify --json` prints.
type verification struct {
	ContentID string `json:"contentId"`
	FileSize  int64  `json:"fileSize"`
	SHA256    string `json:"sha256,omitempty"`
	SumFile   bool   `json:"sumFile"`
	Members   int    `json:"members"`
	Bytes     int64  `json:"bytes"`
	Recreated int    `json:"recreated,omitempty"`
	// RecreatedBytes is the size of these as gzip.
	RecreatedBytes int64 `json:"recreatedBytes,omitempty"`

	Images int `json:"images"`
	// MissingVolumes are the names of volumes that are not there, and Lacking the images that need them.
	MissingVolumes []string `json:"missingVolumes,omitempty"`
	Lacking        []string `json:"lacking,omitempty"`

	Platforms []string         `json:"platforms"`
	Damage    []bundle.Damage  `json:"damage"`
	Missing   []bundle.Missing `json:"missing"`
}

func runVerify(ctx context.Context, o verifyOptions, std *stdio) error {
	if err := checkAtLeast("jobs", o.Jobs, 0); err != nil {
		return err
	}
	set, err := findBundle(o.Bundles)
	if err != nil {
		return err
	}
	defer set.Close()
	verify := verifySet
	if lacksDisks(set, o.KeepGoing, std) {
		verify = verifyDisks
	}
	r, sumFile, err := verify(ctx, set, o.Jobs, std)
	if err != nil {
		return fmt.Errorf("%s: %w", set.Name(), err)
	}
	if o.JSON {
		err = writeJSON(std.Out, newVerification(r, sumFile))
	} else {
		err = writeVerification(std.Out, r, sumFile)
	}
	if err != nil {
		return err
	}
	repeatMissing(r.Head, std)
	if o.DamagedList != "" {
		err = writeDamagedList(o.DamagedList, r)
	}
	return errors.Join(judge(set.Name(), o.Expect, r), err)
}

// judge turns the report into the error that it means.
func judge(name, expect string, r *bundle.Report) error {
	var err error
	if len(r.Damage) > 0 {
		hits := len(hitImages(r))
		text := fmt.Sprintf("%s: damaged in %s; %s hit", name, plural(len(r.Damage), "place"), plural(hits, "image"))
		err = &damagedError{text: text, hits: hits}
	}
	if len(r.Damage) == 0 && r.Missing != nil {
		err = fmt.Errorf("%s: %w; %s hit", name, r.Missing, plural(len(r.Lacking), "image"))
	}
	return errors.Join(err, checkExpected(name, expect, r.ContentID))
}

// checkExpected returns an error unless the content id is the one that the user expects; an empty one is any.
func checkExpected(path, want, got string) error {
	want = strings.TrimPrefix(strings.ToLower(want), "sha256:")
	if want == "" || want == got {
		return nil
	}
	return damagedf("%s: another bundle: content id %s, want %s", path, got, want)
}

// verifySet verifies the bundle, against its checksum file, too, when there is one.
func verifySet(ctx context.Context, set *bundle.Set, jobs int, std *stdio) (r *bundle.Report, sumFile bool, err error) {
	return verifyBy(set, jobs, std, func(o bundle.VerifyOptions) (*bundle.Report, error) {
		return bundle.Verify(ctx, set, set.Size(), o)
	})
}

// verifyDisks does the same with the volumes of which not all are there at once: it reads them in order, and asks for each disk.
func verifyDisks(ctx context.Context, set *bundle.Set, jobs int, std *stdio) (r *bundle.Report, sumFile bool, err error) {
	in := (&disks{set: set, std: std}).reader(ctx)
	defer in.Close()
	return verifyBy(set, jobs, std, func(o bundle.VerifyOptions) (*bundle.Report, error) {
		r, err := bundle.VerifyStream(ctx, untilDone(ctx, in), o)
		if err == nil {
			for i, d := range r.Damage {
				r.Damage[i] = set.Place(d)
			}
			if len(r.Damage) > 0 {
				std.warn("what comes behind the damage was not read; that takes all volumes at once")
			}
		}
		return r, err
	})
}

// verifyBy does what comes before and after either way of verifying.
func verifyBy(
	set *bundle.Set, jobs int, std *stdio, verify func(bundle.VerifyOptions) (*bundle.Report, error),
) (r *bundle.Report, sumFile bool, err error) {
	o := bundle.VerifyOptions{Options: bundle.Options{Reader: reading()}, Jobs: jobs}
	sum, sumErr := set.Sum()
	switch {
	case sumErr == nil:
		o.Sum = &sum
	case errors.Is(sumErr, fs.ErrNotExist):
		std.detail("%s: not there, so the file is checked by what it holds alone", filepath.Base(bundle.SumFile(set.Name())))
	}
	if err := set.EachFile(dropCache); err != nil {
		std.say("%s: some of it may be read from memory and not from the disk: %v", set.Name(), err)
	}
	limitGarbage() // what is re-created of a compact bundle leaves as much as it needs
	p := std.progress("verify", set.Size())
	o.Progress = p.add
	defer p.end()
	r, err = verify(o)
	if err != nil {
		return nil, false, err
	}
	if sumErr != nil && !errors.Is(sumErr, fs.ErrNotExist) {
		r.Damage = append(r.Damage, bundle.Damage{Member: filepath.Base(bundle.SumFile(set.Name())), Reason: sumErr.Error()})
	}
	return r, o.Sum != nil, nil
}

func newVerification(r *bundle.Report, sumFile bool) verification {
	v := verification{
		ContentID: r.ContentID, FileSize: r.FileSize, SHA256: r.FileSum, SumFile: sumFile,
		Members: r.Members, Bytes: r.Bytes, Recreated: r.Recreated, RecreatedBytes: r.RecreatedBytes, Images: r.Images, Platforms: allPlatforms(r.Head),
		Damage: r.Damage, Missing: r.Head.Missing,
	}
	if r.Missing != nil {
		v.MissingVolumes, v.Lacking = r.Missing.Names, r.Lacking
	}
	if v.Damage == nil {
		v.Damage = []bundle.Damage{}
	}
	if v.Missing == nil {
		v.Missing = []bundle.Missing{}
	}
	return v
}

func writeVerification(w io.Writer, r *bundle.Report, sumFile bool) error {
	var b strings.Builder
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "damaged %s\n", oneLine(d.String()))
		for _, name := range d.Images {
			fmt.Fprintf(&b, "  hits %s\n", oneLine(name))
		}
	}
	if r.Missing != nil {
		fmt.Fprintf(&b, "missing %s\n", oneLine(strings.Join(r.Missing.Names, ", ")))
		for _, name := range r.Lacking {
			fmt.Fprintf(&b, "  hits %s\n", oneLine(name))
		}
	}
	fmt.Fprintf(&b, "blobs      %d of %d proven, %s\n", r.Members, len(r.Head.Members), formatSize(r.Bytes))
	if n := len(r.Head.Recreated); n > 0 {
		fmt.Fprintf(&b, "re-created %d of %s proven, %s\n", r.Recreated, plural(n, "gzip layer"), formatSize(r.RecreatedBytes))
	}
	fmt.Fprintf(&b, "images     %d of %d whole\n", r.Images, len(r.Head.Images))
	fmt.Fprintf(&b, "platforms  %s\n", cmp.Or(strings.Join(allPlatforms(r.Head), ", "), "none named"))
	sum := "not there, not checked"
	if sumFile {
		sum = "checked"
	}
	if r.Missing != nil {
		fmt.Fprintf(&b, "volumes    %d of %d read; their .sha256 file: %s\n", r.Missing.Of-len(r.Missing.Names), r.Missing.Of, sum)
	} else {
		fmt.Fprintf(&b, "file       %s read; its .sha256 file: %s\n", formatSize(r.FileSize), sum)
	}
	fmt.Fprintf(&b, "content id %s\n", r.ContentID)
	_, err := io.WriteString(w, b.String())
	return err
}

// allPlatforms returns the platforms of all images of the bundle, sorted.
func allPlatforms(h *bundle.Head) []string {
	set := map[string]bool{}
	for _, img := range h.Images {
		for _, p := range platformsOf(img) {
			set[oneLine(p)] = true
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(set))...)
}

// hitImages returns the images that some damage hits, in the order of the bundle.
func hitImages(r *bundle.Report) []bundle.Image {
	hit := map[string]bool{}
	for _, name := range r.Lacking {
		hit[name] = true
	}
	for _, d := range r.Damage {
		for _, name := range d.Images {
			hit[name] = true
		}
	}
	var images []bundle.Image
	for _, img := range r.Head.Images {
		if hit[img.Name] {
			images = append(images, img)
		}
	}
	return images
}

func writeDamagedList(path string, r *bundle.Report) error {
	var b strings.Builder
	if err := writeImageLines(&b, hitImages(r)); err != nil {
		return err
	}
	if err := writeWhole(path, []byte(b.String())); err != nil {
		return fmt.Errorf("--damaged-list: %w", err)
	}
	return nil
}
