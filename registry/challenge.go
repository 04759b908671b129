package registry

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

const headerChallenge = "Www-Authenticate"

// challenged is a transport that brings the challenges of registries into the form that [auth.Client] understands: it
// reads the first one alone, and refuses a token server in plain http for a registry in https.
type challenged struct{ next http.RoundTripper }

func (c challenged) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if challenge := chooseChallenge(resp.Header.Values(headerChallenge)); challenge != "" {
		resp.Header = resp.Header.Clone()
		resp.Header.Set(headerChallenge, raiseRealm(challenge, req.URL))
	}
	return resp, nil
}

// chooseChallenge returns the challenge that ferry can meet, Bearer before Basic, else the first. Registries behind a
// company's gateway offer Negotiate or Digest as well.
func chooseChallenge(all []string) string {
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range all {
			word, _, _ := strings.Cut(strings.TrimSpace(c), " ")
			if strings.EqualFold(word, scheme) {
				return c
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

var plainRealm = regexp.MustCompile(`(?i)\brealm="http://[^"]*"`)

// raiseRealm makes the token server's URL one of https where a registry that was spoken to in https names one on its own
// host in plain http, as a registry does that knows nothing of the proxy before it which ends TLS.
func raiseRealm(challenge string, asked *url.URL) string {
	if asked.Scheme != "https" {
		return challenge
	}
	return plainRealm.ReplaceAllStringFunc(challenge, func(field string) string {
		key, quoted, _ := strings.Cut(field, "=")
		realm, err := url.Parse(strings.Trim(quoted, `"`))
		if err != nil || !strings.EqualFold(realm.Hostname(), asked.Hostname()) {
			return field
		}
		realm.Scheme = "https"
		if realm.Port() == "" || realm.Port() == "80" {
			realm.Host = asked.Host
		}
		return key + `="` + realm.String() + `"`
	})
}

// blockedRealms returns the addresses on which a registry at addr must not name its token server: those of this machine
// and of the cloud's own services, where a hostile registry could make ferry ask for secrets. The private networks are
// free, and loopback is for a registry that is there itself.
func blockedRealms(addr string) []netip.Prefix {
	blocked := auth.DefaultBlockedRealmPrefixes()
	if IsLoopback(addr) {
		blocked = slices.DeleteFunc(blocked, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
	}
	return blocked
}
