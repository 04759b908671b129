package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// basic returns an "auths" entry as docker login writes it.
func basic(user, password string) string {
	return fmt.Sprintf(`{"auth": %q}`, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// writeFile writes content to a new file and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func repository(s string) oci.Repository {
	host, path, _ := strings.Cut(s, "/")
	return oci.Repository{Host: host, Path: path}
}

func TestDefaultCredentialFiles(t *testing.T) {
	home := filepath.Join("/", "home", "ann")
	var runFiles []string
	if runtime.GOOS == "linux" {
		runFiles = []string{fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid())}
	}
	for _, tc := range []struct {
		name string
		env  map[string]string
		home string
		want CredentialFiles
	}{
		{
			"nothing set", nil, home,
			CredentialFiles{
				Docker:     filepath.Join(home, ".docker", "config.json"),
				Containers: append(runFiles[:len(runFiles):len(runFiles)], filepath.Join(home, ".config", "containers", "auth.json")),
			},
		},
		{"no home", nil, "", CredentialFiles{Containers: runFiles}},
		{
			"everything set",
			map[string]string{
				"REGISTRY_AUTH_FILE": "robot.json", "DOCKER_CONFIG": "dk", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "cfg",
			},
			home,
			CredentialFiles{
				Named:  []string{"robot.json"},
				Docker: filepath.Join("dk", "config.json"),
				Containers: []string{
					filepath.Join("run", "containers", "auth.json"), filepath.Join("cfg", "containers", "auth.json"),
				},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := DefaultCredentialFiles(func(key string) string { return tc.env[key] }, tc.home)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestCredentialsInOneFile(t *testing.T) {
	auths := func(entries ...string) string { return `{"auths": {` + strings.Join(entries, ", ") + `}}` }
	user := func(name, password string) auth.Credential {
		return auth.Credential{Username: name, Password: password}
	}
	namespaces := auths(
		`"harbor.local": `+basic("all", "1"),
		`"harbor.local/k8s": `+basic("k8s", "2"),
		`"harbor.local/k8s/deep/app": `+basic("app", "3"),
	)
	for _, tc := range []struct {
		name, file, repo string
		want             auth.Credential
	}{
		{"host", auths(`"harbor.local": ` + basic("ann", "pw")), "harbor.local/a/b", user("ann", "pw")},
		{"host with port", auths(`"harbor.local:8443": ` + basic("ann", "pw")), "harbor.local:8443/a", user("ann", "pw")},
		{"another port is another host", auths(`"harbor.local:8443": ` + basic("ann", "pw")), "harbor.local/a", auth.EmptyCredential},
		{"host in upper case", auths(`"Harbor.Local": ` + basic("ann", "pw")), "harbor.local/a", user("ann", "pw")},
		{"key is a URL", auths(`"https://harbor.local/v2/": ` + basic("ann", "pw")), "harbor.local/a", user("ann", "pw")},
		{"key is a URL with a path", auths(`"http://harbor.local/x/y": ` + basic("ann", "pw")), "harbor.local/a", user("ann", "pw")},
		{"key ends in the API's path", auths(`"harbor.local/v1/": ` + basic("ann", "pw")), "harbor.local/a", user("ann", "pw")},
		{"no repository", auths(`"harbor.local": ` + basic("ann", "pw")), "harbor.local", user("ann", "pw")},
		{"host is no prefix of a host", auths(`"harbor.local": ` + basic("ann", "pw")), "harbor.local.evil/a", auth.EmptyCredential},

		{"namespace: exact", namespaces, "harbor.local/k8s/deep/app", user("app", "3")},
		{"namespace: below", namespaces, "harbor.local/k8s/deep/app/x", user("app", "3")},
		{"namespace: between", namespaces, "harbor.local/k8s/deep/other", user("k8s", "2")},
		{"namespace: segments, not letters", namespaces, "harbor.local/k8s-use/app", user("all", "1")},
		{"namespace: empty entry is passed over", auths(`"h.io/a": {}`, `"h.io": `+basic("u", "p")), "h.io/a/b", user("u", "p")},

		{"hub by docker's key", auths(`"https://index.docker.io/v1/": ` + basic("ann", "pw")), "docker.io/library/nginx", user("ann", "pw")},
		{"hub by its name", auths(`"docker.io": ` + basic("ann", "pw")), "docker.io/library/nginx", user("ann", "pw")},
		{"hub by index.docker.io", auths(`"index.docker.io": ` + basic("ann", "pw")), "docker.io/library/nginx", user("ann", "pw")},
		{"hub namespace", auths(`"docker.io/acme": `+basic("acme", "1"), `"docker.io": `+basic("all", "2")), "docker.io/acme/x", user("acme", "1")},
		{
			"hub twice: docker's key first", auths(`"docker.io/v1/": `+basic("b", "2"), `"https://index.docker.io/v1/": `+basic("a", "1")),
			"docker.io/x", user("a", "1"),
		},
		{
			"hub twice: not the empty entry", auths(`"docker.io": `+basic("b", "2"), `"https://index.docker.io/v1/": {}`),
			"docker.io/x", user("b", "2"),
		},

		{"colon in the password", auths(`"h.io": ` + basic("ann", "p:w:")), "h.io/a", user("ann", "p:w:")},
		{"zeros after the password", auths(`"h.io": ` + basic("ann", "pw\x00\x00")), "h.io/a", user("ann", "pw")},
		{"base64 without padding", auths(`"h.io": {"auth": "YW5uOnB3MQ"}`), "h.io/a", user("ann", "pw1")},
		{"base64 with a line feed", auths(`"h.io": {"auth": "YW5u\nOnB3MQ==\n"}`), "h.io/a", user("ann", "pw1")},
		{"name and password in the clear", auths(`"h.io": {"username": "ann", "password": "pw"}`), "h.io/a", user("ann", "pw")},
		{"auth goes before the clear", auths(`"h.io": {"username": "bob", "password": "no", "auth": "YW5uOnB3MQ=="}`), "h.io/a", user("ann", "pw1")},
		{"robot", auths(`"h.io": ` + basic("robot$proj+ferry", "pw")), "h.io/a", user("robot$proj+ferry", "pw")},
		{
			"identity token", auths(`"h.io": {"auth": "MDAwMDo=", "identitytoken": "tok"}`), "h.io/a",
			auth.Credential{Username: "0000", RefreshToken: "tok"},
		},
		{"registry token", auths(`"h.io": {"registrytoken": "tok"}`), "h.io/a", auth.Credential{AccessToken: "tok"}},

		{"empty file", "", "h.io/a", auth.EmptyCredential},
		{"empty object", "{}\n", "h.io/a", auth.EmptyCredential},
		{"byte order mark", "\uFEFF" + auths(`"h.io": `+basic("ann", "pw")), "h.io/a", user("ann", "pw")},
		{"what docker keeps beside", `{"HttpHeaders": {"a": "b"}, "detachKeys": "x", "auths": {"h.io": ` + basic("u", "p") + `}}`, "h.io/a", user("u", "p")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeFile(t, "config.json", tc.file)
			c, err := OpenCredentials(CredentialFiles{Docker: path})
			if err != nil {
				t.Fatal(err)
			}
			got, source, err := c.For(t.Context(), repository(tc.repo))
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if found := got != auth.EmptyCredential; found != strings.HasPrefix(source, path+": auths[") {
				t.Errorf("source %q", source)
			}
		})
	}
}

func TestCredentialsOrderOfFiles(t *testing.T) {
	file := func(user string) string {
		return writeFile(t, "auth.json", `{"auths": {"h.io": `+basic(user, "pw")+`}}`)
	}
	named, docker, run, config := file("named"), file("docker"), file("run"), file("config")
	missing := filepath.Join(t.TempDir(), "none", "auth.json")
	beneathFile := filepath.Join(named, "auth.json")
	other := writeFile(t, "auth.json", `{"auths": {"elsewhere.io": `+basic("x", "y")+`}}`)
	for _, tc := range []struct {
		name  string
		files CredentialFiles
		want  string
	}{
		{"the named one first", CredentialFiles{[]string{named}, docker, []string{run, config}}, "named"},
		{"then docker's", CredentialFiles{nil, docker, []string{run, config}}, "docker"},
		{"then those of containers", CredentialFiles{nil, "", []string{run, config}}, "run"},
		{"missing files are passed over", CredentialFiles{[]string{missing, beneathFile}, missing, []string{missing, config}}, "config"},
		{"files without the host are passed over", CredentialFiles{[]string{other}, other, []string{config}}, "config"},
		{"none", CredentialFiles{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := OpenCredentials(tc.files)
			if err != nil {
				t.Fatal(err)
			}
			got, source, err := c.For(t.Context(), repository("h.io/a"))
			if err != nil || got.Username != tc.want {
				t.Errorf("got %q from %q, %v; want %q", got.Username, source, err, tc.want)
			}
		})
	}

	var none *Credentials
	if got, source, err := none.For(t.Context(), repository("h.io/a")); got != auth.EmptyCredential || source == "" || err != nil {
		t.Errorf("nil: got %+v, %q, %v", got, source, err)
	}
}

func TestOpenCredentialsBrokenFile(t *testing.T) {
	const secret = "hunter2"
	for _, tc := range []struct{ name, file, want string }{
		{"cut", "{\n\"auths\": {\n\"h.io\": {\"auth\": \"" + secret, "line 3, byte 38: unexpected end of JSON input"},
		{"not JSON", "user=ann\npassword=" + secret, "line 1, byte 1: invalid character 'u'"},
		{"second object", "{}\n{\"auths\": \"" + secret + "\"}", "line 2, byte 4: invalid character '{'"},
		{"byte order mark counts", "\uFEFF{x", "line 1, byte 5: invalid character 'x'"},
		{"auths is a string", `{"auths": "` + secret + `"}`, "auths cannot be a JSON string"},
		{"auth is a number", `{"auths": {"h.io": {"auth": 31337}}}`, "cannot be a JSON number"},
		{"an array", `["` + secret + `"]`, "the file cannot be a JSON array"},
		{"helper with a path", `{"credHelpers": {"h.io": "../../tmp/x"}}`, `credHelpers["h.io"]: "../../tmp/x" is not the name`},
		{"store with a path", `{"credsStore": "a/b"}`, `credsStore: "a/b" is not the name`},
		{"too large", strings.Repeat(" ", maxCredentialFile+1), "more than 1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeFile(t, "config.json", tc.file)
			c, err := OpenCredentials(CredentialFiles{Docker: path})
			if err == nil {
				t.Fatalf("no error, got %+v", c)
			}
			for _, want := range []string{path, tc.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "31337") {
				t.Errorf("the secret is in: %v", err)
			}
		})
	}

	one, two := writeFile(t, "one.json", "{"), writeFile(t, "two.json", "[")
	_, err := OpenCredentials(CredentialFiles{Docker: one, Containers: []string{two}})
	if err == nil || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two) {
		t.Errorf("two broken files: %v", err)
	}
	if _, err := OpenCredentials(CredentialFiles{Docker: t.TempDir()}); err == nil {
		t.Error("a folder was read as a file")
	}
}

func TestCredentialsBrokenEntry(t *testing.T) {
	const secret = "hunter2"
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct{ name, entry, want string }{
		{"not base64", `{"auth": "ann:` + secret + `"}`, "auth is not base64"},
		{"no colon", `{"auth": "` + encode(secret) + `"}`, "not the base64 of user:password"},
		{"no user", `{"auth": "` + encode(":"+secret) + `"}`, "no user name"},
		{"made with echo", `{"auth": "` + encode("ann:"+secret+"\n") + `"}`, "ends in a line feed"},
		{"header injection", `{"auth": "` + encode("an\r\nn:"+secret) + `"}`, "control character"},
		{"password alone", `{"password": "` + secret + `"}`, "no user name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeFile(t, "config.json", `{"auths": {"h.io": `+tc.entry+`, "ok.io": `+basic("a", "b")+`}}`)
			c, err := OpenCredentials(CredentialFiles{Docker: path})
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := c.For(t.Context(), repository("h.io/a"))
			if err == nil || got != auth.EmptyCredential {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, want := range []string{path, `auths["h.io"]`, tc.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), encode(secret)) {
				t.Errorf("the secret is in: %v", err)
			}
			if got, _, err := c.For(t.Context(), repository("ok.io/a")); err != nil || got.Username != "a" {
				t.Errorf("the entry beside it: got %+v, %v", got, err)
			}
		})
	}
}

