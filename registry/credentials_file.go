package registry

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci/durable"
)

// maxCredentialFile is the largest credential file that is read, in bytes.
const maxCredentialFile = 1 << 20

// dockerHub is the host of Docker Hub in references, dockerHubKey the name under which docker login keeps it.
const (
	dockerHub    = "docker.io"
	dockerHubKey = "https://index.docker.io/v1/"
)

// credentialFile is a parsed config.json or auth.json; the two have one form.
type credentialFile struct {
	path    string
	logins  map[string]login  // "auths", by normal key
	helpers map[string]string // "credHelpers", by normal host
	store   string            // "credsStore", the helper of all other hosts
}

// login is one entry of "auths".
type login struct {
	key           string // as the file has it
	Auth          string `json:"auth,omitempty"` // base64 of user:password
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

func (l login) empty() bool { return l == login{key: l.key} }

// readCredentialFile returns nil when there is no file.
func readCredentialFile(path string) (*credentialFile, error) {
	raw, err := readCredentials(path)
	if raw == nil || err != nil {
		return nil, err
	}
	return parseCredentialFile(path, raw)
}

// readCredentials returns the content of a credential file, and nil when there is none.
func readCredentials(path string) ([]byte, error) {
	raw, err := durable.ReadFile(path, maxCredentialFile)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return raw, nil
}

func parseCredentialFile(path string, raw []byte) (*credentialFile, error) {
	f := &credentialFile{path: path, logins: map[string]login{}, helpers: map[string]string{}}
	body := bytes.TrimPrefix(raw, []byte("\uFEFF"))
	if len(bytes.TrimSpace(body)) == 0 {
		return f, nil
	}
	var config struct {
		Auths       map[string]login  `json:"auths"`
		CredHelpers map[string]string `json:"credHelpers"`
		CredsStore  string            `json:"credsStore"`
	}
	if err := json.Unmarshal(body, &config); err != nil {
		return nil, describeJSON(path, raw, len(raw)-len(body), err)
	}
	f.addLogins(config.Auths)
	f.store = config.CredsStore
	for _, host := range slices.Sorted(maps.Keys(config.CredHelpers)) {
		helper := config.CredHelpers[host]
		if !validHelper(helper) {
			return nil, fmt.Errorf("credentials: %s: credHelpers[%q]: %q is not the name of a helper", path, host, helper)
		}
		f.helpers[normalKey(host)] = helper
	}
	if !validHelper(f.store) {
		return nil, fmt.Errorf("credentials: %s: credsStore: %q is not the name of a helper", path, f.store)
	}
	return f, nil
}

// addLogins files the entries by normal key. Where two come to one key, an entry that holds a credential goes before
// one that does not, and then the spelling that docker login or podman login writes before any other.
func (f *credentialFile) addLogins(auths map[string]login) {
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		l := auths[key]
		l.key = key
		normal := normalKey(key)
		old, taken := f.logins[normal]
		written := key == normal || key == dockerHubKey
		if !taken || old.empty() || (written && !l.empty()) {
			f.logins[normal] = l
		}
	}
}

// describeJSON tells where path cannot be parsed. It repeats no value of the file, which may be a secret.
func describeJSON(path string, raw []byte, skipped int, err error) error {
	offset, what := int64(len(raw)), err.Error()
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset + int64(skipped)
	case errors.As(err, &kind):
		offset = kind.Offset + int64(skipped)
		value, _, _ := strings.Cut(kind.Value, " ") // "number 123": the kind alone
		what = fmt.Sprintf("%s cannot be a JSON %s", cmp.Or(kind.Field, "the file"), value)
	}
	offset = min(offset, int64(len(raw)))
	line := 1 + bytes.Count(raw[:offset], []byte{'\n'})
	return fmt.Errorf("credentials: %s: line %d, byte %d: %s", path, line, offset, what)
}

// normalKey returns host or host/namespace for a key of "auths". Keys that are URLs, as docker login writes some, mean
// their host alone.
func normalKey(key string) string {
	bare := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, namespace, _ := strings.Cut(bare, "/")
	if bare != key || namespace == "v1/" || namespace == "v2/" {
		namespace = ""
	}
	if namespace = strings.Trim(namespace, "/"); namespace == "" {
		return normalHost(host)
	}
	return normalHost(host) + "/" + namespace
}

// normalHost returns host in lower case, and the names of Docker Hub as the one that references have.
func normalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return host
}

// credential decodes l. Its errors never hold a secret.
func (l login) credential() (auth.Credential, error) {
	cred := auth.Credential{
		Username:     l.Username,
		Password:     l.Password,
		RefreshToken: l.IdentityToken,
		AccessToken:  l.RegistryToken,
	}
	if l.Auth != "" {
		plain, err := decodeBase64(l.Auth)
		if err != nil {
			return auth.EmptyCredential, errors.New("auth is not base64")
		}
		user, password, ok := strings.Cut(plain, ":")
		if !ok {
			return auth.EmptyCredential, errors.New("auth is not the base64 of user:password")
		}
		cred.Username, cred.Password = user, strings.Trim(password, "\x00") // docker pads with zeros
	}
	switch {
	case strings.HasSuffix(cred.Password, "\n"):
		return auth.EmptyCredential, errors.New("the password ends in a line feed, as echo adds it (printf does not)")
	case strings.ContainsFunc(cred.Username+cred.Password, isControl):
		return auth.EmptyCredential, errors.New("the user name or password holds a control character")
	case cred.Username == "" && cred.RefreshToken == "" && cred.AccessToken == "":
		return auth.EmptyCredential, errors.New("the entry has no user name and no token")
	}
	return cred, nil
}

// decodeBase64 reads standard base64, with or without the padding that hand-written files lack at times.
func decodeBase64(s string) (string, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	plain, err := base64.RawStdEncoding.DecodeString(s)
	return string(plain), err
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
