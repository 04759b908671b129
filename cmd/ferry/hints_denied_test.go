package main

import (
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

func TestDeniedHints(t *testing.T) {
	password := registry.Credential{Password: "hunter2"}
	as := func(user string) registry.Credential {
		return registry.Credential{Username: user, Password: password.Password}
	}
	for _, c := range []struct {
		name   string
		host   string
		login  registry.Credential
		source string
		want   []string
		not    string
	}{
		{"a password", "h.io", as("ada"), "config.json", []string{`h.io was told the user "ada" (config.json)`}, "robot"},
		{"a password that the user typed", "h.io", as("ada"), "", []string{`h.io was told the user "ada"`}, "("},
		{"a robot of the system whose name the shell ate", "h.io", as("robot"), "--src-creds", []string{"robot$NAME", "'single quotes'"}, ""},
		{"a robot of a project whose name the shell ate", "h.io", as("robot+push"), "--src-creds", []string{"robot$NAME"}, ""},
		{"a robot", "h.io", as("robot$k8s+push"), "--src-creds", []string{"expire"}, "single quotes"},
		{"ECR", "1.ecr.aws", as("AWS"), "config.json", []string{"12 hours: aws ecr get-login-password | ferry login -u AWS --password-stdin 1.ecr.aws"}, ""},
		{"an empty password", "h.io", registry.Credential{Username: "ada"}, "config.json", []string{"the password there is empty", "ferry login h.io"}, ""},
		{"a token", "h.io", registry.Credential{RefreshToken: "hunter2"}, "config.json", []string{"a token (config.json), which may have expired: `ferry login h.io`"}, ""},
		{"nobody", "h.io", registry.Credential{}, "no credentials", []string{"looked for in /a/config.json", "ferry login h.io"}, "told"},
		{
			"a helper that is not there", "h.io",
			registry.Credential{},
			"no credentials; docker-credential-x: there is no such program on PATH",
			[]string{"docker-credential-x: there is no such program", "ferry login h.io"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &remote{side: sideSource, who: &identity{looked: []string{"/a/config.json"}}}
			r.who.note(oci.Repository{Host: "other.io"}, as("somebody else"), "config.json")
			r.who.note(oci.Repository{Host: c.host}, c.login, c.source)
			got := strings.Join(hints(r.explain(&registry.Error{Host: c.host, Status: 401})), "\n")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("hints %q lack %q", got, want)
				}
			}
			for _, not := range []string{c.not, "hunter2", "somebody else"} {
				if not != "" && strings.Contains(got, not) {
					t.Errorf("hints %q say too much", got)
				}
			}
		})
	}
}