// fakeHelper puts a credential helper docker-credential-NAME on PATH for the rest of the test. Its script has the
// action as $1 and the server as $server, and each start of it leaves a line in the returned file.
func fakeHelper(t *testing.T, name, script string) (starts string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the helper is a shell script")
	}
	dir := t.TempDir()
	starts = filepath.Join(dir, "starts")
	program := "#!/bin/sh\nread -r server\necho \"$1 $server\" >>'" + starts + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, helperPrefix+name), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return starts
}

const helperAnswers = `
case "$server" in
h.io) printf '{"ServerURL":"h.io","Username":"helped","Secret":"hunter2"}' ;;
tok.io) printf '{"ServerURL":"tok.io","Username":"<token>","Secret":"hunter2"}' ;;
https://index.docker.io/v1/) printf '{"Username":"hub","Secret":"hunter2"}' ;;
leak.io) printf '{"Username":"x","Secret":"hunter2"}'; exit 1 ;;
bad.io) echo 'exit status 2: gpg: decryption failed: No secret key'; exit 1 ;;
mute.io) exit 3 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac`

func TestCredentialHelpers(t *testing.T) {
	fakeHelper(t, "xyz", helperAnswers)
	helped := auth.Credential{Username: "helped", Password: "hunter2"}
	const own, store = "docker-credential-xyz (credHelpers of ", "docker-credential-xyz (credsStore of "
	for _, tc := range []struct {
		name, file, repo string
		want             auth.Credential
		source           string // part of it
		err              string // part of it, empty when there is none
	}{
		{"helper of the host", `{"credHelpers": {"h.io": "xyz"}}`, "h.io/a", helped, own, ""},
		{"helper of all hosts", `{"credsStore": "xyz"}`, "h.io/a", helped, store, ""},
		{"helper of the host first", `{"credHelpers": {"h.io": "xyz"}, "credsStore": "none"}`, "h.io/a", helped, own, ""},
		{"helper before the host's entry", `{"credsStore": "xyz", "auths": {"h.io": ` + basic("f", "g") + `}}`, "h.io/a", helped, store, ""},
		{
			"the namespace's entry before the helper", `{"credsStore": "xyz", "auths": {"h.io/a": ` + basic("f", "g") + `}}`, "h.io/a/b",
			auth.Credential{Username: "f", Password: "g"},
			`auths["h.io/a"]`, "",
		},
		{
			"no helper for this host", `{"credHelpers": {"h.io": ""}, "credsStore": "xyz", "auths": {"h.io": ` + basic("f", "g") + `}}`,
			"h.io/a",
			auth.Credential{Username: "f", Password: "g"},
			"auths", "",
		},
		{"identity token", `{"credsStore": "xyz"}`, "tok.io/a", auth.Credential{RefreshToken: "hunter2"}, store, ""},
		{
			"hub has its own name", `{"credHelpers": {"docker.io": "xyz"}}`, "docker.io/library/nginx",
			auth.Credential{Username: "hub", Password: "hunter2"},
			own, "",
		},
		{"nothing found", `{"credsStore": "xyz"}`, "unknown.io/a", auth.EmptyCredential, noCredentials, ""},
		{
			"nothing found, the file has it", `{"credsStore": "xyz", "auths": {"u.io": ` + basic("f", "g") + `}}`, "u.io/a",
			auth.Credential{Username: "f", Password: "g"},
			"auths", "",
		},
		{"fails for its host", `{"credHelpers": {"bad.io": "xyz"}}`, "bad.io/a", auth.EmptyCredential, "", "No secret key"},
		{"fails without a word", `{"credHelpers": {"mute.io": "xyz"}}`, "mute.io/a", auth.EmptyCredential, "", "exit status 3"},
		{"prints the secret and fails", `{"credHelpers": {"leak.io": "xyz"}}`, "leak.io/a", auth.EmptyCredential, "", "not shown"},
		{"not there for its host", `{"credHelpers": {"h.io": "absent"}}`, "h.io/a", auth.EmptyCredential, "", "no such program on PATH"},
		{"not there, logged in", `{"credsStore": "absent", "auths": {"h.io": {}}}`, "h.io/a", auth.EmptyCredential, "", "no such program on PATH"},
		{"not there, not logged in", `{"credsStore": "absent"}`, "h.io/a", auth.EmptyCredential, "no credentials; docker-credential-absent", ""},
		{
			"not there, the file has it", `{"credsStore": "absent", "auths": {"h.io": ` + basic("f", "g") + `}}`, "h.io/a",
			auth.Credential{Username: "f", Password: "g"},
			"auths", "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeFile(t, "config.json", tc.file)
			c, err := OpenCredentials(CredentialFiles{Docker: path})
			if err != nil {
				t.Fatal(err)
			}
			got, source, err := c.For(t.Context(), repository(tc.repo))
			if got != tc.want || !strings.Contains(source, tc.source) {
				t.Errorf("got %+v from %q, want %+v from %q", got, source, tc.want, tc.source)
			}
			if (err != nil) != (tc.err != "") {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%q and %q are not in: %v", tc.err, path, err)
			}
			if strings.Contains(fmt.Sprint(source, err), "hunter2") {
				t.Errorf("the secret is in %q, %v", source, err)
			}
		})
	}
}

