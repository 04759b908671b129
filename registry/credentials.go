package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// CredentialFiles are the paths of the files that hold credentials, in the order in which they are asked. Empty paths
// and files that are not there are passed over.
type CredentialFiles struct {
	// Named are files that the user named for this run, in the form of Docker's config.json or of auth.json.
	Named []string
	// Docker is the config.json of the docker command.
	Docker string
	// Containers are the auth.json files of Podman, Skopeo and Buildah, see containers-auth.json(5).
	Containers []string
}

// DefaultCredentialFiles returns the files that docker and podman use for a user with the given home directory, which
// may be empty, and environment: $REGISTRY_AUTH_FILE; $DOCKER_CONFIG/config.json or ~/.docker/config.json; and
// containers/auth.json under $XDG_RUNTIME_DIR and $XDG_CONFIG_HOME or their defaults.
func DefaultCredentialFiles(getenv func(string) string, home string) CredentialFiles {
	var files CredentialFiles
	if path := getenv("REGISTRY_AUTH_FILE"); path != "" {
		files.Named = []string{path}
	}
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		files.Docker = filepath.Join(dir, "config.json")
	} else if home != "" {
		files.Docker = filepath.Join(home, ".docker", "config.json")
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		files.Containers = append(files.Containers, filepath.Join(dir, "containers", "auth.json"))
	} else if runtime.GOOS == "linux" {
		// Where podman login writes without a session, as under sudo.
		files.Containers = append(files.Containers, filepath.Join("/run/containers", strconv.Itoa(os.Getuid()), "auth.json"))
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		files.Containers = append(files.Containers, filepath.Join(dir, "containers", "auth.json"))
	} else if home != "" {
		files.Containers = append(files.Containers, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	return files
}

// paths returns every file once, in the order in which they are asked.
func (f CredentialFiles) paths() []string {
	var paths []string
	for _, path := range slices.Concat(f.Named, []string{f.Docker}, f.Containers) {
		if path != "" && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// Credentials finds the user name and password, or the token, for a repository. The files are read once; a credential
// helper is asked again when its last answer is older than a minute, because its tokens may be short-lived. It may be
// used by several goroutines at once. The nil *Credentials has none.
type Credentials struct {
	files   []*credentialFile
	helpers helperCache
}

// OpenCredentials reads the files. A file that is there and cannot be read or understood is an error that names file,
// line and byte; all such files are reported.
func OpenCredentials(files CredentialFiles) (*Credentials, error) {
	c := &Credentials{}
	var errs []error
	for _, path := range files.paths() {
		f, err := readCredentialFile(path)
		if err != nil {
			errs = append(errs, err)
		} else if f != nil {
			c.files = append(c.files, f)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// For returns the credential for repo and where it is from, for messages: a file and its key, or a helper. The files
// are asked in order, and the first that has a credential gives it. Within a file the longest key that is repo or a
// namespace above it wins; then come the helper of the host, the helper of all hosts, and the key of the host alone.
//
// Without any the credential is [auth.EmptyCredential], and the source tells so. Errors name file and key and never
// hold a secret: an entry that cannot be decoded, or a helper that fails although the file says that it has a
// credential for this host.
func (c *Credentials) For(ctx context.Context, repo oci.Repository) (cred auth.Credential, source string, err error) {
	if c == nil {
		return auth.EmptyCredential, noCredentials, nil
	}
	source = noCredentials
	for _, f := range c.files {
		cred, from, err := f.find(ctx, &c.helpers, repo)
		if err != nil {
			return auth.EmptyCredential, "", err
		}
		if cred != auth.EmptyCredential {
			return cred, from, nil
		}
		if from != "" {
			source += "; " + from
		}
		if normalHost(repo.Host) == dockerHub {
			source += f.misnamedHub()
		}
	}
	return auth.EmptyCredential, source, nil
}

// noCredentials is the source of the empty credential.
const noCredentials = "no credentials"

// hubSites are names of Docker Hub that are not those of its registry.
var hubSites = []string{"hub.docker.com", "docker.com", "www.docker.com", "cloud.docker.com"}

// IsHubSite reports whether host is a site of Docker Hub in place of its registry, docker.io.
func IsHubSite(host string) bool { return slices.Contains(hubSites, strings.ToLower(host)) }

// misnamedHub tells of a login under a name that nothing looks for.
func (f *credentialFile) misnamedHub() string {
	for _, site := range hubSites {
		if l, ok := f.logins[site]; ok {
			return fmt.Sprintf("; %s: auths[%q] is the site of Docker Hub, and its registry is %s", f.path, l.key, dockerHub)
		}
	}
	return ""
}

// find returns what f has for repo. With the empty credential, the source is empty or tells what could not be asked.
func (f *credentialFile) find(ctx context.Context, helpers *helperCache, repo oci.Repository) (
	auth.Credential, string, error,
) {
	key, known := f.match(repo)
	if !strings.Contains(key, "/") { // else the namespace's own key goes before the helpers
		cred, source, err := f.ask(ctx, helpers, repo.Host, known)
		if key == "" || (err == nil && cred != auth.EmptyCredential) {
			return cred, source, err
		}
	}
	return f.login(key)
}

// ask returns what the helper that f has for host knows. Its failure is an error if f has it for this very host, or if
// f tells that there is a credential. Else it is a remark in place of the source: a helper of all hosts that cannot
// work, as with a config.json from another machine, must not keep public images from being read.
func (f *credentialFile) ask(ctx context.Context, helpers *helperCache, host string, known bool) (
	auth.Credential, string, error,
) {
	helper, field := f.helper(host)
	own := field == ownHelper
	if helper == "" {
		return auth.EmptyCredential, "", nil
	}
	source := fmt.Sprintf("%s%s (%s of %s)", helperPrefix, helper, field, f.path)
	cred, err := helpers.ask(ctx, helper, helperServer(host))
	switch {
	case ctx.Err() != nil:
		return auth.EmptyCredential, "", ctx.Err()
	case err != nil && (own || known):
		return auth.EmptyCredential, "", fmt.Errorf("%s: %s: %w", source, host, err)
	case err != nil:
		return auth.EmptyCredential, fmt.Sprintf("%s: %v", source, err), nil
	case cred == auth.EmptyCredential:
		return auth.EmptyCredential, "", nil
	}
	return cred, source, nil
}

// ownHelper is the field of a file that names the helper of one host.
const ownHelper = "credHelpers"

// helper returns the helper that f has for host, which may be none, and the field of the file that names it.
func (f *credentialFile) helper(host string) (name, field string) {
	if name, own := f.helpers[normalHost(host)]; own {
		return name, ownHelper
	}
	return f.store, "credsStore"
}

// login returns the credential that f has under key.
func (f *credentialFile) login(key string) (auth.Credential, string, error) {
	l := f.logins[key]
	source := fmt.Sprintf("%s: auths[%q]", f.path, l.key)
	cred, err := l.credential()
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("%s: %w", source, err)
	}
	return cred, source, nil
}

// match returns the longest key of f that holds a credential and is repo or stands above it, and "" without one. Known
// reports whether f has any such key at all: docker leaves an empty entry where a helper keeps the secret.
func (f *credentialFile) match(repo oci.Repository) (key string, known bool) {
	at := normalHost(repo.Host)
	if repo.Path != "" {
		at += "/" + repo.Path
	}
	for {
		if l, ok := f.logins[at]; ok {
			if !l.empty() {
				return at, true
			}
			known = true
		}
		slash := strings.LastIndexByte(at, '/')
		if slash < 0 {
			return "", known
		}
		at = at[:slash]
	}
}
