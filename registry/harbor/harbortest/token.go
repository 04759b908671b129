package harbortest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// tokenPath is where Harbor's token server is asked.
const tokenPath = "/service/token"

// allows reports whether the user may `pull` from or `push` to the project.
func (p Project) allows(action string) bool { return !p.Hidden && (action == "pull" || !p.ReadOnly) }

// serveToken answers with a token that names what the user may do, as Harbor's does: to everybody who asks for a
// repository, but to no wrong password. It is not signed, and the registry takes none of this kind.
func (h *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	anonymous := h.o.Registry.Auth != registrytest.NoAuth && r.Header.Get("Authorization") == ""
	if !anonymous && !h.knows(r) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "unauthorized")
		return
	}
	if h.o.Token != "" {
		w.Write([]byte(h.o.Token))
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	var all []access
	for _, scope := range r.URL.Query()["scope"] {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 {
			continue
		}
		project, _, _ := strings.Cut(parts[1], "/")
		p, known := h.find(project)
		actions := []string{}
		for _, action := range []string{"pull", "push"} {
			if known && !anonymous && p.allows(action) {
				actions = append(actions, action)
			}
		}
		all = append(all, access{Type: parts[0], Name: parts[1], Actions: actions})
	}
	answer(w, map[string]any{"token": part(map[string]any{"alg": "none"}) + "." + part(map[string]any{"access": all}) + ".AA"})
}

// part is one of a token's.
func part(v any) string {
	raw, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(raw)
}
