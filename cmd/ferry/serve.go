package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/registry/server"
)

// serveOptions are the options of ferry serve.
type serveOptions struct {
	listenOptions
	Bundles  []string
	Stores   []string // folders of image layouts
	Htpasswd string   // file; empty: everybody may read
	Making   makingOptions

	KeepGoing bool // ask nobody for volumes that are missing
}

func newServeCommand(std *stdio) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [BUNDLE...]",
		Short: "Serve bundles as a read-only registry",
		Long: `Serve the images of bundles as a read-only registry, straight from the files: nothing is unpacked. --store serves those of
a store, or of any OCI image layout.

Each image answers under its path alone (library/nginx:1.27), with the host before it (docker.io/library/nginx:1.27, where the
colon of a host is a _), and by containerd's ?ns=docker.io. A tag that means two images under the path alone is not found
there; the names to ask for are told at the start and in the answer.

What is read is proven before it ends: the body of a damaged blob is cut, and the damage is told with the images that need it.
All else is served. So is what can be had without volumes that are missing; on a terminal ferry asks for them, unless --keep-going.

Layers of compact bundles are made for whoever wants them, which takes a second for some 40 MB of files and core. With --cache
each is made once.

A browser is shown a page at / with the images, a search, and the commands that pull them.`,
		Example: `  ferry serve k8s.tar.zst
  ferry serve --listen :5000 k8s.tar.zst apps.tar.zst
  ferry serve --listen :5000 --tls --tls-ca ca.pem --htpasswd users k8s.tar.zst
  ferry serve --store layout`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Bundles = args
			return runServe(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	set.StringArrayVar(&o.Stores, "store", nil, "serve the store or the OCI image layout in `DIR`, too (repeatable)")
	o.add(set)
	o.Making.add(set)
	set.BoolVar(&o.KeepGoing, "keep-going", false, "serve what is there of a bundle, and ask for no disks")
	set.StringVar(&o.Htpasswd, "htpasswd", "", "let only the users in this `FILE` read, whose passwords are hashed by bcrypt (`htpasswd -B`)")
	return cmd
}

// check finds what is wrong with the options alone.
func (o *serveOptions) check() error {
	if len(o.Bundles)+len(o.Stores) == 0 {
		return usagef("BUNDLE or --store is missing")
	}
	if err := o.listenOptions.check(); err != nil {
		return err
	}
	return o.Making.check()
}

func runServe(ctx context.Context, o serveOptions, std *stdio) error {
	if err := o.check(); err != nil {
		return err
	}
	limitServeGarbage()
	var damage damageLog
	so := server.Options{Log: func(r server.Request) { logRequest(r, &damage, std) }}
	if err := o.readUsers(&so); err != nil {
		return err
	}
	shelves, err := openShelves(ctx, &o, std)
	if err != nil {
		return err
	}
	defer shelves.close()
	l, err := o.listen(std)
	if err != nil {
		return err
	}
	defer l.Close()
	if o.Htpasswd != "" && l.tls == nil && !l.isLocal() {
		std.warn("passwords come in plain http, where others can read them; --tls or --tls-cert prevent that")
	}
	so.Page = shelves.page(&damage, so.Users != nil, o.SelfSigned)
	s := server.New(shelves.list, so)
	shelves.say(s, l, std)
	if len(o.Bundles) > 0 {
		sayNodes(std, o.Bundles, l.url(), o.hostsFlags()...)
	}
	return l.serve(ctx, s, std)
}

// hostsFlags returns the flags of ferry hosts for nodes that pull from the server.
func (o *serveOptions) hostsFlags() []string {
	flags := []string{"--serve"}
	if o.SelfSigned {
		flags = append(flags, "--ca", cmp.Or(o.CA, "FILE"))
	}
	return flags
}

// readUsers reads who may read.
func (o *serveOptions) readUsers(so *server.Options) error {
	if o.Htpasswd == "" {
		return nil
	}
	f, err := os.Open(o.Htpasswd)
	if err != nil {
		return fmt.Errorf("--htpasswd %s: %w", o.Htpasswd, bareError(err))
	}
	defer f.Close()
	if so.Users, err = server.ParseUsers(o.Htpasswd, f); err != nil {
		return &usageError{fmt.Errorf("--htpasswd: %w", err)}
	}
	return nil
}

// logRequest tells of each request with -v, and of damage in any case, once.
func logRequest(r server.Request, known *damageLog, std *stdio) {
	user := ""
	if r.User != "" {
		user = " " + r.User
	}
	request := fmt.Sprintf("%s%s %s %s", r.Remote, user, r.Method, r.Target)
	std.detail("%s %d, %s in %s", oneLine(request), r.Status, formatSize(r.Bytes), r.Took.Round(time.Millisecond))
	if r.Err == nil || !known.add(r) {
		return
	}
	std.warn("%s: %s", oneLine(request), oneLine(r.Err.Error()))
	if damage, ok := errors.AsType[*bundle.DamageError](r.Err); ok {
		for _, name := range damage.Damage.Images {
			std.complain("  hits " + oneLine(name))
		}
	}
}
