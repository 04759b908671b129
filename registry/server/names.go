package server

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// repository is what one repository of a registry has here: its images, of all shelves.
type repository struct {
	name   oci.Repository
	images []image
	tags   map[string][]tagged // to what they mean, which should be one

	once      sync.Once // of load, which sets what follows
	blobs     map[digest.Digest]blob
	referrers map[digest.Digest][]oci.Descriptor // by subject, sorted by digest
}

// image is an image with the shelf that it is on.
type image struct {
	*Image
	shelf *shelf
}

// shelf is a Shelf with the list that has it alone.
type shelf struct {
	*Shelf
	only []*shelf
}

// tagged is what a tag means on a shelf.
type tagged struct {
	oci.Descriptor
	shelf *shelf
}

// blob is a manifest or another blob, with the shelves that have it.
type blob struct {
	oci.Descriptor
	from []*shelf
}

// view is what a name stands for: one repository, or several with one path.
type view struct {
	name  string // as it was asked for
	repos []*repository
}

// names has the repositories by the names that they answer to.
type names struct {
	exact   map[oci.Repository]*repository
	full    map[string]*repository   // host/path
	path    map[string][]*repository // path alone, in order of hosts
	catalog []string
}

// Conflict is a name that means several images.
type Conflict struct {
	Name   string // repository:tag
	Images []ConflictImage
}

// ConflictImage is one of the images that a name means.
type ConflictImage struct {
	Ref   oci.Reference // full, with the digest
	Shelf string
}

func newNames(shelves []Shelf) *names {
	n := &names{exact: map[oci.Repository]*repository{}, full: map[string]*repository{}, path: map[string][]*repository{}}
	for i := range shelves {
		s := &shelf{Shelf: &shelves[i]}
		s.only = []*shelf{s}
		for j := range s.Images {
			n.add(image{&s.Images[j], s})
		}
	}
	for _, repo := range slices.SortedFunc(maps.Values(n.exact), compareRepositories) {
		n.full[FullName(repo.name)] = repo
		n.path[repo.name.Path] = append(n.path[repo.name.Path], repo)
	}
	n.catalog = n.list()
	return n
}

func compareRepositories(a, b *repository) int {
	return cmp.Or(cmp.Compare(a.name.Host, b.name.Host), cmp.Compare(a.name.Path, b.name.Path))
}

// FullName returns the name that a repository has with its host: the first segment of it is the host in lower case, whose colon
// is a _ there and whose brackets are left out, as in the names that unpack makes with --keep-host.
func FullName(r oci.Repository) string {
	return strings.NewReplacer(":", "_", "[", "", "]", "").Replace(strings.ToLower(r.Host)) + "/" + r.Path
}

// add puts an image into its repository.
func (n *names) add(img image) {
	repo := n.exact[img.Ref.Repository]
	if repo == nil {
		repo = &repository{name: img.Ref.Repository, tags: map[string][]tagged{}}
		n.exact[img.Ref.Repository] = repo
	}
	repo.images = append(repo.images, img)
	repo.tag(img.Ref.Tag, tagged{img.Root, img.shelf})
	for _, r := range img.Referrers {
		repo.tag(r.Tag, tagged{r.Descriptor, img.shelf})
	}
}

// tag gives a tag a meaning, unless it has it already.
func (r *repository) tag(tag string, t tagged) {
	same := func(other tagged) bool { return other.Digest == t.Digest }
	if tag != "" && !slices.ContainsFunc(r.tags[tag], same) {
		r.tags[tag] = append(r.tags[tag], t)
	}
}

// load finds out which blobs the repository has, and what is about what.
func (r *repository) load() {
	r.once.Do(func() {
		r.blobs, r.referrers = map[digest.Digest]blob{}, map[digest.Digest][]oci.Descriptor{}
		for _, img := range r.images {
			for _, d := range img.Blobs() {
				r.addBlob(d, img.shelf)
			}
			for _, ref := range img.Referrers {
				r.addReferrer(ref)
			}
		}
	})
}

func (r *repository) addBlob(d oci.Descriptor, from *shelf) {
	b, ok := r.blobs[d.Digest]
	switch {
	case !ok:
		b = blob{d, from.only}
	case !slices.Contains(b.from, from):
		b.from = append(slices.Clip(b.from), from)
	}
	r.blobs[d.Digest] = b
}

func (r *repository) addReferrer(ref Referrer) {
	list := r.referrers[ref.Subject]
	byDigest := func(d oci.Descriptor, want digest.Digest) int { return cmp.Compare(d.Digest, want) }
	if i, found := slices.BinarySearchFunc(list, ref.Digest, byDigest); !found {
		r.referrers[ref.Subject] = slices.Insert(list, i, ref.Descriptor)
	}
}

