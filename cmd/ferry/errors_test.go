package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

func TestExitCode(t *testing.T) {
	damage := &bundle.DamageError{Damage: bundle.Damage{Member: "ferry.json", Reason: "gone"}}
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"anything else", fs.ErrNotExist, 1},
		{"a context that ended without a signal", context.Canceled, 1},
		{"usage", fmt.Errorf("list: %w", usagef("no image")), 2},
		{"bad lines of a list", errors.Join(&oci.LineError{File: "l", Line: 1}, &oci.LineError{File: "l", Line: 7}), 2},
		{"damage", fmt.Errorf("k8s.tar: %w", damage), 3},
		{"no bundle", fmt.Errorf("text: %w", bundle.ErrNotBundle), 3},
		{"a later version", bundle.ErrVersion, 3},
		{"another bundle than expected", checkExpected("k8s.tar", "12", "34"), 3},
		{"some images failed", &partialError{errors.New("1 of 3")}, 4},
		{"some images hit by damage, the others pushed", &partialError{damage}, 4},
		{"stopped by the user", &interruptedError{damage}, 130},
		{"stopped by the user after some images", &interruptedError{&partialError{damage}}, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exitCode(c.err); got != c.want {
				t.Errorf("exit code %d, want %d", got, c.want)
			}
		})
	}
}

// refused is an answer of a registry to what is about repository k8s/pause.
func refused(host, method string, status int, code string) error {
	return &registry.Error{Host: host, Method: method, URL: "https://" + host + "/v2/k8s/pause/blobs/uploads/", Status: status, Code: code}
}

