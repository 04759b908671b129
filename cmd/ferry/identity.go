package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// credentialFunc gives the credential for a repository, as [registry.HostOptions] wants it.
type credentialFunc = func(context.Context, oci.Repository) (registry.Credential, error)

// identity is who the user is at the registries of one end: the credential of the flags, for one registry, or those of
// the files of docker and podman.
type identity struct {
	std    *stdio
	given  *registry.Credential // by the flag of that name, or by the user when it is empty
	flag   string
	to     string // the registry that got what was given
	files  *registry.Credentials
	looked []string // the files

	mu   sync.Mutex
	used []usedLogin
}

// usedLogin is what a registry was told, for the hints.
type usedLogin struct {
	host   string
	source string // a flag, a file and its key, or a helper; with an empty credential what there is to say about that
	user   string
	kind   loginKind
}

type loginKind int

const (
	loginNone loginKind = iota
	loginPassword
	loginEmptyPassword
	loginToken
)

// newIdentity reads what the flags name.
func newIdentity(f *registryFlags, std *stdio) (*identity, error) {
	id := &identity{std: std, given: f.known}
	if f.creds != "" || f.credsFile != "" {
		id.flag = "--" + f.name(f.credsFlag())
		login, err := f.login(std)
		if err != nil {
			return nil, err
		}
		id.given = &login
	}
	if id.given != nil && len(f.mirrors) == 0 && f.mirrorDir == "" {
		return id, nil // a file that cannot be read does not matter then
	}
	files := credentialFiles(std)
	id.looked = slices.DeleteFunc(slices.Concat(files.Named, []string{files.Docker}, files.Containers),
		func(path string) bool { return path == "" })
	var err error
	id.files, err = registry.OpenCredentials(files)
	return id, err
}

// at returns who the user is at a registry. What the flags give is for the first one alone.
func (id *identity) at(host string) credentialFunc {
	if id.given == nil {
		return id.fromFiles
	}
	if id.to == "" {
		id.to = host
	}
	return func(_ context.Context, repo oci.Repository) (registry.Credential, error) {
		if id.to != host {
			return registry.Credential{}, fmt.Errorf("%s is for one registry, and %s has got it; log in with `ferry login %s`",
				id.flag, id.to, host)
		}
		id.note(repo, *id.given, id.flag)
		return *id.given, nil
	}
}

// fromFiles returns what the files have.
func (id *identity) fromFiles(ctx context.Context, repo oci.Repository) (registry.Credential, error) {
	login, source, err := id.files.For(ctx, repo)
	if err == nil {
		id.std.detail("%s: %s", repo, source)
		id.note(repo, login, source)
	}
	return login, err
}

// note remembers what a registry is told.
func (id *identity) note(repo oci.Repository, login registry.Credential, source string) {
	u := usedLogin{host: repo.Host, source: source, user: login.Username}
	switch {
	case login.RefreshToken != "" || login.AccessToken != "":
		u.kind = loginToken
	case login.Password != "":
		u.kind = loginPassword
	case login.Username != "":
		u.kind = loginEmptyPassword
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	if !slices.Contains(id.used, u) {
		id.used = append(id.used, u)
	}
}

// denied returns err with what the registries of this end were told.
func (id *identity) denied(err error) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	return &deniedError{looked: id.looked, used: slices.Clone(id.used), err: err}
}

// credentialFiles returns the files that docker and podman keep credentials in.
func credentialFiles(std *stdio) registry.CredentialFiles {
	return registry.DefaultCredentialFiles(std.Getenv, homeDir())
}

// homeDir returns the user's home directory, and nothing where there is none, as in a container without HOME.
func homeDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return home
}

// login returns the credential of --creds, with the password from wherever it is, or of --creds-file.
func (f *registryFlags) login(std *stdio) (registry.Credential, error) {
	if f.credsFile != "" {
		login, err := readCredsFile(f.credsFile, std)
		if err != nil {
			return login, usagef("--%s: %w", f.name("creds-file"), err)
		}
		return login, nil
	}
	user, password, given := strings.Cut(f.creds, ":")
	if user == "" {
		return registry.Credential{}, usagef("--%s: no user in it", f.name("creds"))
	}
	if given {
		std.warn("the password in --%s can be seen in the list of processes; without it ferry asks", f.name("creds"))
		return registry.Credential{Username: user, Password: password}, nil
	}
	if f.passwordStdin {
		in, err := std.takeInput("--" + f.name("password-stdin"))
		if err != nil {
			return registry.Credential{}, err
		}
		if password, err = readPassword(in); err != nil {
			return registry.Credential{}, usagef("--%s: %w", f.name("password-stdin"), err)
		}
		return registry.Credential{Username: user, Password: password}, nil
	}
	password, err := std.ask("Password of "+user, true)
	if errors.Is(err, errNoTerminal) {
		return registry.Credential{}, usagef("--%s: there is no terminal to ask for the password on; give it with --%s or --%s, or use `ferry login`",
			f.name("creds"), f.name("password-stdin"), f.name("creds-file"))
	}
	if err != nil {
		return registry.Credential{}, fmt.Errorf("password of %s: %w", user, err)
	}
	return registry.Credential{Username: user, Password: password}, nil
}
