package registry

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// writeFiles puts files of these names and contents into a new folder and returns its path.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestClientCertificate(t *testing.T) {
	staff, strangers := registrytest.NewAuthority(t, "Staff CA"), registrytest.NewAuthority(t, "Strangers CA")
	srv := registrytest.New(t, registrytest.Options{TLS: true, ClientCA: staff.CA()})
	cert, key := staff.Issue("ferry")
	other, otherKey := strangers.Issue("ferry")
	for _, tc := range []struct {
		name  string
		files map[string]string
		ok    bool
	}{
		{"of its authority", map[string]string{"c.cert": string(cert), "c.key": string(key)}, true},
		{"none", map[string]string{}, false},
		{"of another authority", map[string]string{"c.cert": string(other), "c.key": string(otherKey)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.files["ca.crt"] = string(srv.CAPEM())
			files, err := ReadCertDir(writeFiles(t, tc.files), "")
			if err != nil {
				t.Fatal(err)
			}
			c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions {
				o := HostOptions{Scheme: SchemeHTTPS}
				files.AddTo(&o)
				return o
			}})
			_, err = c.Tagged(t.Context(), repoOf(srv, "a"), "v1")
			if tc.ok {
				checkErr(t, err, oci.ErrNotFound)
				return
			}
			var refused *ClientCertificateError
			if !errors.As(err, &refused) || refused.Host != srv.Host() {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestReadCertDir(t *testing.T) {
	ca := registrytest.NewAuthority(t, "CA")
	cert, key := ca.Issue("ferry")
	_, otherKey := ca.Issue("other")
	pem := string(ca.CAPEM())
	for _, tc := range []struct {
		name       string
		files      map[string]string
		cas, certs int
		err        string // part of it
	}{
		{"authorities", map[string]string{"a.crt": pem, "b.crt": pem + pem, "notes.txt": "x"}, 3, 0, ""},
		{"empty", nil, 0, 0, ""},
		{"a pair", map[string]string{"client.cert": string(cert), "client.key": string(key)}, 0, 1, ""},
		{"no key", map[string]string{"client.cert": string(cert)}, 0, 0, "client.key is not there"},
		{"no certificate", map[string]string{"client.key": string(key)}, 0, 0, "no client.cert beside this key"},
		{"the key of another", map[string]string{"client.cert": string(cert), "client.key": string(otherKey)}, 0, 0, "client.cert"},
		{"no PEM", map[string]string{"a.crt": "x"}, 0, 0, "a.crt: no PEM certificate"},
		{"containerd's file", map[string]string{
			"hosts.toml": "server = 'https://reg.io'\nca = 'ca.pem'\nclient = [['c.pem', 'k.pem']]\nskip_verify = true\n" +
				"[host.'https://mirror.local']\nca = 'absent.pem'",
			"ca.pem": pem, "c.pem": string(cert), "k.pem": string(key), "unused.crt": pem,
		}, 0, 0, "absent.pem"},
		{"containerd's file, by the host's own table", map[string]string{
			"hosts.toml": "[host.'https://reg.io']\nca = ['ca.pem', 'ca.pem']\nclient = 'both.pem'",
			"ca.pem":     pem, "both.pem": string(cert) + string(key),
		}, 2, 1, ""},
		{"containerd's file, other hosts", map[string]string{
			"hosts.toml": "[host.'https://mirror.local']\nca = 'ca.pem'", "ca.pem": pem,
		}, 0, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, tc.files)
			files, err := ReadCertDir(dir, "reg.io")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), dir) {
					t.Fatalf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(files.CAs) != tc.cas || len(files.Certificates) != tc.certs {
				t.Errorf("%d authorities and %d pairs, want %d and %d", len(files.CAs), len(files.Certificates), tc.cas, tc.certs)
			}
		})
	}
	if _, err := ReadCertDir(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("a folder that is not there was read")
	}
}

func TestFindCertDir(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"one/harbor.local:8443/a.crt": "", "two/harbor.local:8443/a.crt": "", "two/quay.io/a.crt": "", "two/h_5000_/x": "",
	})
	dirs := []string{filepath.Join(dir, "none"), filepath.Join(dir, "one"), filepath.Join(dir, "two")}
	for host, want := range map[string]string{
		"harbor.local:8443": "one/harbor.local:8443",
		"harbor.local":      "",
		"quay.io":           "two/quay.io",
		"h:5000":            "two/h_5000_",
		"..":                "",
		"../one":            "",
	} {
		got := FindCertDir(host, dirs)
		if want != "" {
			want = filepath.Join(dir, filepath.FromSlash(want))
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func TestDefaultCertDirs(t *testing.T) {
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	if got := strings.Join(DefaultCertDirs(getenv, "/h"), " "); got != strings.Join([]string{
		filepath.Join("/h", ".config", "containers", "certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d",
		filepath.Join("/h", ".config", "docker", "certs.d"), "/etc/containerd/certs.d",
	}, " ") {
		t.Errorf("with a home: %s", got)
	}
	if got := len(DefaultCertDirs(getenv, "")); got != 3 {
		t.Errorf("without a home: %d folders", got)
	}
	env["XDG_CONFIG_HOME"] = "/x"
	if got := DefaultCertDirs(getenv, "/h")[0]; got != filepath.Join("/x", "containers", "certs.d") {
		t.Errorf("with XDG_CONFIG_HOME: %s", got)
	}
}

func TestInsecureHostStillSpeaksTLS(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{TLS: true})
	dir := writeFiles(t, map[string]string{"hosts.toml": "server = 'https://" + srv.Host() + "'\nskip_verify = true\n"})
	files, err := ReadCertDir(dir, srv.Host())
	if err != nil {
		t.Fatal(err)
	}
	o := HostOptions{Scheme: SchemeHTTPS, CAs: []*x509.Certificate{}}
	files.AddTo(&o)
	c, _ := newTestClient(t, srv, Options{Host: func(string) HostOptions { return o }})
	_, err = c.Tagged(t.Context(), repoOf(srv, "a"), "v1")
	checkErr(t, err, oci.ErrNotFound)
}
