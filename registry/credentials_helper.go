package registry

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// helperPrefix starts the name of every credential helper program.
const helperPrefix = "docker-credential-"

// helperAge is how long the answer of a helper is good for. It spares hundreds of images of one host as many starts of
// a program, and is short against the life of the tokens that some helpers give out.
const helperAge = time.Minute

// ErrNoHelper comes back when a credential helper that a file names cannot be started.
var ErrNoHelper = errors.New("there is no such program on PATH")

// maxHelperMessage is how much of a helper's complaint is repeated, in bytes.
const maxHelperMessage = 200

// validHelper reports whether the program of this helper is looked for in PATH and nowhere else. Empty is valid: none.
func validHelper(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("-_.", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)) {
			return false
		}
	}
	return len(name) <= 100
}

// helperServer returns the name under which helpers keep the credential of host.
func helperServer(host string) string {
	if normalHost(host) == dockerHub {
		return dockerHubKey
	}
	return host
}

// helperCache asks helpers, each for one host once in helperAge, whatever number of goroutines want to know.
type helperCache struct {
	mu      sync.Mutex
	answers map[[2]string]*helperAnswer
}

type helperAnswer struct {
	turn chan struct{} // holds one token; who has it may use the fields below
	cred auth.Credential
	at   time.Time
}

// ask returns what helper has for server, and the empty credential when it has nothing.
func (c *helperCache) ask(ctx context.Context, helper, server string) (auth.Credential, error) {
	a := c.answer(helper, server)
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return auth.EmptyCredential, ctx.Err()
	}
	if !a.at.IsZero() && time.Since(a.at) < helperAge {
		return a.cred, nil
	}
	cred, err := credentials.NewNativeStore(helper).Get(ctx, server)
	if err != nil {
		return auth.EmptyCredential, helperError(err)
	}
	a.cred, a.at = cred, time.Now()
	return cred, nil
}

func (c *helperCache) answer(helper, server string) *helperAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{helper, server}
	if c.answers == nil {
		c.answers = map[[2]string]*helperAnswer{}
	}
	if c.answers[key] == nil {
		c.answers[key] = &helperAnswer{turn: make(chan struct{}, 1)}
	}
	return c.answers[key]
}

// helperError returns what may be said of a helper's failure. The text of err is all that the helper printed, and a
// helper that fails after its answer has printed the secret.
func helperError(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return ErrNoHelper
	}
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if strings.Contains(err.Error(), "{") || strings.ContainsFunc(line, isControl) {
		return errors.New("it failed; its output is not shown, since it may hold a secret")
	}
	return errors.New(strings.ToValidUTF8(line[:min(len(line), maxHelperMessage)], ""))
}
