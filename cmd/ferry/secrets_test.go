package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// The secrets that must not show. The passwords have signs that URLs, JSON and base64 spell otherwise.
const (
	canaryUser     = "ada"
	canaryPassword = "canary/pass+word&7"
	canaryIdentity = "canary.identity-token"
	canaryProxy    = "canary-of-the:proxy"
	canaryBearer   = "canary-bearer" // begins the tokens of the registry
	canarySigned   = "of-the-storage"
)

// canaries returns the secrets in every spelling that may turn up.
func canaries() []string {
	all := []string{canaryBearer, canarySigned, canaryIdentity}
	for _, pair := range [][2]string{{canaryUser, canaryPassword}, {"pat", canaryProxy}} {
		secret := pair[1]
		quoted, _ := json.Marshal(secret)
		all = append(all, secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("x", secret).String()[2:],
			strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(pair[0]+":"+secret)))
	}
	return all
}

// echo refuses, and writes all that it knows about the request into the answer.
func echo(status int) registrytest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, password, _ := r.BasicAuth()
			text := fmt.Sprintf("%s %s %v password %s body %.1000q", r.Method, r.URL, r.Header, password, body)
			raw, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"code": "UNKNOWN", "message": text, "detail": r.Header}}})
			w.WriteHeader(status)
			w.Write(raw)
		})
	}
}

// secretWorld is a home in which ferry runs, with registries that want a password and give tokens.
type secretWorld struct {
	*testing.T
	home string
	env  []string
	said bytes.Buffer // all that ferry printed
}

// newRegistry starts a registry that has the image pause and sends those who want a blob to another host.
func (w *secretWorld) newRegistry() *registrytest.Server {
	r := registrytest.New(w, registrytest.Options{
		Auth: registrytest.Bearer, Username: canaryUser, Password: canaryPassword, IdentityToken: canaryIdentity,
		TokenPrefix: canaryBearer, RedirectBlobs: true,
	})
	g := testImages["pause"].graph()
	for _, b := range g.All() {
		if oci.IsManifest(b.MediaType) {
			r.AddManifest("pause", b.MediaType, b.Bytes)
		} else {
			r.AddBlob("pause", b.Bytes)
		}
	}
	r.Tag("pause", "3.9", g.Digest)
	return r
}

// ferry runs ferry and reports whether it did what it was asked.
func (w *secretWorld) ferry(stdin string, args ...string) bool {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "ferry", args...)
	cmd.Dir, cmd.Env = w.home, append([]string{"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), strings.Join(raceExit[:], "=")}, w.env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	w.said.Write(out)
	w.check(strings.Join(args, " "), out)
	return err == nil
}

// check looks for secrets in a text.
func (w *secretWorld) check(where string, raw []byte) {
	w.Helper()
	for _, secret := range canaries() {
		if at := bytes.Index(raw, []byte(secret)); at >= 0 {
			w.Errorf("%s: %q in %q", where, secret, raw[max(0, at-80):min(len(raw), at+len(secret)+20)])
		}
	}
}

// checkFiles looks for secrets in all files but those that the user made, and counts what it has looked at.
func (w *secretWorld) checkFiles(own ...string) (n int) {
	w.Helper()
	err := filepath.WalkDir(w.home, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(w.home, path)
		if err != nil || e.IsDir() {
			return err
		}
		for _, o := range own {
			if filepath.ToSlash(name) == o {
				return nil
			}
		}
		raw, err := os.ReadFile(path)
		w.check(name, append(raw, name...))
		n++
		return err
	})
	if err != nil {
		w.Error(err)
	}
	return n
}