func TestHints(t *testing.T) {
	untrusted := &registry.CertificateError{Host: "h", Issuer: "CN=Site CA", Err: x509.UnknownAuthorityError{}}
	for _, c := range []struct {
		name string
		err  error
		want []string // texts that the hints hold
		not  string   // one that they do not
	}{
		{"nothing to say", errors.New("odd"), nil, ""},
		{"untrusted source", sideSource.at(untrusted), []string{`"CN=Site CA"`, "--src-ca FILE", "--src-tls-verify=false"}, "dest"},
		{"untrusted target", sideDest.at(untrusted), []string{`"CN=Site CA"`, "--dest-ca FILE"}, "src"},
		{"untrusted, end not known", untrusted, []string{"--src-ca or --dest-ca FILE"}, ""},
		{
			"a certificate for another host",
			sideDest.at(&registry.CertificateError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}}),
			[]string{"--dest-tls-verify=false"},
			"--dest-ca",
		},
		{"plain http", sideDest.at(fmt.Errorf("h: %w", registry.ErrPlainHTTP)), []string{"--dest-tls-verify=false allows plain http"}, ""},
		{
			"denied", (&remote{side: sideSource, who: &identity{looked: []string{"/a/config.json", "/b/auth.json"}}}).explain(oci.ErrDenied),
			[]string{"/a/config.json, /b/auth.json", "ferry login HOST", "--src-creds USER"},
			"dest",
		},
		{"Docker Hub, another's namespace", sideDest.at(refused("registry-1.docker.io", "POST", 401, "DENIED")), []string{"an organization", "ferry login"}, ""},
		{"a cloud's namespace", sideDest.at(refused("registry.cn-hangzhou.aliyuncs.com", "POST", 403, "DENIED")), []string{"namespace", "console"}, ""},
		{"a host that only ends like one", sideDest.at(refused("notaliyuncs.com", "POST", 403, "DENIED")), []string{"ferry login"}, "namespace"},
		{
			"ECR", sideDest.at(refused("1.dkr.ecr.eu-west-1.amazonaws.com", "POST", 404, "NAME_UNKNOWN")),
			[]string{"aws ecr create-repository --region eu-west-1 --repository-name k8s/pause"},
			"log in",
		},
		{
			"ECR Public", sideDest.at(refused("public.ecr.aws", "POST", 404, "NAME_UNKNOWN")),
			[]string{"aws ecr-public create-repository --region us-east-1 --repository-name pause"},
			"k8s/",
		},
		{
			"a repository that is a command", sideDest.at(&registry.Error{
				Host: "1.dkr.ecr.eu-west-1.amazonaws.com", Method: "POST", URL: "https://x/v2/$(rm -rf ~)/blobs/uploads/", Status: 404, Code: "NAME_UNKNOWN",
			}),
			[]string{"no repository that is not there"},
			"rm",
		},
		{"a source that has no such repository", sideSource.at(refused("h", "POST", 404, "NAME_UNKNOWN")), nil, ""},
		{"a question for a repository that is not there", sideDest.at(refused("h", "GET", 404, "NAME_UNKNOWN")), nil, ""},
		{"quota", sideSource.at(&registry.QuotaError{Host: "h", Err: &registry.Error{Host: "h", Status: 429}}), []string{"--wait-quota"}, "--transfers"},
		{"429 to the last", sideSource.at(refused("h", "GET", 429, "")), []string{"--transfers 2", "--requests-per-second 5"}, "quota"},
		{"store in use", fmt.Errorf("store: %w", oci.ErrLocked), []string{"--store DIR"}, ""},
		{"disk full", &fs.PathError{Op: "write", Err: syscall.ENOSPC}, []string{"free some space"}, ""},
		{"later version", bundle.ErrVersion, []string{"this is ferry"}, ""},
		{"bad list", &oci.LineError{File: "l", Line: 1}, []string{"one image a line"}, "--help"},
		{"nobody there", &registry.UnreachableError{Host: "h", Err: syscall.ECONNREFUSED}, []string{"port"}, ""},
		{
			"token server not there",
			sideDest.at(&registry.TokenServerError{Host: "h", Server: "t:1", Err: &registry.UnreachableError{Host: "t:1", Err: syscall.ECONNREFUSED}}),
			[]string{"h names t:1 as its token server", "external_url"},
			"port",
		},
		{
			"token server that does not know the user",
			sideDest.at(&registry.TokenServerError{Host: "h", Server: "t:1", Err: &registry.Error{Host: "t:1", Status: 401}}),
			[]string{"ferry login"},
			"external_url",
		},
		{"helper not there", fmt.Errorf("docker-credential-x: %w", registry.ErrNoHelper), []string{"credsStore", "REGISTRY_AUTH_FILE"}, ""},
		{
			"proxy wants a password", sideSource.at(&registry.ProxyError{Proxy: "p:1", Host: "h", Status: 407}),
			[]string{"HTTPS_PROXY=http://USER:PASSWORD@p:1", "--src-proxy=none"},
			"dest",
		},
		{"proxy not there", &registry.ProxyError{Proxy: "p:1", Host: "h", Err: syscall.ECONNREFUSED}, []string{"check the proxy's name"}, ""},
		{"proxy refuses", &registry.ProxyError{Proxy: "p:1", Host: "h", Status: 403}, []string{"will not reach h", "NO_PROXY"}, ""},
		{
			"proxy that reads along",
			sideSource.at(&registry.CertificateError{Host: "h", Issuer: "CN=Corp", Proxy: "p:1", Err: x509.UnknownAuthorityError{}}),
			[]string{`"CN=Corp"`, "--src-ca FILE", "the proxy p:1 stands before h", "--src-proxy=none"},
			"=false",
		},
		{
			"client certificate", sideDest.at(&registry.ClientCertificateError{Host: "h:1", Err: errors.New("required")}),
			[]string{"--dest-cert-dir DIR", "/etc/docker/certs.d/h:1/client.cert"},
			"src",
		},
		{"stopped by the user", &interruptedError{sideDest.at(untrusted)}, nil, "ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(hints(c.err), "\n")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("hints %q lack %q", got, want)
				}
			}
			if c.want == nil && got != "" || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("hints %q say too much", got)
			}
		})
	}
}
