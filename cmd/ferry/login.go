package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// loginOptions are the options of ferry login.
type loginOptions struct {
	Registry      string
	User          string // empty: asks
	PasswordStdin bool   // false: asks
	Reach         registryFlags
}

func newLoginCommand(std *stdio) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login REGISTRY",
		Short: "Keep a user name and a password for a registry",
		Long: `Ask for a user name and a password for REGISTRY, see whether the registry takes them, and keep them where Docker, Podman
and ferry find them: in the file of $REGISTRY_AUTH_FILE, else in config.json of $DOCKER_CONFIG or ~/.docker, or with
the credential helper that the file names for the registry. What the file holds besides stays as it is, and nobody else
can read it. Where the registry does not take them, nothing is kept.`,
		Example: `  ferry login harbor.example
  ferry login -u 'robot$k8s+push' --password-stdin harbor.example < token.txt
  aws ecr get-login-password | ferry login -u AWS --password-stdin 1234.dkr.ecr.eu-west-1.amazonaws.com`,
		Args: exactArgs("REGISTRY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Registry = args[0]
			return runLogin(cmd.Context(), o, std)
		},
	}
	set := cmd.Flags()
	set.StringVarP(&o.User, "username", "u", "", "the `USER`; without it ferry asks")
	set.BoolVar(&o.PasswordStdin, "password-stdin", false, "read the password from stdin")
	o.Reach.addReach(set, sideOnly, "the registry")
	return cmd
}

func runLogin(ctx context.Context, o loginOptions, std *stdio) error {
	host, err := parseRegistry(o.Registry)
	if err != nil {
		return err
	}
	files := credentialFiles(std)
	path := files.Login()
	if path == "" {
		return errors.New("there is no home directory to keep a login in; REGISTRY_AUTH_FILE names a file")
	}
	login, err := o.credential(host, std)
	if err != nil {
		return err
	}
	if err := o.try(ctx, host, login, std); err != nil {
		return err
	}
	where, err := registry.SaveCredential(ctx, path, host, login)
	if err != nil {
		return &unkeptError{err}
	}
	std.say("logged in to %s as %s; the password is in %s", host, login.Username, where)
	tellRivals(ctx, files, path, host, std)
	return nil
}

// unkeptError says that a login is good and could not be kept. Its text is that of the error inside.
type unkeptError struct{ err error }

func (e *unkeptError) Error() string { return e.err.Error() }
func (e *unkeptError) Unwrap() error { return e.err }

// credential returns the user name and the password from wherever they are.
func (o *loginOptions) credential(host string, std *stdio) (registry.Credential, error) {
	login := registry.Credential{Username: o.User}
	if strings.Contains(o.User, ":") {
		return login, usagef("--username: a user name has no colon; a password does not belong there")
	}
	if o.PasswordStdin {
		if o.User == "" {
			return login, usagef("--password-stdin: whose password? --username USER is needed")
		}
		in, err := std.takeInput("--password-stdin")
		if err != nil {
			return login, err
		}
		if login.Password, err = readPassword(in); err != nil {
			return login, usagef("--password-stdin: %w", err)
		}
		return login, nil
	}
	err := error(nil)
	if o.User == "" {
		login.Username, err = std.ask("User name at "+host, false)
	}
	if err == nil {
		login.Password, err = std.ask("Password of "+login.Username, true)
	}
	switch {
	case errors.Is(err, errNoTerminal):
		return login, usagef("%w; --username USER and --password-stdin do without", err)
	case err != nil:
		return login, fmt.Errorf("user name and password: %w", err)
	case login.Username == "" || login.Password == "":
		return login, usagef("a user name and a password are needed, and one of them is empty")
	}
	return login, nil
}

// try asks the registry whether it takes the login.
func (o *loginOptions) try(ctx context.Context, host string, login registry.Credential, std *stdio) error {
	o.Reach.known = &login
	r, err := newRemote(&o.Reach, &transferFlags{}, std)
	if err != nil {
		return err
	}
	defer r.Close()
	asked, err := r.CheckLogin(ctx, host)
	if err != nil {
		return r.explain(err)
	}
	if !asked {
		std.warn("%s asks nobody for a password, so that this one could not be checked", host)
	}
	return nil
}

// tellRivals names the other files that have a login for host: podman asks them first.
func tellRivals(ctx context.Context, files registry.CredentialFiles, path, host string, std *stdio) {
	for _, other := range files.Containers {
		if other == path || len(files.Named) > 0 {
			continue
		}
		all, err := registry.OpenCredentials(registry.CredentialFiles{Named: []string{other}})
		if err != nil {
			continue // whoever reads it complains
		}
		if login, _, err := all.For(ctx, oci.Repository{Host: host}); err == nil && login != (registry.Credential{}) {
			std.warn("%s has a login for %s, too, which podman and skopeo use first; `podman logout %[2]s` removes it", other, host)
		}
	}
}

// parseRegistry reads the name of a registry. People paste it out of a browser.
func parseRegistry(s string) (host string, err error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://"), "/")
	place, err := parsePlace(bare)
	switch {
	case err != nil:
		return "", err
	case place.Path != "" && bare != s: // a page of it
		return "", usagef("%.200s: REGISTRY is HOST[:PORT], such as %s", printable(s), place.Host)
	case place.Path != "":
		return "", usagef("%.200s: a login is for the whole registry, %s", printable(s), place.Host)
	case registry.IsHubSite(place.Host):
		return "", usagef("%s is the site of Docker Hub; its registry is docker.io", place.Host)
	}
	return place.Host, nil
}