func (w *secretWorld) write(name, content string) {
	w.Helper()
	path := filepath.Join(w.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *secretWorld) logins(entry string, hosts ...string) {
	w.Helper()
	var all []string
	for _, host := range hosts {
		all = append(all, fmt.Sprintf("%q: %s", host, entry))
	}
	w.write(".docker/config.json", `{"auths": {`+strings.Join(all, ", ")+`}}`)
}

// No secret shows in what ferry prints, or in a file that it writes, whatever a registry, its storage or a proxy answers.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	w := &secretWorld{T: t, home: t.TempDir()}
	from, to := w.newRegistry(), w.newRegistry()
	image := from.Host() + "/pause:3.9"
	login := `{"auth": "` + base64.StdEncoding.EncodeToString([]byte(canaryUser+":"+canaryPassword)) + `"}`
	w.logins(login, from.Host(), to.Host())
	w.write("creds.txt", canaryUser+":"+canaryPassword)

	must := func(want bool, stdin string, args ...string) {
		t.Helper()
		if got := w.ferry(stdin, args...); got != want {
			t.Fatalf("ferry %q: %v, want %v; all that was said:\n%s", args, got, want, &w.said)
		}
	}
	must(true, "", "pack", "-v", "-o", "k8s.tar", image)
	must(true, "", "unpack", "-v", "k8s.tar", to.Host()+"/k")
	must(true, "", "copy", "-v", image, to.Host()+"/c")
	must(true, "", "list", "-v", from.Host()+"/pause")

	// Refusals that repeat the request, at each place of the way.
	for _, status := range []int{400, 401, 403, 500} {
		for _, kind := range []registrytest.Kind{registrytest.Token, registrytest.Manifest, registrytest.Blob, registrytest.Storage, registrytest.Upload} {
			name := fmt.Sprintf("%s-%d", kind, status)
			m := registrytest.Match{Kind: kind}
			if status == 500 {
				m.Times = 1 // it is tried again
			}
			from.Fault(m, echo(status))
			to.Fault(m, echo(status))
			w.ferry("", "pack", "-v", "-o", name+".tar", image)
			w.ferry("", "unpack", "-v", "k8s.tar", to.Host()+"/"+name)
			from.ClearFaults()
			to.ClearFaults()
		}
	}
	if !bytes.Contains(w.said.Bytes(), []byte("Authorization:[Bearer ***]")) || !bytes.Contains(w.said.Bytes(), []byte("***")) {
		t.Errorf("no refusal was told that repeats the request:\n%s", &w.said)
	}

	// Where a password comes from a flag, stdin or a file.
	must(true, "", "unpack", "-v", "--dest-creds", canaryUser+":"+canaryPassword, "k8s.tar", to.Host()+"/f")
	must(true, canaryPassword, "unpack", "-v", "--dest-creds", canaryUser, "--dest-password-stdin", "k8s.tar", to.Host()+"/s")
	must(true, "", "pack", "-v", "--src-creds-file", "creds.txt", "-o", "l.tar", image)
	must(false, canaryPassword+"\n"+canaryPassword, "unpack", "--dest-creds", canaryUser, "--dest-password-stdin", "k8s.tar", to.Host())
	must(false, "", "unpack", "k8s.tar", canaryUser+":"+canaryPassword+"@"+to.Host())
	must(false, "", "unpack", "k8s.tar", "https://"+canaryUser+":"+canaryPassword+"@"+to.Host())
	for _, args := range [][]string{{"list"}, {"login"}, {"logout"}, {"pack", "-o", "l.tar"}, {"copy", to.Host() + "/k"}} {
		for _, scheme := range []string{"", "https://"} {
			must(false, "", append(args, scheme+canaryUser+":"+canaryPassword+"@reg.example:5000")...)
			must(false, "", append(args, scheme+canaryUser+":"+canaryPassword+"@reg.example/pause:3.9")...)
		}
	}
	must(false, "", "pack", "--mirror", to.Host()+"=http://"+canaryUser+":"+canaryPassword+"@"+to.Host(), "-o", "l.tar", image)

	// A token in place of the password, and a proxy.
	w.logins(`{"identitytoken": "`+canaryIdentity+`"}`, from.Host())
	must(true, "", "pack", "-v", "-o", "i.tar", image)
	from.Fault(registrytest.Match{Kind: registrytest.Token}, echo(401))
	must(false, "", "pack", "-v", "-o", "i.tar", image)
	from.ClearFaults()
	w.logins(login, from.Host(), to.Host(), "proxied.example")
	proxy := registrytest.NewProxy(t, registrytest.ProxyOptions{
		Username: "pat", Password: canaryProxy, Routes: map[string]string{"proxied.example:443": from.Host()},
	})
	for _, password := range []string{canaryProxy, canaryProxy + "x"} {
		by := url.URL{Scheme: "http", User: url.UserPassword("pat", password), Host: proxy.Host()}
		w.env = []string{"HTTPS_PROXY=" + by.String()}
		must(false, "", "pack", "-v", "-o", "p.tar", "proxied.example/pause:3.9")
		w.env = nil
		must(false, "", "pack", "-v", "--src-proxy", by.String(), "-o", "p.tar", "proxied.example/pause:3.9")
		must(false, "", "pack", "--src-proxy", "ftp://"+by.User.String()+"@"+by.Host, "-o", "p.tar", "proxied.example/pause:3.9")
	}

	if n := w.checkFiles(".docker/config.json", "creds.txt"); n < 10 {
		t.Errorf("only %d files were looked at", n)
	}

	// Login writes the password into the one file that is for it.
	must(true, canaryPassword, "login", "-v", "-u", canaryUser, "--password-stdin", from.Host())
	from.Fault(registrytest.Match{}, echo(401))
	must(false, canaryPassword, "login", "-v", "-u", canaryUser, "--password-stdin", from.Host())
	must(true, "", "logout", "-v", "--all")
	w.checkFiles("creds.txt")
}