// list returns the names for the catalog, see Server.Repositories.
func (n *names) list() []string {
	set := map[string]bool{}
	for path, repos := range n.path {
		v := view{path, repos}
		set[path] = true
		if len(repos) > 1 && len(v.conflicts()) > 0 {
			for _, repo := range repos {
				set[FullName(repo.name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// find returns what the name stands for. With ns, which containerd sends to a mirror, only a repository of that host is meant.
func (n *names) find(name, ns string) (view, error) {
	v := view{name: name}
	switch repo, ok := n.full[name]; {
	case ns != "":
		if repo := n.inHost(ns, name); repo != nil {
			v.repos = []*repository{repo}
		}
	case ok:
		v.repos = []*repository{repo}
	default:
		v.repos = n.path[name]
	}
	if len(v.repos) > 0 {
		return v, nil
	}
	if _, err := oci.ParseReference("host.example/" + name + ":tag"); err != nil {
		return v, &failure{status: http.StatusBadRequest, code: codeNameInvalid, message: err.Error()}
	}
	f := &failure{status: http.StatusNotFound, code: codeNameUnknown, message: fmt.Sprintf("no repository %s here", name)}
	if ns != "" {
		f.message += " of " + ns
	}
	return v, f
}

// inHost returns the repository of that name, which may begin with the host already. Docker Hub goes by several hosts.
func (n *names) inHost(host, name string) *repository {
	candidates := []oci.Repository{{Host: host, Path: name}}
	if ref, err := oci.ParseReference(host + "/" + name); err == nil {
		candidates = append(candidates, ref.Repository)
	}
	for _, c := range candidates {
		if repo := n.exact[c]; repo != nil {
			return repo
		}
		if repo := n.full[name]; repo != nil && repo.name.Host == c.Host {
			return repo
		}
	}
	return nil
}

// Conflicts returns the names that mean several images and so are not found, sorted: tags of a path that several hosts have,
// under the path alone, and tags that mean one thing on one shelf and another one on the next, under all names.
func (s *Server) Conflicts() []Conflict {
	var list []Conflict
	for path, repos := range s.names.path {
		v := view{path, repos}
		for _, tag := range v.conflicts() {
			list = append(list, v.conflict(tag))
		}
	}
	slices.SortFunc(list, func(a, b Conflict) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// conflict returns what a tag means that means several things.
func (v view) conflict(tag string) Conflict {
	c := Conflict{Name: v.name + ":" + tag}
	for _, repo := range v.repos {
		for _, t := range repo.tags[tag] {
			ref := oci.Reference{Repository: repo.name, Tag: tag, Digest: t.Digest}
			c.Images = append(c.Images, ConflictImage{Ref: ref, Shelf: t.shelf.Name})
		}
	}
	return c
}

// tag returns what a tag means; several things are a conflict.
func (v view) tag(tag string) []oci.Descriptor {
	var list []oci.Descriptor
	for _, repo := range v.repos {
		for _, t := range repo.tags[tag] {
			same := func(d oci.Descriptor) bool { return d.Digest == t.Digest }
			if !slices.ContainsFunc(list, same) {
				list = append(list, t.Descriptor)
			}
		}
	}
	return list
}

// allTags returns the tags, sorted, those with a conflict included.
func (v view) allTags() []string {
	set := map[string]bool{}
	for _, repo := range v.repos {
		for tag := range repo.tags {
			set[tag] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// conflicts returns the tags that mean several things, sorted.
func (v view) conflicts() []string {
	return slices.DeleteFunc(v.allTags(), func(tag string) bool { return len(v.tag(tag)) < 2 })
}

// blob returns a blob that the images of the view need.
func (v view) blob(d digest.Digest) (blob, bool) {
	for _, repo := range v.repos {
		repo.load()
		if b, ok := repo.blobs[d]; ok {
			return b, true
		}
	}
	return blob{}, false
}

// resolve returns the manifest that ref, a tag or a digest, stands for.
func (v view) resolve(ref string) (blob, error) {
	unknown := &failure{
		status: http.StatusNotFound, code: codeManifestUnknown, message: fmt.Sprintf("no manifest %s in %s", ref, v.name),
	}
	d := digest.Digest(ref)
	if d.Validate() != nil {
		switch meanings := v.tag(ref); len(meanings) {
		case 0:
			return blob{}, unknown
		case 1:
			d = meanings[0].Digest
		default:
			return blob{}, v.ambiguous(ref)
		}
	}
	if b, ok := v.blob(d); ok && oci.IsManifest(b.MediaType) {
		return b, nil
	}
	return blob{}, unknown
}

// ambiguous is the answer for a tag that means several things. Its detail are the names to ask for.
func (v view) ambiguous(tag string) error {
	var list []string
	for _, img := range v.conflict(tag).Images {
		list = append(list, img.Ref.String())
	}
	return &failure{
		status: http.StatusNotFound, code: codeManifestUnknown,
		message: fmt.Sprintf("%s:%s means %d images here, so ask for one of them: %s", v.name, tag, len(list), strings.Join(list, ", ")),
		detail:  map[string][]string{"names": list},
	}
}
