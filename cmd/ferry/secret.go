package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/ferry-oci/ferry/registry"
)

// maxSecret is the size of the largest password, or file with one, that is read, in bytes. Some registries want a whole
// key file as password.
const maxSecret = 64 << 10

// errNoTerminal comes back when there is nobody to ask.
var errNoTerminal = errors.New("there is no terminal to ask on")

// ask asks a question on the terminal and returns the answer, which is not shown when it is a secret.
func (std *stdio) ask(question string, secret bool) (string, error) {
	in, ok := std.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", errNoTerminal
	}
	fmt.Fprintf(std.Err, "%s: ", printable(question))
	if secret {
		raw, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(std.Err)
		return string(raw), err
	}
	return readLine(in)
}

// readLine returns the line that begins where r stands, and reads nothing behind it.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxSecret; {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			break
		}
		line = append(line, one[0])
	}
	return strings.TrimRight(string(line), "\r"), nil
}

// readPassword reads all of r, which is a password and may end in a line feed. Errors do not repeat it.
func readPassword(r io.Reader) (string, error) {
	raw, err := readSecret(r)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(raw, "\r\n")
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case strings.ContainsFunc(password, unicode.IsControl):
		return "", errors.New("a password is one line, without control characters")
	}
	return password, nil
}

func readSecret(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err == nil && len(raw) > maxSecret {
		err = fmt.Errorf("more than %d bytes", maxSecret)
	}
	return strings.TrimPrefix(string(raw), "\uFEFF"), err
}

// readCredsFile reads a file with USER:PASSWORD, or with the user in the first line and the password in the second, and
// warns when others than its owner can read it.
func readCredsFile(path string, std *stdio) (registry.Credential, error) {
	f, err := os.Open(path)
	if err != nil {
		return registry.Credential{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return registry.Credential{}, err
	}
	const others = 0o077
	if info.Mode().IsRegular() && info.Mode().Perm()&others != 0 && runtime.GOOS != "windows" { // where the mode says nothing
		std.warn("%s has a password, and others than its owner can read it; chmod 600 %[1]s", path)
	}
	raw, err := readSecret(f)
	if err != nil {
		return registry.Credential{}, fmt.Errorf("%s: %w", path, bareError(err))
	}
	login, err := parseCreds(raw)
	if err != nil {
		return registry.Credential{}, fmt.Errorf("%s: %w", path, err)
	}
	return login, nil
}

// parseCreds reads what such a file holds. Its errors do not repeat it.
func parseCreds(raw string) (registry.Credential, error) {
	user, password, second := strings.Cut(strings.TrimRight(strings.ReplaceAll(raw, "\r\n", "\n"), "\n"), "\n")
	if !second {
		var ok bool
		if user, password, ok = strings.Cut(user, ":"); !ok {
			return registry.Credential{}, errors.New("USER:PASSWORD is needed, or a line for each of them")
		}
	}
	switch {
	case user == "" || strings.Contains(user, ":") || strings.ContainsFunc(user, unicode.IsControl):
		return registry.Credential{}, errors.New("the user name is empty, or has a colon or a control character in it")
	case password == "":
		return registry.Credential{}, errors.New("the password is empty")
	case strings.ContainsFunc(password, unicode.IsControl):
		return registry.Credential{}, errors.New("there is more in it than a user and a password")
	}
	return registry.Credential{Username: user, Password: password}, nil
}
