package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
	"github.com/ferry-oci/ferry/registry/nodes"
)

// hostsOptions are the options of ferry hosts.
type hostsOptions struct {
	Bundles []string
	Target  string // REGISTRY[/PREFIX], with http:// or https:// before it if wished

	Names     namingOptions
	Merged    bool // images of different content may have one name
	Serve     bool
	For       string // clients, with commas
	CA        string // file
	TLSVerify bool

	Write string // folder; empty: print
	Force bool
	JSON  bool
}

func newHostsCommand(std *stdio) *cobra.Command {
	var o hostsOptions
	cmd := &cobra.Command{
		Use:   "hosts BUNDLE... TARGET",
		Short: "Tell nodes where the images are now",
		Long: `Print the files by which container runtimes find the images of bundles under their old names in the registry TARGET, which is
REGISTRY[/PREFIX] as it was given to unpack, with the same naming flags. http:// before it says that nodes reach it by plain
http, as is taken for granted of a loopback address. Nothing but the heads of the bundles is read, and no registry is asked.

--serve says that TARGET is a ` + "`ferry serve`" + `, where the images have their old names.

Each file is made for the images that the bundles have, and what it says is tried on all of them. What a client cannot be told,
as containerd no name that --flatten made, is listed with the reason, and the exit code is 4. No file holds credentials; they say
where those go.

--write puts the files into folders below DIR, one for each client, and prints where on a node each goes. What ferry hosts made
before is replaced, other files are not, unless --force.

--json prints one object: clients (client, files, unsaid), each file with path, place and text, each of unsaid with image, target
and why.`,
		Example: `  ferry hosts k8s.tar.zst harbor.example/k8s
  ferry hosts --for k3s --ca ca.crt --write nodes k8s.tar.zst harbor.example/k8s
  ferry hosts --serve k8s.tar.zst http://10.0.0.5:5000`,
		Args: leastArgs("BUNDLE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Bundles, o.Target = args[:len(args)-1], args[len(args)-1]
			return runHosts(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	set.StringVar(&o.For, "for", "containerd,k3s,podman,kubespray", "`CLIENTS` that pull: containerd, k3s, rke2, podman, kubespray, with commas")
	set.StringVar(&o.Write, "write", "", "write the files into folders below `DIR`")
	set.BoolVar(&o.Force, "force", false, "with --write, replace files that ferry did not make, too")
	set.BoolVar(&o.JSON, "json", false, "print everything, as one JSON object")
	set.BoolVar(&o.Serve, "serve", false, "TARGET is the address of a ferry serve")
	set.StringVar(&o.CA, "ca", "", "nodes are to trust the authorities in this PEM `FILE` for TARGET")
	set.BoolVar(&o.TLSVerify, "tls-verify", true, "nodes check the certificate of TARGET; =false takes any")
	set.BoolVar(&o.Merged, "merge-platforms", false, "unpack had it, so that different images may have one name")
	o.Names.add(set)
	cmd.MarkFlagsMutuallyExclusive("ca", "tls-verify")
	cmd.MarkFlagsMutuallyExclusive("json", "write")
	return cmd
}

func runHosts(ctx context.Context, o hostsOptions, std *stdio) error {
	to, naming, err := o.target()
	if err != nil {
		return err
	}
	clients, err := nodes.ParseClients(o.For)
	if err != nil {
		return usagef("--for %w", err)
	}
	if o.Force && o.Write == "" {
		return usagef("--force: without --write nothing is replaced")
	}
	images, err := o.images(ctx, naming, std)
	if err != nil {
		return err
	}
	configs := make([]nodes.Config, len(clients))
	for i, c := range clients {
		configs[i] = nodes.New(c, images, to)
	}
	switch {
	case o.JSON:
		err = writeJSON(std.Out, hostsJSON(configs))
	case o.Write != "":
		err = writeHosts(o.Write, configs, o.Force, std)
	default:
		err = printHosts(std.Out, configs)
	}
	if err != nil {
		return err
	}
	return sayUnsaid(configs, len(images), std)
}

// target returns the registry that TARGET and the flags describe, and the names that images have there. All errors are
// mistakes in them.
func (o *hostsOptions) target() (to nodes.Registry, naming *registry.Naming, err error) {
	target, plain := strings.CutPrefix(o.Target, "http://")
	target, secure := strings.CutPrefix(target, "https://")
	if o.Serve && o.Names.given() {
		return to, nil, usagef("--serve: names are the old ones there, so %s cannot be given", o.Names.flags())
	}
	if naming, err = o.Names.naming(target); err != nil {
		return to, nil, err
	}
	if naming == nil {
		return to, nil, usagef("target %s: nodes pull from a registry", o.Target)
	}
	naming.Merged = o.Merged
	if o.Serve {
		if naming.Prefix != "" {
			return to, nil, usagef("target %s: a ferry serve has no prefix", o.Target)
		}
		naming.KeepHost = true
	}
	to = nodes.Registry{
		Host: naming.Host, Serve: o.Serve, SkipVerify: !o.TLSVerify,
		HTTP: plain || !secure && o.CA == "" && registry.IsLoopback(naming.Host),
	}
	if o.CA == "" {
		return to, naming, nil
	}
	if to.HTTP {
		return to, nil, usagef("--ca: %s is reached by plain http", o.Target)
	}
	raw, err := os.ReadFile(o.CA)
	if err == nil {
		_, err = registry.ParseCAs(raw)
	}
	if err != nil {
		return to, nil, usagef("--ca: %s: %w", o.CA, bareError(err))
	}
	to.CA = raw
	return to, naming, nil
}

// images returns the images of the bundles with the names that they have at the target.
func (o *hostsOptions) images(ctx context.Context, naming *registry.Naming, std *stdio) ([]nodes.Image, error) {
	sets, err := findBundles(o.Bundles)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		defer set.Close()
	}
	var resolved []registry.Resolved
	for _, set := range sets {
		in, err := readInspection(ctx, set, std)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name(), err)
		}
		keepSourceNames([]*registry.Naming{naming}, in.Head)
		of, err := resolvedImages(in.Head)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name(), err)
		}
		resolved = append(resolved, of...)
	}
	return renamedImages(naming, resolved)
}

