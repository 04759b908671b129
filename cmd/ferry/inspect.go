package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// inspectOptions are the options of ferry inspect. At most one of the forms is set; none is the table.
type inspectOptions struct {
	Bundles []string
	JSON    bool
	List    bool
	CSV     bool
}

func newInspectCommand(std *stdio) *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect BUNDLE...",
		Short: "Tell what is in a bundle",
		Long: `Tell what is in a bundle: its images with their platforms and sizes, what they share, and what was asked for and is
missing, and of a backup from which registry it is, and how the projects there are set up. Only the head of the file is
read, or the tail when the head is hurt.

` + bundleHelp + ` When some are missing, and not the first, they are named, and the head is told all the same.

SIZE is that of all blobs of an image, UNIQUE that of those which no other image of the bundle needs.

Of a compact bundle it is told, too, how many gzip layers of each image are un-gzipped, in all by which programs they were made,
and which are as they are and why. SIZE and UNIQUE are of the images as unpack gives them.

--json prints one object: contentId, fileSize, images (name, digest, platforms, referrers, size, uniqueSize, compact), totals
(images, referrers, members, blobs, bytes, sum, shared, compact) and head, which is the bundle's ferry.json. compact has layers,
gzip, plain, recipe, engines (engine and the same four) and kept (reason, layers, bytes). All sizes are in bytes.`,
		Example: `  ferry inspect k8s.tar.zst
  ferry inspect --list k8s.tar.zst | ferry pack -f - -o again.tar.zst`,
		Args: atLeastArgs("BUNDLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Bundles = args
			return runInspect(cmd.Context(), o, std)
		},
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print everything, as one JSON object")
	cmd.Flags().BoolVar(&o.List, "list", false, "print name:tag@digest lines, which `pack -f` reads")
	cmd.Flags().BoolVar(&o.CSV, "csv", false, "print the table as CSV, sizes in bytes")
	cmd.MarkFlagsMutuallyExclusive("json", "list", "csv")
	return cmd
}

func runInspect(ctx context.Context, o inspectOptions, std *stdio) error {
	set, err := findBundle(o.Bundles)
	if err != nil {
		return err
	}
	defer set.Close()
	in, err := readInspection(ctx, set, std)
	if err != nil {
		return fmt.Errorf("%s: %w", set.Name(), err)
	}
	switch {
	case o.JSON:
		return writeJSON(std.Out, in)
	case o.List:
		repeatMissing(in.Head, std)
		return writeImageLines(std.Out, in.Head.Images)
	case o.CSV:
		repeatMissing(in.Head, std)
		return in.writeCSV(std.Out)
	}
	return in.writeTable(std.Out)
}

// inspection is what `ferry inspect --json` prints.
type inspection struct {
	ContentID string         `json:"contentId"`
	FileSize  int64          `json:"fileSize"`
	Images    []imageSummary `json:"images"`
	Totals    imageTotals    `json:"totals"`
	Head      *bundle.Head   `json:"head"`
}

// imageSummary is an image with what can be told of it by the others.
type imageSummary struct {
	Name       string   `json:"name"`
	Digest     string   `json:"digest"`
	Platforms  []string `json:"platforms"`
	Referrers  int      `json:"referrers"` // signatures, SBOMs and whatever else belongs to it
	Size       int64    `json:"size"`
	UniqueSize int64    `json:"uniqueSize"`

	Compact *compactSummary `json:"compact,omitempty"` // of its gzip layers
}

// imageTotals sums up a bundle.
type imageTotals struct {
	Images    int   `json:"images"`
	Referrers int   `json:"referrers"`
	Members   int   `json:"members"`
	Blobs     int   `json:"blobs"`  // that images need: members, and in a compact bundle what is made of them
	Bytes     int64 `json:"bytes"`  // of these
	Sum       int64 `json:"sum"`    // of the sizes of all images
	Shared    int64 `json:"shared"` // what is saved by holding each blob once

	Compact *compactSummary `json:"compact,omitempty"`
}

