package distribution

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/crypto/bcrypt"
)

// configure makes distribution's configuration, and the token server when there is to be one.
func (s *Server) configure(opts Options) (*configuration.Configuration, *issuer, error) {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory":    {},
			"delete":      {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.HTTP.Secret = "of a registry for tests"
	config.Log.AccessLog.Disabled = true
	config.Log.Level = "fatal"
	config.Catalog.MaxEntries, config.Tags.MaxTags = 1000, 1000
	config.Validation.Manifests.URLs.Allow = opts.AllowURLs
	if opts.AnyIndex {
		config.Validation.Manifests.Indexes.Platforms = "none"
	}
	if opts.Root != "" {
		if err := os.MkdirAll(opts.Root, 0o755); err != nil {
			return nil, nil, err
		}
		delete(config.Storage, "inmemory")
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": opts.Root}
	}
	if len(opts.Users) == 0 {
		return config, nil, nil
	}
	if opts.TokenLifetime == 0 {
		file := filepath.Join(s.dir, "htpasswd")
		config.Auth = configuration.Auth{"htpasswd": {"realm": "ferry e2e", "path": file}}
		return config, nil, writeHtpasswd(file, opts.Users)
	}
	issuer, err := newIssuer(opts.Users, opts.TokenLifetime)
	if err != nil {
		return nil, nil, err
	}
	keys := filepath.Join(s.dir, "jwks.json")
	config.Auth = configuration.Auth{"token": {
		"realm":   s.URL() + tokenPath,
		"issuer":  tokenIssuer,
		"service": tokenService,
		"jwks":    keys,
	}}
	return config, issuer, issuer.writeKeys(keys)
}

// writeHtpasswd writes users and passwords in the form of Apache's htpasswd -B; distribution takes no other.
func writeHtpasswd(file string, users map[string]string) error {
	var b strings.Builder
	for name, password := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return fmt.Errorf("password of %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, hash)
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