func TestCredentialHelperIsAskedOncePerHost(t *testing.T) {
	starts := fakeHelper(t, "once", helperAnswers)
	path := writeFile(t, "config.json", `{"credsStore": "once"}`)
	c, err := OpenCredentials(CredentialFiles{Docker: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			host := []string{"h.io", "unknown.io"}[i%2]
			if _, _, err := c.For(t.Context(), repository(fmt.Sprintf("%s/repo%d", host, i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	log, err := os.ReadFile(starts)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"get h.io\n", "get unknown.io\n"} {
		if n := strings.Count(string(log), line); n != 1 {
			t.Errorf("%q: %d starts, want 1", line, n)
		}
	}
}

func TestCredentialHelperIsInterrupted(t *testing.T) {
	starts := fakeHelper(t, "stuck", "exec sleep 600")
	path := writeFile(t, "config.json", `{"credsStore": "stuck"}`)
	c, err := OpenCredentials(CredentialFiles{Docker: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for ctx.Err() == nil { // until the helper runs
			if _, err := os.Stat(starts); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, _, err := c.For(ctx, repository("h.io/a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func FuzzParseCredentialFileNeverPanicsNorShowsSecrets(f *testing.F) {
	f.Add([]byte(`{"auths": {"https://index.docker.io/v1/": {"auth": "YW5uOnB3MQ=="}}, "credsStore": "pass"}`), "docker.io/library/nginx")
	f.Add([]byte("\uFEFF{\"credHelpers\": {\"h.io\": \"ecr-login\"}, \"auths\": {\"h.io/a/b\": {\"identitytoken\": \"x\"}}}"), "h.io/a/b/c")
	f.Add([]byte(`{"auths": {"//": {"username": "\u0000"}, "": {}}}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, repo string) {
		file, err := parseCredentialFile("config.json", raw)
		if err != nil {
			return
		}
		key, known := file.match(repository(repo))
		if key == "" {
			return
		}
		if !known || file.logins[key].empty() {
			t.Errorf("match %q is an empty entry", key)
		}
		cred, _, err := file.login(key)
		if (err == nil) == (cred == auth.EmptyCredential) {
			t.Errorf("login %q: %+v, %v", key, cred, err)
		}
	})
}

// Docker Hub's registry has several names; those of its web site are not among them, and people use them all the same.
func TestCredentialsOfDockerHub(t *testing.T) {
	for key, want := range map[string]string{
		"docker.io": "ann", "index.docker.io": "ann", "https://index.docker.io/v1/": "ann", "registry-1.docker.io": "ann",
		"https://registry-1.docker.io/v2/": "ann", "hub.docker.com": "", "https://hub.docker.com": "", "docker.com": "",
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		raw := `{"auths": {"` + key + `": ` + basic("ann", "secret") + `}}`
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCredentials(CredentialFiles{Named: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		login, source, err := c.For(t.Context(), repository("docker.io/library/a"))
		if err != nil || login.Username != want {
			t.Errorf("%s: user %q, %v", key, login.Username, err)
		}
		if told := strings.Contains(source, "is the site of Docker Hub"); told != (want == "") {
			t.Errorf("%s: source %q", key, source)
		}
		if _, source, _ := c.For(t.Context(), repository("quay.io/a")); strings.Contains(source, "Docker Hub") {
			t.Errorf("%s: of another registry it is said: %q", key, source)
		}
	}
}
