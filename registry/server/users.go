package server

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxUsers = 100_000
	// maxBcryptCost bounds the time of one check: each step doubles it, and 14 is about a second.
	maxBcryptCost = 16
)

// Users are those who may read, with the hashes of their passwords.
type Users struct {
	hashes map[string][]byte // of bcrypt, by name
	decoy  []byte            // is checked for a name that is not there, so that the time does not tell
	slots  chan struct{}     // one for each check that may run: it takes a processor for tens of milliseconds

	key   []byte // of the seals, of this process alone
	mu    sync.Mutex
	seals map[string][]byte // of passwords that were right, by name: clients send theirs with each request
}

// ParseUsers reads an htpasswd file: a line USER:HASH for each user; blank lines and those that begin with # are passed over.
// Hashes are of bcrypt, as `htpasswd -B` makes them; others are errors that name the line, all of them together. file is for
// messages.
func ParseUsers(file string, r io.Reader) (*Users, error) {
	u := &Users{
		hashes: map[string][]byte{}, seals: map[string][]byte{}, key: make([]byte, sha256.Size),
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if _, err := rand.Read(u.key); err != nil {
		return nil, err
	}
	var errs []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := u.parseLine(strings.TrimSpace(lines.Text())); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, n, err))
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	if len(errs) == 0 && len(u.hashes) == 0 {
		errs = append(errs, fmt.Errorf("%s: no user in it; `htpasswd -B %s NAME` adds one", file, file))
	}
	return u, errors.Join(errs...)
}

func (u *Users) parseLine(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	name, hash, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return errors.New("USER:HASH is needed")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return fmt.Errorf("user %q: the hash is not of bcrypt; `htpasswd -B` makes such", name)
	case cost > maxBcryptCost:
		return fmt.Errorf("user %q: a bcrypt cost of %d, at most %d is taken: a check would last too long", name, cost, maxBcryptCost)
	case u.hashes[name] != nil:
		return fmt.Errorf("user %q is there twice", name)
	case len(u.hashes) == maxUsers:
		return fmt.Errorf("more than %d users", maxUsers)
	}
	u.hashes[name], u.decoy = []byte(hash), []byte(hash)
	return nil
}

// check reports whether a user has that password.
func (u *Users) check(name, password string) bool {
	mac := hmac.New(sha256.New, u.key)
	mac.Write([]byte(password))
	seal := mac.Sum(nil)
	u.mu.Lock()
	known := u.seals[name]
	u.mu.Unlock()
	if known != nil && hmac.Equal(known, seal) {
		return true
	}
	u.slots <- struct{}{}
	defer func() { <-u.slots }()
	hash, ok := u.hashes[name]
	if !ok {
		hash = u.decoy
	}
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil || !ok {
		return false
	}
	u.mu.Lock()
	u.seals[name] = seal
	u.mu.Unlock()
	return true
}

// admit lets those through who may read.
func (s *Server) admit(w *response, r *http.Request) error {
	if s.o.Users == nil {
		return nil
	}
	name, password, ok := r.BasicAuth()
	if ok && s.o.Users.check(name, password) {
		w.user = name
		return nil
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="ferry", charset="UTF-8"`)
	f := &failure{status: http.StatusUnauthorized, code: codeUnauthorized, message: "a user and a password are needed"}
	if ok {
		f.message = "user or password is wrong"
	}
	return f
}