// resolvedImages returns the names of a bundle's images, and what they mean.
func resolvedImages(h *bundle.Head) ([]registry.Resolved, error) {
	var all []registry.Resolved
	for _, img := range h.Images {
		ref, err := oci.ParseReference(img.Name)
		if err != nil {
			return nil, damagedf("image of the bundle: %v", err)
		}
		all = append(all, registry.Resolved{Reference: ref, Digest: img.Digest})
	}
	return all, nil
}

// renamedImages returns the images with their names at the target.
func renamedImages(naming *registry.Naming, resolved []registry.Resolved) ([]nodes.Image, error) {
	rows, err := naming.Plan(resolved)
	if err != nil {
		return nil, err
	}
	var images []nodes.Image
	at := map[registry.Resolved]int{}
	for _, row := range rows {
		i, ok := at[row.Source]
		if !ok {
			i = len(images)
			at[row.Source] = i
			img := nodes.Image{Source: row.Source.Reference, Digest: row.Source.Digest}
			if naming.Merged && img.Source.Digest == "" {
				img.Digest = mergedDigest
			}
			images = append(images, img)
		}
		images[i].Targets = append(images[i].Targets, oci.Reference{Repository: row.Target.Repository, Tag: row.Target.Tag})
	}
	return images, nil
}

// mergedDigest stands for what images have become that were merged at the target: what has one name there is one image.
var mergedDigest = digest.FromString("")

// printHosts prints the files, each below its name. Certificates are the user's own, and not repeated.
func printHosts(w io.Writer, configs []nodes.Config) error {
	var b strings.Builder
	for _, c := range configs {
		for _, f := range c.Files {
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "==> %s <==\n", f.Path)
			if isOwn(f.Text) {
				b.Write(f.Text)
			} else {
				fmt.Fprintf(&b, "(the file of --ca; it goes to %s)\n", f.Place)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// isOwn reports whether ferry hosts has made the text of a file.
func isOwn(text []byte) bool { return strings.HasPrefix(string(text), nodes.Mark) }

// sayUnsaid warns of the images that clients cannot be told, and returns the error that they make.
func sayUnsaid(configs []nodes.Config, images int, std *stdio) error {
	var clients []string
	for _, c := range configs {
		if len(c.Unsaid) == 0 {
			continue
		}
		clients = append(clients, string(c.Client))
		std.warn("%s cannot be told of %d of %s:", c.Client, len(c.Unsaid), plural(images, "image"))
		for _, u := range c.Unsaid {
			std.complain("  " + oneLine(fmt.Sprintf("%s is %s: %s", u.Image, u.Target, u.Why)))
		}
	}
	if clients == nil {
		return nil
	}
	return &partialError{&unsaidError{strings.Join(clients, " and ")}}
}

// unsaidError says that some clients do not find all images by their old names.
type unsaidError struct{ clients string }

func (e *unsaidError) Error() string {
	return e.clients + " cannot find all images by their old names"
}

// hintUnsaid is what can be done about an unsaidError.
const hintUnsaid = "let manifests use the new names, as unpack's --write-names lists them; or unpack without what renames: " +
	"a prefix, or --keep-host, can be told to every client"

// isUnsaid reports whether err is an unsaidError.
func isUnsaid(err error) bool {
	var unsaid *unsaidError
	return errors.As(err, &unsaid)
}

// clientJSON is what `ferry hosts --json` prints of a client.
type clientJSON struct {
	Client string       `json:"client"`
	Files  []fileJSON   `json:"files"`
	Unsaid []unsaidJSON `json:"unsaid"`
}

type fileJSON struct {
	Path  string `json:"path"`
	Place string `json:"place"`
	Text  string `json:"text"`
}

type unsaidJSON struct {
	Image  string `json:"image"`
	Target string `json:"target"`
	Why    string `json:"why"`
}

// hostsJSON returns the object that --json prints.
func hostsJSON(configs []nodes.Config) any {
	all := make([]clientJSON, len(configs))
	for i, c := range configs {
		all[i] = clientJSON{Client: string(c.Client), Files: []fileJSON{}, Unsaid: []unsaidJSON{}}
		for _, f := range c.Files {
			all[i].Files = append(all[i].Files, fileJSON{Path: f.Path, Place: f.Place, Text: string(f.Text)})
		}
		for _, u := range c.Unsaid {
			all[i].Unsaid = append(all[i].Unsaid, unsaidJSON(u))
		}
	}
	return map[string]any{"clients": all}
}

// sayNodes prints the command that tells nodes where the images of bundles are now.
func sayNodes(std *stdio, bundles []string, target string, flags ...string) {
	words := []string{"ferry hosts"}
	for _, word := range slices.Concat(flags, bundles, []string{target}) {
		words = append(words, shellWord(word))
	}
	std.say("containerd, k3s, Podman and kubespray find the images under their old names with the files of")
	std.say("  %s", strings.Join(words, " "))
}

// args returns the naming flags as the user gave them.
func (n *namingOptions) args() []string {
	var args []string
	for _, name := range namingFlags {
		if f := n.set.Lookup(name); f.Changed {
			args = append(args, "--"+name+"="+f.Value.String())
		}
	}
	return args
}

// shellWord returns a word as a shell takes it.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
