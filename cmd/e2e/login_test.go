package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// ferryLogin logs in to a registry with the password from stdin.
func (w *world) ferryLogin(user, password, host string) outcome {
	w.Helper()
	cmd := w.command(w.Context(), "login", "-u", user, "--password-stdin", host)
	cmd.Stdin = strings.NewReader(password + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // the exit code tells
	return outcome{line: "ferry login " + host, code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
}

// skopeoUser returns the user that skopeo finds for a registry, and nothing without one.
func (w *world) skopeoUser(host string) string {
	cmd := exec.CommandContext(w.Context(), "skopeo", "login", "--get-login", host)
	cmd.Env = w.command(w.Context()).Env
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// What ferry login keeps, skopeo finds, and what skopeo login keeps, ferry finds; ferry logout forgets both.
func TestLogin(t *testing.T) {
	t.Parallel()
	requireTools(t, "skopeo")
	w := newWorld(t, distribution.Options{Users: users}, distribution.Options{Users: users, TokenLifetime: time.Minute})
	w.env = []string{"XDG_RUNTIME_DIR=" + w.path("run")}
	w.write("run/.there", "") // skopeo wants the folder
	source, target := w.source.Host(), w.target.Host()

	for _, host := range []string{source, target} {
		w.expect(1, w.ferryLogin("ann", "wrong", host), "401 Unauthorized", `was told the user "ann"`)
		if user := w.skopeoUser(host); user != "" {
			t.Errorf("a wrong password was kept, of %s", user)
		}
	}
	w.expect(0, w.ferryLogin("ann", "secret", source), "logged in to "+source+" as ann")
	if user := w.skopeoUser(source); user != "ann" {
		t.Errorf("skopeo finds user %q", user)
	}
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")

	skopeo := exec.CommandContext(t.Context(), "skopeo", "login", "--tls-verify=false", "-u", "ann", "--password-stdin", target)
	skopeo.Env, skopeo.Stdin = w.command(t.Context()).Env, strings.NewReader("secret")
	if out, err := skopeo.CombinedOutput(); err != nil {
		t.Fatalf("skopeo login: %v: %s", err, out)
	}
	w.ok("unpack", "k8s.tar.zst", w.to())
	w.arrived()

	for _, host := range []string{source, target} {
		w.expect(0, w.ferry("logout", host), "logged out of "+host)
		if user := w.skopeoUser(host); user != "" {
			t.Errorf("after ferry logout skopeo still finds user %s", user)
		}
	}
	w.expect(4, w.ferry("pack", "-f", "images.list", "-o", "l.tar.zst"), "401 Unauthorized", "ferry login")
}
