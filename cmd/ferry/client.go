package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// remote is the registry client of one end of a copy.
type remote struct {
	*registry.Client
	side   side
	looked []string // the credential files that were looked at
}

// newRemote returns the client that the flags f and t describe. Credentials come from f, else from the files of docker and
// podman. Close the client when done.
func newRemote(f *registryFlags, t *transferFlags, std *stdio) (*remote, error) {
	host := registry.HostOptions{InsecureSkipVerify: !f.tlsVerify}
	if f.verifyAsked() {
		host.Scheme = registry.SchemeHTTPS // on a loopback host, too
	}
	var err error
	if host.CAs, err = f.authorities(); err != nil {
		return nil, err
	}
	r := &remote{side: f.side}
	if f.creds != "" {
		login, err := f.login(std)
		if err != nil {
			return nil, err
		}
		host.Credential = func(context.Context, oci.Repository) (registry.Credential, error) { return login, nil }
	} else {
		files := credentialFiles(std)
		r.looked = slices.DeleteFunc(slices.Concat(files.Named, []string{files.Docker}, files.Containers),
			func(path string) bool { return path == "" })
		all, err := registry.OpenCredentials(files)
		if err != nil {
			return nil, err
		}
		host.Credential = func(ctx context.Context, repo oci.Repository) (registry.Credential, error) {
			login, source, err := all.For(ctx, repo)
			if err == nil {
				std.detail("%s: %s", repo, source)
			}
			return login, err
		}
	}
	o := registry.Options{
		Host:      func(string) registry.HostOptions { return host },
		UserAgent: "ferry/" + ferryVersion(),
		Events:    func(e registry.Event) { showEvent(std, e) },
	}
	if err := t.apply(&o, std); err != nil {
		return nil, err
	}
	r.Client = registry.NewClient(o)
	return r, nil
}

// explain adds to an error of this end what the hints need to know.
func (r *remote) explain(err error) error {
	if errors.Is(err, oci.ErrDenied) && len(r.looked) > 0 {
		err = &lookedError{files: r.looked, err: err}
	}
	return r.side.at(err)
}

// credentialFiles returns the files that docker and podman keep credentials in.
func credentialFiles(std *stdio) registry.CredentialFiles {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // as in a container without HOME: then only the environment names files
	}
	return registry.DefaultCredentialFiles(std.Getenv, home)
}

// login returns the credential of --src-creds or --dest-creds.
func (f *registryFlags) login(std *stdio) (registry.Credential, error) {
	user, password, given := strings.Cut(f.creds, ":")
	if user == "" {
		return registry.Credential{}, usagef("--%s: no user in it", f.name("creds"))
	}
	if given {
		std.warn("the password in --%s can be seen in the list of processes; without it ferry asks", f.name("creds"))
		return registry.Credential{Username: user, Password: password}, nil
	}
	in, ok := std.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return registry.Credential{}, usagef(
			"--%s: there is no terminal to ask for the password on; log in with `docker login` or `skopeo login`", f.name("creds"))
	}
	fmt.Fprintf(std.Err, "Password of %s: ", printable(user))
	secret, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(std.Err)
	if err != nil {
		return registry.Credential{}, fmt.Errorf("password of %s: %w", user, err)
	}
	return registry.Credential{Username: user, Password: string(secret)}, nil
}

// authorities returns the certificates of --src-ca or --dest-ca.
func (f *registryFlags) authorities() ([]*x509.Certificate, error) {
	if f.ca == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, usagef("--%s: %w", f.name("ca"), err)
	}
	cas, err := registry.ParseCAs(raw)
	if err != nil {
		return nil, usagef("--%s: %s: %w", f.name("ca"), f.ca, err)
	}
	return cas, nil
}

// showEvent tells with -v what the client got over by itself. A pause that a registry asked for is told in any case,
// because nothing seems to move meanwhile.
func showEvent(std *stdio, e registry.Event) {
	switch e.Kind {
	case registry.EventWaiting:
		std.say("%s asks to wait %s: %v", e.Host, e.Wait, e.Why)
	case registry.EventNotListed:
		std.detail("%s: does not list what belongs to its images, so signatures that only a list tells of are left out: %v",
			e.Host, e.Why)
	case registry.EventAway:
		std.warn("%s cannot be reached; what belongs to its images is what its mirrors tell", e.Host)
	case registry.EventResumed:
		std.detail("%s: the transfer goes on where it was cut: %v", e.Host, e.Why)
	default:
		std.detail("%s: attempt %d in %s: %v", e.Host, e.Attempt+1, e.Wait, e.Why)
	}
}
