package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// writeClientFiles writes NAME.d with the files of a certs.d folder: the registry's authority, and a client certificate
// that it takes.
func writeClientFiles(ts *testscript.TestScript, name string, ca *registrytest.Authority, registry []byte) error {
	dir := ts.MkAbs(name + ".d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cert, key := ca.Issue("ada")
	for file, raw := range map[string][]byte{"ca.crt": registry, "client.cert": cert, "client.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// proxy NAME [login] [inspect] HOST:PORT=REGISTRY... starts a proxy that reaches registries by other names, and sets $NAME
// to its address. With login it wants the user pat with the password secret; with inspect it puts certificates of its own
// in place of the registries', and writes NAME.pem.
func (s *story) proxy(ts *testscript.TestScript, args []string) error {
	o := registrytest.ProxyOptions{Routes: map[string]string{}}
	var pem []byte
	for _, word := range args[1:] {
		host, to, route := strings.Cut(word, "=")
		switch {
		case route:
			o.Routes[host] = s.registries[to].Host()
		case word == "login":
			o.Username, o.Password = "pat", "secret"
		case word == "inspect":
			o.Inspect = registrytest.NewAuthority(s.tb, "Corp Inspection CA")
			pem = o.Inspect.CAPEM()
		default:
			return fmt.Errorf("proxy: %q", word)
		}
	}
	p := registrytest.NewProxy(s.tb, o)
	s.proxies[args[0]] = p
	ts.Setenv(args[0], p.Host())
	if pem != nil {
		return os.WriteFile(ts.MkAbs(args[0]+".pem"), pem, 0o644)
	}
	return nil
}

// served PROXY [HOST:PORT...] proves which hosts the proxy was asked for.
func (s *story) served(_ *testscript.TestScript, args []string) error {
	if got := s.proxies[args[0]].Served(); !slices.Equal(got, args[1:]) {
		return fmt.Errorf("the proxy served %q, want %q", got, args[1:])
	}
	return nil
}

// any REGISTRY NAME sets $NAME to an address of the registry that is not one of loopback by its name.
func (s *story) any(ts *testscript.TestScript, args []string) error {
	_, port, err := net.SplitHostPort(s.registries[args[0]].Host())
	ts.Setenv(args[1], "0.0.0.0:"+port)
	return err
}
