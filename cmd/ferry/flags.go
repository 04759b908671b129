package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/registry"
)

// registryFlags are the flags of one end of a copy that is a registry.
type registryFlags struct {
	side side

	// how it is reached
	tlsVerify bool
	ca        string
	certDir   string
	proxy     string // URL; proxyNone; empty: as the environment says

	// who asks
	creds         string // USER, or USER:PASSWORD
	credsFile     string
	passwordStdin bool
	known         *registry.Credential // in place of these, of a command that has asked already

	// what is asked in its place
	mirrors   []string
	mirrorDir string

	set *pflag.FlagSet // tells what the user gave
}

// proxyNone is the value of --proxy that stands for no proxy, whatever the environment says.
const proxyNone = "none"

// add defines the flags of the end s, with skopeo's names.
func (f *registryFlags) add(set *pflag.FlagSet, s side) {
	noun := map[side]string{sideSource: "the source", sideDest: "the target"}[s]
	f.addReach(set, s, noun)
	set.StringVar(&f.creds, f.name("creds"), "",
		fmt.Sprintf("log in to %s as `USER`; the password is asked for (USER:PASSWORD works, and shows in the process list)", noun))
	set.StringVar(&f.credsFile, f.name("creds-file"), "",
		fmt.Sprintf("log in to %s with USER:PASSWORD, or a line for each of them, from `FILE`", noun))
	set.BoolVar(&f.passwordStdin, f.name("password-stdin"), false,
		fmt.Sprintf("read the password for --%s from stdin", f.name("creds")))
}

// addReach defines the flags that say how a registry, which the help calls noun, is reached.
func (f *registryFlags) addReach(set *pflag.FlagSet, s side, noun string) {
	f.side, f.set = s, set
	set.BoolVar(&f.tlsVerify, f.name("tls-verify"), true,
		fmt.Sprintf("check the certificate of %s; =false takes any, and plain http", noun))
	set.StringVar(&f.ca, f.name("ca"), "", fmt.Sprintf("trust the authorities in this PEM `FILE` for %s, too", noun))
	set.StringVar(&f.certDir, f.name("cert-dir"), "",
		fmt.Sprintf("authorities (*.crt) and client certificates (*.cert, *.key) for %s are in `DIR`, or in DIR/HOST[:PORT]", noun))
	set.StringVar(&f.proxy, f.name("proxy"), "",
		fmt.Sprintf("reach %s by the proxy at this `URL`, or by none; without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which", noun))
}

// addMirrors defines the flags for what is asked before a source, of a command that fetches images.
func (f *registryFlags) addMirrors(set *pflag.FlagSet) {
	set.StringArrayVar(&f.mirrors, "mirror", nil,
		"ask a mirror first, as `REGISTRY=MIRROR`, such as docker.io=mirror.local:5000/hub; names in the bundle stay (repeatable)")
	set.StringVar(&f.mirrorDir, "mirror-dir", "", "ask the mirrors first that containerd's hosts.toml files in `DIR`/HOST name")
}

func (f *registryFlags) name(flag string) string { return f.side.flag(flag) }

// verifyAsked reports whether the user said in so many words that certificates are to be checked.
func (f *registryFlags) verifyAsked() bool {
	return f.tlsVerify && (f.ca != "" || f.set.Changed(f.name("tls-verify")))
}

// check finds what is wrong with the flags alone.
func (f *registryFlags) check() error {
	var errs []error
	for _, clash := range [][2]string{
		{"creds", "creds-file"}, {"creds-file", "password-stdin"},
	} {
		if f.given(clash[0]) && f.given(clash[1]) {
			errs = append(errs, usagef("--%s and --%s: only one of them can be given", f.name(clash[0]), f.name(clash[1])))
		}
	}
	if f.passwordStdin && !f.given("creds-file") && f.creds == "" {
		errs = append(errs, usagef("--%s: whose password? --%s USER is needed", f.name("password-stdin"), f.name("creds")))
	}
	if f.passwordStdin && strings.Contains(f.creds, ":") {
		errs = append(errs, usagef("--%s: --%s has a password already", f.name("password-stdin"), f.name("creds")))
	}
	if !f.tlsVerify && f.ca != "" {
		errs = append(errs, usagef("--%s: --%s=false checks no certificate", f.name("ca"), f.name("tls-verify")))
	}
	return errors.Join(errs...)
}

// given reports whether the user gave the flag, which need not be defined.
func (f *registryFlags) given(flag string) bool { return f.set.Changed(f.name(flag)) }

// checkHosts returns a usage error when the flags give a credential and there are several registries, which all would be
// told it.
func (f *registryFlags) checkHosts(hosts []string) error {
	if f.creds == "" && f.credsFile == "" {
		return nil
	}
	for _, host := range hosts {
		if host != hosts[0] {
			return usagef("--%s is for one registry, and there are %s and %s; log in to each of them with `ferry login`",
				f.name(f.credsFlag()), hosts[0], host)
		}
	}
	return nil
}

// credsFlag returns the flag by which the user gave a credential.
func (f *registryFlags) credsFlag() string {
	if f.credsFile != "" {
		return "creds-file"
	}
	return "creds"
}

// addJobs defines the flag for the parallelism of the processors.
func addJobs(set *pflag.FlagSet, n *int) {
	set.IntVarP(n, "jobs", "j", 0, "use `N` processors (default all)")
}

// checkAtLeast returns a usage error unless the value of a flag is at least low.
func checkAtLeast(flag string, value, low int) error {
	if value < low {
		return usagef("--%s %d: at least %d is needed", flag, value, low)
	}
	return nil
}

// exactArgs returns a check that names what is missing: `ferry verify` wants "BUNDLE".
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return fmt.Errorf("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// atLeastArgs is for commands that take one argument of that name, or several.
func atLeastArgs(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	}
}

// leastArgs returns a check that names what is missing; more arguments are more of them.
func leastArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing", names[len(args)])
		}
		return nil
	}
}

// checkOneOf returns a usage error unless value is one of those that a flag takes.
func checkOneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usagef("--%s %q: one of %s is needed", flag, value, strings.Join(allowed, ", "))
}
