package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// logoutOptions are the options of ferry logout.
type logoutOptions struct {
	Registry string // REGISTRY[/NAMESPACE]
	All      bool
}

func newLogoutCommand(std *stdio) *cobra.Command {
	var o logoutOptions
	cmd := &cobra.Command{
		Use:   "logout REGISTRY[/NAMESPACE]",
		Short: "Forget the user name and the password for a registry",
		Long: `Take the login for REGISTRY out of the files in which Docker, Podman and ferry keep it, and out of the credential helpers
that they name: out of the file of $REGISTRY_AUTH_FILE alone where that is set, else out of config.json and out of
auth.json in its places. All else stays as it is. --all takes every login out of them.`,
		Example: `  ferry logout harbor.example
  REGISTRY_AUTH_FILE=auth.json ferry logout --all`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Registry = args[0]
			}
			return runLogout(cmd.Context(), o, std)
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "forget all registries")
	return cmd
}

func runLogout(ctx context.Context, o logoutOptions, std *stdio) error {
	files := credentialFiles(std)
	switch {
	case o.All && o.Registry != "":
		return usagef("--all forgets all registries, so none can be named")
	case o.All:
		return logoutAll(ctx, files, std)
	case o.Registry == "":
		return usagef("REGISTRY is missing, or --all")
	}
	place, err := parsePlace(strings.TrimSuffix(strings.TrimPrefix(o.Registry, "https://"), "/"))
	if err != nil {
		return err
	}
	key := place.String()
	if place.Path == "" {
		key = place.Host
	}
	removed := false
	var errs []error
	for _, path := range files.Logout() {
		found, err := registry.RemoveCredential(ctx, path, key)
		errs = append(errs, err)
		if found {
			removed = true
			std.say("logged out of %s (%s)", key, path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !removed {
		std.say("%s: there was no login in %s", key, strings.Join(files.Logout(), ", "))
	}
	return tellLeft(ctx, files, place, std)
}

// logoutAll removes every login.
func logoutAll(ctx context.Context, files registry.CredentialFiles, std *stdio) error {
	var errs []error
	n := 0
	for _, path := range files.Logout() {
		removed, err := registry.RemoveAllCredentials(ctx, path)
		errs = append(errs, err)
		for _, key := range removed {
			std.say("logged out of %s (%s)", key, path)
		}
		n += len(removed)
	}
	if n == 0 {
		std.say("there was no login in %s", strings.Join(files.Logout(), ", "))
	}
	return errors.Join(errs...)
}

// tellLeft says where a login for place still is.
func tellLeft(ctx context.Context, files registry.CredentialFiles, place oci.Repository, std *stdio) error {
	all, err := registry.OpenCredentials(files)
	if err != nil {
		return err
	}
	login, source, err := all.For(ctx, place)
	if err == nil && login != (registry.Credential{}) {
		std.warn("%s is still known from %s", place.Host, source)
	}
	return err
}
