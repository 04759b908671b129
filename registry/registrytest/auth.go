package registrytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const tokenPath = "/token"

// catalogRight is the right to read the catalog, and its own scope; all others begin with a repository.
const catalogRight = "registry:catalog:*"

// token is a bearer token.
type token struct {
	scopes []string // repository:action
	left   int      // requests that it is good for
}

// rights returns what the request needs, as repository:action.
func rights(r *http.Request, q *Request) []string {
	if q.Kind == Catalog {
		return []string{catalogRight}
	}
	if q.Repo == "" {
		return nil
	}
	need := []string{q.Repo + ":pull"}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		need = append(need, q.Repo+":push")
	}
	if q.Kind == Mount {
		need = append(need, r.URL.Query().Get("from")+":pull")
	}
	return need
}

// authorize reports whether the request may go on, or answers it.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, q *Request) bool {
	method := s.o.Auth
	if q.Kind == Catalog && s.o.CatalogBasic {
		method = Basic
	}
	switch method {
	case Basic:
		if s.knows(r) {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
	case Bearer:
		need := rights(r, q)
		if s.useToken(r, need) || s.o.BasicToo && s.knows(r) {
			return true
		}
		if s.o.BasicToo && r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
			break
		}
		if s.o.ChallengePull && len(need) > 1 {
			need = need[:1]
		}
		challenge := fmt.Sprintf("Bearer realm=%q,service=%q%s", s.main.URL+tokenPath, "registrytest", challengeScope(need))
		w.Header().Set("WWW-Authenticate", challenge)
	default:
		return true
	}
	apiError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// challengeScope writes the rights for a challenge, those of one repository in one scope.
func challengeScope(need []string) string {
	var repos []string
	actions := map[string][]string{}
	for _, right := range need {
		repo, action := cutRight(right)
		if !slices.Contains(repos, repo) {
			repos = append(repos, repo)
		}
		actions[repo] = append(actions[repo], action)
	}
	if len(repos) == 0 {
		return ""
	}
	if need[0] == catalogRight {
		return fmt.Sprintf(",scope=%q", catalogRight)
	}
	var scopes []string
	for _, repo := range repos {
		scopes = append(scopes, "repository:"+repo+":"+strings.Join(actions[repo], ","))
	}
	return fmt.Sprintf(",scope=%q", strings.Join(scopes, " "))
}

func cutRight(right string) (repo, action string) {
	i := strings.LastIndexByte(right, ':')
	return right[:i], right[i+1:]
}

// knows reports whether the request has the right user name and password.
func (s *Server) knows(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == s.o.Username && password == s.o.Password
}

// useToken reports whether the request's token has the rights, and takes one use off it.
func (s *Server) useToken(r *http.Request, need []string) bool {
	name, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[name]
	if t == nil || t.left == 0 && s.o.TokenUses > 0 {
		return false
	}
	for _, right := range need {
		if !slices.Contains(t.scopes, right) {
			return false
		}
	}
	t.left--
	return true
}

// ExpireTokens makes all tokens that were given so far worth nothing.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// serveToken is the token server. It gives a token with those of the wanted rights that [Options.Grant] allows.
// The right to the catalog is the action `catalog` on no repository.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	scopes, known, field := r.URL.Query()["scope"], s.knows(r), "token"
	if r.Method == http.MethodPost { // as OAuth 2 has it
		given := r.PostFormValue("refresh_token")
		scopes, known, field = strings.Fields(r.PostFormValue("scope")), given != "" && given == s.o.IdentityToken, "access_token"
	}
	if !known {
		apiError(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	t := &token{left: s.o.TokenUses}
	for _, scope := range scopes {
		kind, rest, _ := strings.Cut(scope, ":")
		if scope == catalogRight && (s.o.Grant == nil || s.o.Grant("", "catalog")) {
			t.scopes = append(t.scopes, scope)
		}
		if kind != "repository" || !strings.Contains(rest, ":") {
			continue
		}
		repo, actions := cutRight(rest)
		for action := range strings.SplitSeq(actions, ",") {
			if s.o.Grant == nil || s.o.Grant(repo, action) {
				t.scopes = append(t.scopes, repo+":"+action)
			}
		}
	}
	s.mu.Lock()
	s.nextID++
	name := cmp.Or(s.o.TokenPrefix, "token") + "-" + strconv.Itoa(s.nextID)
	s.tokens[name] = t
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{field: name})
}
