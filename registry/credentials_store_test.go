package registry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func save(t *testing.T, path, host, user, password string) (where string) {
	t.Helper()
	where, err := SaveCredential(t.Context(), path, host, Credential{Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// userOf returns the user that path has for a repository.
func userOf(t *testing.T, path, repo string) string {
	t.Helper()
	c, err := OpenCredentials(CredentialFiles{Named: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	login, _, err := c.For(t.Context(), repository(repo))
	if err != nil {
		t.Fatal(err)
	}
	return login.Username
}

func TestSaveCredential(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".docker", "config.json")
	if where := save(t, path, "h.io:5000", "ann", "pass:word"); where != path {
		t.Errorf("it is in %s", where)
	}
	save(t, path, "index.docker.io", "hub", "x")
	if got := userOf(t, path, "h.io:5000/a"); got != "ann" {
		t.Errorf("user %q", got)
	}
	if got := userOf(t, path, "docker.io/library/a"); got != "hub" {
		t.Errorf("user %q at Docker Hub", got)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
	"auths": {
		"h.io:5000": {
			"auth": "YW5uOnBhc3M6d29yZA=="
		},
		"https://index.docker.io/v1/": {
			"auth": "aHViOng="
		}
	}
}
`
	if string(raw) != want {
		t.Errorf("got %s", raw)
	}
	if beside, _ := os.ReadDir(filepath.Dir(path)); len(beside) != 1 {
		t.Errorf("%d files", len(beside))
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

// What ferry does not know stays in the file, and so does a link that leads to it.
func TestSaveCredentialKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "real.json")
	const before = `{"auths": {"o.io": {"auth": "` + "Yjpj" + `", "email": "b@o.io"}, "https://h.io/v1/": {"auth": "b2xkOm9sZA=="}},
		"HttpHeaders": {"X-A": "<&>"}, "detachKeys": "ctrl-e", "big": 12345678901234567890}`
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "config.json")
	if err := os.Symlink("real.json", link); err != nil {
		t.Skip(err)
	}
	save(t, link, "h.io", "new", "x")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"X-A": "<&>"`, `"detachKeys": "ctrl-e"`, `"big": 12345678901234567890`, `"email": "b@o.io"`} {
		if !strings.Contains(string(raw), text) {
			t.Errorf("%s is not in %s", text, raw)
		}
	}
	if strings.Contains(string(raw), "https://h.io/v1/") {
		t.Errorf("the old login stays beside the new one: %s", raw)
	}
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSaveCredentialRefusesABrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	const broken = `{"auths": {"h.io": {"auth": "aHVzaDpodXNo"}`
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := SaveCredential(t.Context(), path, "h.io", Credential{Username: "a", Password: "hunter2"})
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if raw, _ := os.ReadFile(path); string(raw) != broken {
		t.Errorf("the file became %s", raw)
	}
}

func TestRemoveCredential(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if ok, err := RemoveCredential(t.Context(), path, "h.io"); ok || err != nil {
		t.Errorf("without a file: %v, %v", ok, err)
	}
	save(t, path, "h.io", "a", "x")
	save(t, path, "docker.io", "hub", "x")
	save(t, path, "o.io", "b", "x")
	before, _ := os.ReadFile(path)
	if ok, err := RemoveCredential(t.Context(), path, "other.io"); ok || err != nil {
		t.Errorf("of another registry: %v, %v", ok, err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Errorf("the file became %s", after)
	}
	for _, key := range []string{"H.IO", "docker.io"} {
		if ok, err := RemoveCredential(t.Context(), path, key); !ok || err != nil {
			t.Errorf("%s: %v, %v", key, ok, err)
		}
	}
	for repo, want := range map[string]string{"h.io/a": "", "docker.io/a": "", "o.io/a": "b"} {
		if got := userOf(t, path, repo); got != want {
			t.Errorf("%s: user %q", repo, got)
		}
	}
}

// keychain is a helper that keeps what it is given in a folder.
const keychain = `
file="$KEYCHAIN/$(printf %s "$server" | tr / _)"
case "$1" in
store) name=$(printf %s "$server" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr / _); printf %s "$server" > "$KEYCHAIN/$name" ;;
get) [ -f "$file" ] && cat "$file" || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase) rm "$file" ;;
esac`

func TestSaveCredentialWithHelper(t *testing.T) {
	fakeHelper(t, "chain", keychain)
	t.Setenv("KEYCHAIN", t.TempDir())
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"credsStore":"chain","credHelpers":{"plain.io":"","own.io":"chain","gone.io":"none-such"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if where := save(t, path, "docker.io", "hub", "hunter2"); where != "docker-credential-chain (credsStore of "+path+")" {
		t.Errorf("it is in %s", where)
	}
	if where := save(t, path, "own.io", "own", "hunter2"); where != "docker-credential-chain (credHelpers of "+path+")" {
		t.Errorf("it is in %s", where)
	}
	if raw, _ := os.ReadFile(path); strings.Contains(string(raw), "aHVi") || !json.Valid(raw) {
		t.Errorf("the file has %s", raw)
	}
	if where := save(t, path, "plain.io", "plain", "x"); where != path {
		t.Errorf("it is in %s", where)
	}
	_, err := SaveCredential(t.Context(), path, "gone.io", Credential{Username: "a", Password: "hunter2"})
	if err == nil || !strings.Contains(err.Error(), "docker-credential-none-such") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	for repo, want := range map[string]string{"docker.io/a": "hub", "own.io/a": "own", "plain.io/a": "plain"} {
		if got := userOf(t, path, repo); got != want {
			t.Errorf("%s: user %q", repo, got)
		}
	}

	if ok, err := RemoveCredential(t.Context(), path, "docker.io"); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	removed, err := RemoveAllCredentials(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "gone.io") { // its helper cannot be asked
		t.Errorf("got %v", err)
	}
	if !slices.Equal(removed, []string{"own.io", "plain.io"}) {
		t.Errorf("removed %q", removed)
	}
	if left, _ := os.ReadDir(os.Getenv("KEYCHAIN")); len(left) > 0 {
		t.Errorf("the helper still has %v", left)
	}
}

func TestCredentialFilesOfLogin(t *testing.T) {
	for _, tc := range []struct {
		name   string
		files  CredentialFiles
		login  string
		logout []string
	}{
		{"named", CredentialFiles{Named: []string{"n"}, Docker: "d", Containers: []string{"c"}}, "n", []string{"n"}},
		{"docker's and podman's", CredentialFiles{Docker: "d", Containers: []string{"c", "e"}}, "d", []string{"d", "c", "e"}},
		{"no home", CredentialFiles{}, "", nil},
	} {
		if got := tc.files.Login(); got != tc.login {
			t.Errorf("%s: login into %q", tc.name, got)
		}
		if got := tc.files.Logout(); !slices.Equal(got, tc.logout) {
			t.Errorf("%s: logout from %q", tc.name, got)
		}
	}
}
