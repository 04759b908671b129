package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// debianRegistry runs Debian's docker-registry, of the line that Harbor ships, until the story ends. It returns the
// host and port. With a user, it asks for Basic credentials.
func debianRegistry(t *testing.T, root, user, password string) (host string) {
	t.Helper()
	requireTools(t, "docker-registry")
	dir := t.TempDir()
	var auth string
	if user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600); err != nil {
			t.Fatal(err)
		}
		auth = fmt.Sprintf("auth: {htpasswd: {realm: ferry e2e, path: %q}}\n", file)
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, maintenance: {uploadpurging: {enabled: false}}}
http: {addr: "127.0.0.1:0", secret: of a registry for tests}
`, root) + auth
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := bufio.NewReader(stderr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
		_ = cmd.Wait() // killed
	})
	host, said := listening(log)
	go func() {
		_, _ = io.Copy(io.Discard, log)
		close(ended)
	}()
	if host == "" {
		t.Fatalf("docker-registry does not listen:\n%s", said)
	}
	return host
}

// listening reads the log of docker-registry up to the line that tells the address.
func listening(log *bufio.Reader) (host, said string) {
	address := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	var all strings.Builder
	for {
		line, err := log.ReadString('\n')
		all.WriteString(line)
		if m := address.FindStringSubmatch(line); m != nil {
			return m[1], all.String()
		}
		if err != nil {
			return "", all.String()
		}
	}
}

// Debian's docker-registry on both sides.
func TestDebianRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	source := debianRegistry(t, w.root, "", "")
	target := debianRegistry(t, w.targetRoot, "ann", "secret")
	w.write("images.list", corpus.List(source, w.images))
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	w.expect(1, w.ferry("unpack", "k8s.tar.zst", target+"/"+prefix), "401 Unauthorized", "--dest-creds")
	w.login("ann", "secret", target)
	w.ok("unpack", "k8s.tar.zst", target+"/"+prefix)
	w.arrived()
	again := w.ok("unpack", "k8s.tar.zst", target+"/"+prefix)
	if !strings.Contains(again.stderr, "0 pushed") {
		t.Errorf("second unpack:\n%s", again.stderr)
	}
}
