package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/registry"
)

// deniedError is a refusal, with what the registries were told and where that was looked for. Its text is that of the
// error inside.
type deniedError struct {
	looked []string // files
	used   []usedLogin
	err    error
}

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// about returns what was told to the registry that refused. A token server has another name, so that all that was told
// may matter then.
func (e *deniedError) about() []usedLogin {
	host := ""
	var server *registry.TokenServerError
	var answer *registry.Error
	if errors.As(e.err, &server) {
		host = server.Host
	} else if errors.As(e.err, &answer) {
		host = strings.Replace(answer.Host, "registry-1.docker.io", "docker.io", 1)
	}
	same := slices.DeleteFunc(slices.Clone(e.used), func(u usedLogin) bool { return u.host != host })
	if len(same) > 0 {
		return same
	}
	return e.used
}

// deniedHints says what may be wrong with a credential, or where one was looked for.
func deniedHints(err error, f endFlags) []string {
	login := func(host string) string {
		return fmt.Sprintf("log in with `ferry login %s`, or give %s USER", host, f.name("creds"))
	}
	var denied *deniedError
	if !errors.As(err, &denied) {
		return []string{login("HOST")}
	}
	var told []string
	anonymous, host := true, "HOST"
	for i, u := range denied.about() {
		if u.kind != loginNone {
			anonymous = false
		}
		if i == 0 {
			host = u.host
		} else if u.host != host {
			host = "HOST"
		}
		for _, hint := range u.hints() {
			if !slices.Contains(told, hint) {
				told = append(told, hint)
			}
		}
	}
	if anonymous {
		if len(denied.looked) > 0 {
			told = append(told, "credentials were looked for in "+strings.Join(denied.looked, ", "))
		}
		told = append(told, login(host))
	}
	return told
}

// shortLived are the users whose passwords are tokens of a cloud, with how long they last and how another one is got.
var shortLived = map[string]struct{ lasts, get string }{
	"AWS":                                  {"12 hours", "aws ecr get-login-password"},
	"oauth2accesstoken":                    {"an hour", "gcloud auth print-access-token"},
	"00000000-0000-0000-0000-000000000000": {"3 hours", "az acr login --name NAME --expose-token --output tsv --query accessToken"},
}

// hints says what may be wrong with what a registry was told.
func (u usedLogin) hints() []string {
	if u.kind == loginNone {
		if _, remark, ok := strings.Cut(u.source, "; "); ok {
			return []string{remark}
		}
		return nil
	}
	from := ""
	if u.source != "" {
		from = " (" + u.source + ")"
	}
	hints := []string{fmt.Sprintf("%s was told the user %q%s", u.host, u.user, from)}
	cloud, short := shortLived[u.user]
	switch {
	case u.kind == loginToken:
		hints[0] = fmt.Sprintf("%s was told a token%s, which may have expired: `ferry login %[1]s`", u.host, from)
	case u.kind == loginEmptyPassword:
		hints = append(hints, fmt.Sprintf("the password there is empty: `ferry login %s`", u.host))
	case u.user == "robot" || strings.HasPrefix(u.user, "robot+"):
		hints = append(hints, "a shell takes $NAME out of robot$NAME, unless it stands in 'single quotes' or after a backslash")
	case strings.HasPrefix(u.user, "robot$"):
		hints = append(hints, "a Harbor's robot accounts expire, and have their rights in the projects that they were made for")
	case short:
		hints = append(hints, fmt.Sprintf("such a password lasts %s: %s | ferry login -u %s --password-stdin %s", cloud.lasts, cloud.get, u.user, u.host))
	}
	return hints
}