// readInspection reads the head of the bundle.
func readInspection(ctx context.Context, set *bundle.Set, std *stdio) (*inspection, error) {
	head, id, err := readHead(ctx, set, std)
	var missing *bundle.MissingError
	if errors.As(err, &missing) && std.canAsk() {
		if err := (&disks{set: set, std: std}).ask(ctx, 1); err != nil {
			return nil, err
		}
		head, id, err = readHead(ctx, set, std)
	}
	if err != nil {
		return nil, err
	}
	if err := set.MissingError(); err != nil {
		std.warn("%s: %v", set.Name(), err)
	}
	warnUnlisted(set, std)
	told := summarize(head)
	told.ContentID, told.FileSize = id, set.Size()
	return told, nil
}

// readHead reads what the head or else the tail says.
func readHead(ctx context.Context, set *bundle.Set, std *stdio) (*bundle.Head, string, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(set, 0, set.Size()), headReadSize)
	head, id, err := bundle.ReadHead(in, bundle.Options{})
	if err == nil || errors.Is(err, bundle.ErrVersion) {
		return head, id, err
	}
	if headsMissing(set) {
		return nil, "", set.MissingError()
	}
	return readTail(ctx, set, err, std)
}

// headReadSize is how many bytes of a bundle are read at once while nothing but its head is wanted.
const headReadSize = 16 << 10

// readTail reads what the tail of a bundle says, whose head could not be read because of headErr.
func readTail(ctx context.Context, set *bundle.Set, headErr error, std *stdio) (*bundle.Head, string, error) {
	var missing *bundle.MissingError
	b, err := bundle.Open(ctx, set, set.Size(), bundle.Options{Lenient: true})
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case errors.As(err, &missing):
		return nil, "", err
	case err != nil:
		return nil, "", headErr
	}
	std.warn("%s: %v; this is what its tail says", set.Name(), headErr)
	return b.Head(), b.ContentID(), nil
}

// summarize derives from the head what its images share.
func summarize(h *bundle.Head) *inspection {
	in := &inspection{Head: h, Images: []imageSummary{}}
	at := make(map[string]int, len(h.Members))
	for i, m := range h.Members {
		at[m.Digest.String()] = i
	}
	reasons := keptReasons(h)
	users := make([]int, len(h.Members)+len(h.Recreated)) // how many images need a blob
	needs := make([]map[int]bool, len(h.Images))
	for i, img := range h.Images {
		needs[i] = blobsOf(img, at)
		for n := range needs[i] {
			users[n]++
		}
	}
	for i, img := range h.Images {
		s := imageSummary{Name: img.Name, Digest: img.Digest.String(), Platforms: platformsOf(img), Referrers: len(img.Referrers)}
		for n := range needs[i] {
			s.Size += h.Blob(n).Size
			if users[n] == 1 {
				s.UniqueSize += h.Blob(n).Size
			}
		}
		s.Compact = summarizeCompact(h, reasons, maps.Keys(needs[i]))
		in.Totals.Sum += s.Size
		in.Totals.Referrers += s.Referrers
		in.Images = append(in.Images, s)
	}
	all := map[int]bool{}
	for n, of := range users {
		if of > 0 {
			all[n] = true
			in.Totals.Bytes += h.Blob(n).Size
		}
	}
	in.Totals.Images, in.Totals.Members, in.Totals.Blobs = len(h.Images), len(h.Members), len(all)
	in.Totals.Shared = in.Totals.Sum - in.Totals.Bytes
	in.Totals.Compact = summarizeCompact(h, reasons, maps.Keys(all))
	return in
}

// blobsOf returns the numbers of the blobs that img needs, see bundle.Head.Blob. at has the positions of members by digest.
func blobsOf(img bundle.Image, at map[string]int) map[int]bool {
	set := map[int]bool{at[img.Digest.String()]: true}
	for _, o := range img.Origins() {
		set[at[o.Digest.String()]] = true
	}
	for m := range img.AllManifests() {
		set[at[m.Digest.String()]] = true
		for _, b := range m.Blobs {
			set[b] = true
		}
	}
	return set
}

// platformsOf returns the platforms of the image in the order of its manifests, without those of attestations.
func platformsOf(img bundle.Image) []string {
	platforms := []string{}
	for _, m := range img.Manifests {
		if m.Platform != "" && m.Describes == "" && !slices.Contains(platforms, m.Platform) {
			platforms = append(platforms, m.Platform)
		}
	}
	return platforms
}

