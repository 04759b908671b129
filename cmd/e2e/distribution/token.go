package distribution

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/auth/token"
)

const (
	tokenPath    = "/token"
	tokenIssuer  = "ferry e2e issuer"
	tokenService = "ferry e2e registry"
	tokenKeyID   = "ferry-e2e"
)

// issuer is a token server after distribution's token authentication specification: GET with Basic credentials gives
// a bearer token for the scopes asked for. Every known user may do everything.
type issuer struct {
	key      *rsa.PrivateKey
	users    map[string]string
	lifetime time.Duration
}

func newIssuer(users map[string]string, lifetime time.Duration) (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &issuer{key: key, users: users, lifetime: lifetime}, nil
}

// writeKeys writes the public key as the JSON web key set that the registry trusts.
func (i *issuer) writeKeys(file string) error {
	exponent := big.NewInt(int64(i.key.E)).Bytes()
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": tokenKeyID,
		"n": base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(exponent),
	}}})
	if err != nil {
		return err
	}
	return os.WriteFile(file, set, 0o600)
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if want, ok := i.users[user]; !ok || want != password || r.Method != http.MethodGet {
		w.Header().Set("Www-Authenticate", `Basic realm="ferry e2e"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"unknown user or password"}]}`, http.StatusUnauthorized)
		return
	}
	signed, err := i.sign(i.claims(user, r.URL.Query()["scope"]))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": signed, "expires_in": int(i.lifetime.Seconds())})
}

// claims makes a token that the registry stops to take after the lifetime. The registry grants a leeway of a minute
// past the expiry that stands in the token, so that much is taken off; whole seconds stand there, so it is rounded up.
func (i *issuer) claims(user string, scopes []string) token.ClaimSet {
	now := time.Now()
	claims := token.ClaimSet{
		Issuer:     tokenIssuer,
		Subject:    user,
		Audience:   token.AudienceList{tokenService},
		IssuedAt:   now.Unix(),
		NotBefore:  now.Add(-token.Leeway).Unix(),
		Expiration: now.Add(i.lifetime - token.Leeway + time.Second).Unix(),
	}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		colon := strings.LastIndexByte(rest, ':') // a repository's name may hold a host with a port
		if colon < 0 {
			continue
		}
		actions := strings.Split(rest[colon+1:], ",")
		claims.Access = append(claims.Access, &token.ResourceActions{Type: kind, Name: rest[:colon], Actions: actions})
	}
	return claims
}

// sign returns claims as a JSON web token in compact form, signed with RS256.
func (i *issuer) sign(claims token.ClaimSet) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "RS256", "kid": tokenKeyID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
