package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/ferry-oci/ferry/oci/durable"
)

// SaveCredential keeps a user name and a password for a registry in the credential file path, so that docker, podman and
// ferry find them, or with the helper that the file names for the registry. An earlier login for it is replaced; all else
// that the file holds is kept. The file is replaced as a whole, and nobody else can read it then. It returns where the
// password is, for messages. Errors name the file or the helper, and hold no secret.
func SaveCredential(ctx context.Context, path, host string, cred Credential) (where string, err error) {
	f, err := openLogins(path)
	if err != nil {
		return "", err
	}
	host = normalHost(host)
	f.drop(host)
	entry := login{Auth: base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password))}
	where = f.path
	if helper, field := f.parsed.helper(host); helper != "" {
		where = fmt.Sprintf("%s%s (%s of %s)", helperPrefix, helper, field, f.path)
		if err := credentials.NewNativeStore(helper).Put(ctx, helperServer(host), cred); err != nil {
			return "", fmt.Errorf("%s: %s: %w", where, host, helperError(err))
		}
		entry = login{} // by which docker knows that there is one
	}
	key := host
	if host == dockerHub {
		key = dockerHubKey
	}
	if f.auths[key], err = json.Marshal(entry); err != nil {
		return "", err
	}
	return where, f.write()
}

// RemoveCredential takes the login for key, a registry or a namespace of one, out of the credential file path and out of
// the helper that the file names for the registry, and reports whether there was one. Where there was none, and where
// there is no file, nothing changes.
func RemoveCredential(ctx context.Context, path, key string) (found bool, err error) {
	f, err := openLogins(path)
	if err != nil {
		return false, err
	}
	found, err = f.forget(ctx, normalKey(key))
	if !found || err != nil {
		return false, err
	}
	return true, f.write()
}

// RemoveAllCredentials takes every login out of the credential file path and out of the helpers that it names, and
// returns for what they were, sorted. Logins whose helper fails stay, and are all named by the error.
func RemoveAllCredentials(ctx context.Context, path string) (removed []string, err error) {
	f, err := openLogins(path)
	if err != nil {
		return nil, err
	}
	keys := slices.Concat(slices.Collect(maps.Keys(f.parsed.logins)), slices.Collect(maps.Keys(f.parsed.helpers)))
	slices.Sort(keys)
	var errs []error
	for _, key := range slices.Compact(keys) {
		found, err := f.forget(ctx, key)
		if found {
			removed = append(removed, key)
		}
		errs = append(errs, err)
	}
	if len(removed) > 0 {
		errs = append(errs, f.write())
	}
	return removed, errors.Join(errs...)
}

// Login returns the file in which a new login is to be kept: the named one, else that of docker, which podman reads, too.
// It is empty where there is no home directory.
func (f CredentialFiles) Login() string {
	if len(f.Named) > 0 {
		return f.Named[0]
	}
	return f.Docker
}

// Logout returns the files out of which a login is to be taken: the named one, else those of docker and podman.
func (f CredentialFiles) Logout() []string {
	if len(f.Named) > 0 {
		return f.Named[:1]
	}
	return f.paths()
}

// loginFile is a credential file that is changed. What it holds besides logins stays as it is.
type loginFile struct {
	path   string // of the file itself, when the name is a link
	parsed *credentialFile
	fields map[string]json.RawMessage
	auths  map[string]json.RawMessage
}

// openLogins reads the file; one that is not there is an empty one.
func openLogins(path string) (*loginFile, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f := &loginFile{path: path, fields: map[string]json.RawMessage{}, auths: map[string]json.RawMessage{}}
	raw, err := readCredentials(path)
	if err != nil {
		return nil, err
	}
	if f.parsed, err = parseCredentialFile(path, raw); err != nil {
		return nil, err
	}
	if raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\uFEFF"))); len(raw) == 0 {
		return f, nil
	}
	// That these are objects, or null, has been seen above.
	if err := json.Unmarshal(raw, &f.fields); err != nil {
		return nil, describeJSON(path, raw, 0, err)
	}
	if auths := f.fields["auths"]; auths != nil {
		if err := json.Unmarshal(auths, &f.auths); err != nil {
			return nil, describeJSON(path, raw, 0, err)
		}
	}
	if f.fields == nil {
		f.fields = map[string]json.RawMessage{}
	}
	if f.auths == nil {
		f.auths = map[string]json.RawMessage{}
	}
	return f, nil
}

// drop removes all entries that mean the normal key, however they are spelt, and reports whether there were any.
func (f *loginFile) drop(normal string) bool {
	before := len(f.auths)
	maps.DeleteFunc(f.auths, func(key string, _ json.RawMessage) bool { return normalKey(key) == normal })
	return len(f.auths) < before
}

// forget removes the login for the normal key from the helper and from the entries.
func (f *loginFile) forget(ctx context.Context, key string) (found bool, err error) {
	if helper, field := f.parsed.helper(key); helper != "" && !strings.Contains(key, "/") {
		store, server := credentials.NewNativeStore(helper), helperServer(key)
		where := fmt.Sprintf("%s%s (%s of %s): %s", helperPrefix, helper, field, f.path, key)
		cred, err := store.Get(ctx, server)
		if err != nil {
			return false, fmt.Errorf("%s: %w", where, helperError(err))
		}
		if found = cred != auth.EmptyCredential; found {
			if err := store.Delete(ctx, server); err != nil {
				return false, fmt.Errorf("%s: %w", where, helperError(err))
			}
		}
	}
	return f.drop(key) || found, nil
}

// write replaces the file. It is not on the disk, or it is whole and nobody else can read it.
func (f *loginFile) write() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("credentials: %s: %w", f.path, err)
		}
	}()
	if f.fields["auths"], err = json.Marshal(f.auths); err != nil {
		return err
	}
	var raw bytes.Buffer
	text := json.NewEncoder(&raw)
	text.SetEscapeHTML(false)
	text.SetIndent("", "\t") // as docker writes it
	if err := text.Encode(f.fields); err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".login-*"+durable.TempSuffix) // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	_, err = tmp.Write(raw.Bytes())
	if err == nil {
		err = errors.Join(keepOwner(tmp, f.path), tmp.Sync())
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), f.path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