func (in *inspection) writeTable(w io.Writer) error {
	titles := []string{"IMAGE", "PLATFORMS", ">SIZE", ">UNIQUE"}
	if in.Totals.Referrers > 0 {
		titles = append(titles, ">REFERRERS")
	}
	if in.Totals.Compact != nil {
		titles = append(titles, ">UN-GZIPPED")
	}
	t := newTable(titles...)
	for _, s := range in.Images {
		cells := []string{s.Name, strings.Join(s.Platforms, ","), formatSize(s.Size), formatSize(s.UniqueSize)}
		if in.Totals.Referrers > 0 {
			cells = append(cells, strconv.Itoa(s.Referrers))
		}
		if s.Compact != nil {
			cells = append(cells, fmt.Sprintf("%d of %d", s.Compact.Layers, s.Compact.Layers+s.Compact.kept()))
		}
		t.add(cells...)
	}
	var b strings.Builder
	if err := t.writeTo(&b); err != nil {
		return err
	}
	n := in.Totals
	fmt.Fprintf(&b, "\n%s%s in %s, %s", plural(n.Images, "image"), withReferrers(n.Referrers), plural(n.Blobs, "blob"), formatSize(n.Bytes))
	if n.Shared > 0 {
		fmt.Fprintf(&b, " (%s if they shared nothing: %s saved)", formatSize(n.Sum), formatSize(n.Shared))
	}
	fmt.Fprintf(&b, "\nfile %s, format %d, content id %s\n", formatSize(in.FileSize), in.Head.Version, in.ContentID)
	if n.Compact != nil {
		for _, line := range n.Compact.lines() {
			fmt.Fprintf(&b, "%s\n", line)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(in.Head.Labels)) {
		fmt.Fprintf(&b, "label %s\n", oneLine(k+"="+in.Head.Labels[k]))
	}
	writeSources(&b, in.Head)
	for _, m := range in.Head.Missing {
		fmt.Fprintf(&b, "missing %s\n", oneLine(m.Name+": "+m.Reason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (in *inspection) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"image", "digest", "platforms", "size", "unique_size", "referrers"}}
	for _, s := range in.Images {
		rows = append(rows, []string{
			s.Name, s.Digest, strings.Join(s.Platforms, " "), strconv.FormatInt(s.Size, 10), strconv.FormatInt(s.UniqueSize, 10),
			strconv.Itoa(s.Referrers),
		})
	}
	return c.WriteAll(rows)
}

// imageLine returns the line of a list by which pack fetches exactly this image again, or an error when the bundle
// gives it a name that is no reference. For an image that was rebuilt with fewer platforms it names the original; one that
// was merged is at no source, so its line has no digest.
func imageLine(img bundle.Image) (string, error) {
	ref, err := oci.ParseReference(img.Name)
	if err != nil {
		return "", damagedf("image of the bundle: %v", err)
	}
	switch {
	case img.Original != nil:
		ref.Digest = img.Original.Digest
	case img.AtSource():
		ref.Digest = img.Digest
	}
	return ref.String(), nil
}

// writeImageLines writes the lines that pack -f reads to fetch the images again.
func writeImageLines(w io.Writer, images []bundle.Image) error {
	var b strings.Builder
	if slices.ContainsFunc(images, func(img bundle.Image) bool { return img.Original != nil }) {
		b.WriteString("# packed with --platform: give it again, with --repin\n")
	}
	if slices.ContainsFunc(images, func(img bundle.Image) bool { return img.Original == nil && !img.AtSource() }) {
		b.WriteString("# merged from several sources: what has no digest here has to be packed from each of them\n")
	}
	for _, img := range images {
		line, err := imageLine(img)
		if err != nil {
			return err
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// repeatMissing warns of the images that were asked for when the bundle was packed and are not in it.
func repeatMissing(h *bundle.Head, std *stdio) {
	if len(h.Missing) == 0 {
		return
	}
	std.warn("%s asked for and not in the bundle:", plural(len(h.Missing), "image"))
	for _, m := range h.Missing {
		std.complain("  " + oneLine(m.Name+": "+m.Reason))
	}
}

// writeJSON writes v, indented, with a line feed.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
