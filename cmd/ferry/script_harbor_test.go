package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/harbor/harbortest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// harbor NAME [login] [nocreate] [noquota] [noapi] [oidc] [newquota=BYTES] starts a Harbor and sets $NAME to its address. With login it wants the user
// ada with the password secret, and gives tokens.
func (s *story) harbor(ts *testscript.TestScript, args []string) error {
	var o harbortest.Options
	for _, word := range args[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "newquota":
			o.NewQuota, _ = strconv.ParseInt(value, 10, 64)
		case "login":
			o.Registry.Auth, o.Registry.Username, o.Registry.Password = registrytest.Bearer, "ada", "secret"
		case "nocreate":
			o.NoCreate = true
		case "oidc":
			o.OIDC = true
		case "noapi":
			o.NoAPI = true
		case "noquota":
			o.NoQuota = true
		default:
			return fmt.Errorf("harbor: %q", word)
		}
	}
	h := harbortest.New(s.tb, o)
	s.harbors[args[0]], s.registries[args[0]] = h, h.Server
	ts.Setenv(args[0], h.Host())
	return nil
}

// project HARBOR NAME [public] [proxy] [readonly] [hidden] [late] [rules] [quota=BYTES] [immutable=PATTERN] makes a
// project, or sets it up anew. With rules it has some for retention and immutable tags, and a label.
func (s *story) project(_ *testscript.TestScript, args []string) error {
	p := harbortest.Project{Name: args[1]}
	for _, word := range args[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "public":
			p.Public = true
		case "proxy":
			p.Proxy = true
		case "readonly":
			p.ReadOnly = true
		case "hidden":
			p.Hidden = true
		case "late":
			p.Late = true
		case "rules":
			p.Retention = `{"id":3,"algorithm":"or","rules":[{"id":9,"template":"latestPushedK","params":{"latestPushedK":10}}]}`
			p.Immutability = `[{"id":2,"disabled":false,"tag_selectors":[{"kind":"doublestar","pattern":"v*"}]}]`
			p.Labels = `[{"id":1,"name":"prod","color":"#C92100","creation_time":"2026-01-01T00:00:00Z"}]`
		case "quota":
			p.Quota, _ = strconv.ParseInt(value, 10, 64)
		case "immutable":
			p.ImmutableTags = append(p.ImmutableTags, value)
		default:
			return fmt.Errorf("project: %q", word)
		}
	}
	s.harbors[args[0]].AddProject(p)
	return nil
}

// pushed HARBOR REPOSITORY:TAG DAY says when a tag was pushed.
func (s *story) pushed(_ *testscript.TestScript, args []string) error {
	repo, tag, _ := strings.Cut(args[1], ":")
	at, err := time.Parse(time.DateOnly, args[2])
	s.harbors[args[0]].SetPushed(repo, tag, at)
	return err
}

// visible HARBOR PROJECT public|private proves that there is the project, and who may see it.
func (s *story) visible(_ *testscript.TestScript, args []string) error {
	p, ok := s.harbors[args[0]].Project(args[1])
	if !ok {
		return fmt.Errorf("no project %s", args[1])
	}
	if want := args[2] == "public"; p.Public != want {
		return fmt.Errorf("project %s: public is %v", args[1], p.Public)
	}
	return nil
}

// refuse-tags REGISTRY REPOSITORY makes the registry keep the tags of a repository to itself.
func (s *story) refuseTags(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].Fault(registrytest.Match{Kind: registrytest.Tags, Repo: args[1]},
		registrytest.Code(403, "DENIED", "you may not look here"))
	return nil
}

// equal A B proves that two registries have the same repositories, in them the same tags, and that those name the same
// content, of which nothing is missing.
func (s *story) equal(_ *testscript.TestScript, args []string) error {
	a, b := s.registries[args[0]], s.registries[args[1]]
	if got, want := b.Repositories(), a.Repositories(); !slices.Equal(got, want) {
		return fmt.Errorf("repositories of %s: %q, those of %s: %q", args[1], got, args[0], want)
	}
	for _, repo := range a.Repositories() {
		if got, want := b.Tags(repo), a.Tags(repo); !maps.Equal(got, want) {
			return fmt.Errorf("%s: tags %v, want %v", repo, got, want)
		}
		have := map[string]bool{}
		for _, d := range b.Contents(repo) {
			have[d.Digest.String()] = true
		}
		for _, d := range a.Contents(repo) {
			if !have[d.Digest.String()] {
				return fmt.Errorf("%s: %s %s is missing", repo, d.MediaType, d.Digest)
			}
		}
	}
	return nil
}

// many REGISTRY N [PROJECTS] puts N small images into a registry, four tags a repository, in so many projects (1).
func (s *story) many(_ *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[1])
	projects := 1
	if len(args) > 2 {
		projects, err = strconv.Atoi(args[2])
	}
	r := s.registries[args[0]]
	shared := ocitest.RandomLayer(1, 2000)
	for i := range n {
		repo := fmt.Sprintf("p%d/app-%04d", i/4%projects, i/4)
		g := ocitest.Image(ocitest.AMD64, shared, ocitest.RandomLayer(uint64(1000+i), 100))
		for _, b := range g.All() {
			if oci.IsManifest(b.MediaType) {
				r.AddManifest(repo, b.MediaType, b.Bytes)
			} else {
				r.AddBlob(repo, b.Bytes)
			}
		}
		r.Tag(repo, fmt.Sprintf("v1.%d", i%4), g.Digest)
	}
	return err
}
