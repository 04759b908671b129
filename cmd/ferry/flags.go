package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// registryFlags are the flags of one end of a copy that is a registry.
type registryFlags struct {
	side      side
	tlsVerify bool
	ca        string
	creds     string

	set *pflag.FlagSet // tells what the user gave
}

// add defines the flags of the end s, with skopeo's names.
func (f *registryFlags) add(set *pflag.FlagSet, s side) {
	f.side, f.set = s, set
	noun := map[side]string{sideSource: "source", sideDest: "target"}[s]
	set.BoolVar(&f.tlsVerify, f.name("tls-verify"), true,
		fmt.Sprintf("check the %s's certificate; =false takes any, and plain http", noun))
	set.StringVar(&f.ca, f.name("ca"), "", fmt.Sprintf("trust the authorities in this PEM `FILE` for the %s, too", noun))
	set.StringVar(&f.creds, f.name("creds"), "",
		fmt.Sprintf("log in to the %s as `USER`; the password is asked for (USER:PASSWORD works, and shows in the process list)", noun))
}

func (f *registryFlags) name(flag string) string { return string(f.side) + "-" + flag }

// verifyAsked reports whether the user said in so many words that certificates are to be checked.
func (f *registryFlags) verifyAsked() bool {
	return f.tlsVerify && (f.ca != "" || f.set.Changed(f.name("tls-verify")))
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

// checkOneOf returns a usage error unless value is one of those that a flag takes.
func checkOneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usagef("--%s %q: one of %q is needed", flag, value, allowed)
}
