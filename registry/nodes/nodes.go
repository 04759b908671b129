// Package nodes writes the files by which container runtimes find images under their old names in a new registry.
//
// [New] makes the files of one client: containerd, k3s or RKE2, Podman, kubespray. It is told each image by its old name and
// by those that it has now, and tries what the files say on each of them: names that a file cannot tell are in
// [Config.Unsaid]. The files hold no credentials, only where they go. NODES.md, beside this file, has the rules of each
// client and where they are from.
package nodes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Image is an image by its old name, with the names that it has in the new registry.
type Image struct {
	Source  oci.Reference
	Digest  digest.Digest   // of its manifest or index
	Targets []oci.Reference // their Host is that of the Registry; without a tag the image goes by its digest
}

// Registry is where the images are now.
type Registry struct {
	Host       string // host[:port]
	HTTP       bool   // it speaks plain http
	CA         []byte // its authority's certificates as PEM; nil: the nodes trust it already
	SkipVerify bool   // nodes take whatever certificate it has
	Serve      bool   // it is `ferry serve`, which knows the old names as well
}

// url returns the URL of a path in the registry.
func (r Registry) url(path string) string {
	if r.HTTP {
		return "http://" + r.Host + path
	}
	return "https://" + r.Host + path
}

// Client is what pulls the images.
type Client string

const (
	Containerd Client = "containerd"
	K3s        Client = "k3s"
	RKE2       Client = "rke2"
	Podman     Client = "podman"
	Kubespray  Client = "kubespray"
)

// Clients are those that [ParseClients] knows.
var Clients = []Client{Containerd, K3s, RKE2, Podman, Kubespray}

// ParseClients reads names of clients, with commas between them.
func ParseClients(s string) ([]Client, error) {
	var all []Client
	for name := range strings.SplitSeq(s, ",") {
		c := Client(strings.TrimSpace(name))
		if !slices.Contains(Clients, c) {
			return nil, fmt.Errorf("%.50q: %v are known", name, Clients)
		}
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all, nil
}

// File is a file for nodes.
type File struct {
	Path  string // in a folder of files for all clients, with slashes
	Place string // where it goes on a node, an absolute path, or in words
	Text  []byte
}

// Unsaid is an image that a client does not find by its old name.
type Unsaid struct {
	Image  string // the old name
	Target string // the new one
	Why    string
}

// Config is what one client needs.
type Config struct {
	Client Client
	Files  []File
	Unsaid []Unsaid // in the order of the names
}

// Mark begins the first line of each file, certificates aside. Who finds it in a file may replace that file.
const Mark = "# Made by ferry hosts"

// New returns the files by which a client finds the images in r. The files are the same for the same images, in whatever
// order they come.
func New(c Client, images []Image, r Registry) Config {
	images = slices.DeleteFunc(slices.Clone(images), func(img Image) bool { return img.stays(r.Host) })
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Source.String(), b.Source.String()) })
	w := &writer{client: c, images: images, registry: r, names: contentOf(images)}
	switch c {
	case Containerd:
		w.containerd()
	case K3s, RKE2:
		w.k3s()
	case Podman:
		w.podman()
	case Kubespray:
		w.kubespray()
	}
	return Config{Client: c, Files: w.files, Unsaid: w.unsaid}
}

// writer makes one Config.
type writer struct {
	client   Client
	images   []Image // sorted by their old names
	registry Registry
	names    map[string]digest.Digest // what the new registry has
	files    []File
	unsaid   []Unsaid
}

// contentOf returns the names in the new registry, as path:tag and path@digest, and what they mean.
func contentOf(images []Image) map[string]digest.Digest {
	names := map[string]digest.Digest{}
	for _, img := range images {
		for _, t := range img.Targets {
			names[t.Path+"@"+img.Digest.String()] = img.Digest
			if t.Tag != "" {
				names[t.Path+":"+t.Tag] = img.Digest
			}
		}
	}
	return names
}

// add adds a file, whose text is lines below a head that says what it is.
func (w *writer) add(path, place string, lines []string) {
	head := []string{Mark + " for " + w.registry.Host + ": " + place}
	text := strings.Join(append(head, lines...), "\n") + "\n"
	w.files = append(w.files, File{Path: path, Place: place, Text: []byte(text)})
}

// addCA adds the registry's authority, if there is one.
func (w *writer) addCA(path, place string) {
	if w.registry.CA != nil {
		w.files = append(w.files, File{Path: path, Place: place, Text: w.registry.CA})
	}
}

// leave notes that the client does not find an image.
func (w *writer) leave(img Image, why string) {
	target := ""
	if len(img.Targets) > 0 {
		target = img.Targets[0].String()
	}
	w.unsaid = append(w.unsaid, Unsaid{Image: img.Source.Name(), Target: target, Why: why})
}

// leaveUnless notes that the client does not find an image, unless it does.
func (w *writer) leaveUnless(found bool, img Image, why string) {
	switch {
	case found:
	case len(img.paths()) == 0:
		w.leave(img, "its tag is another one there")
	default:
		w.leave(img, why)
	}
}

// hosts returns the registries of the old names, sorted, and the images of each.
func (w *writer) hosts() (hosts []string, images map[string][]Image) {
	images = map[string][]Image{}
	for _, img := range w.images {
		if images[img.Source.Host] == nil {
			hosts = append(hosts, img.Source.Host)
		}
		images[img.Source.Host] = append(images[img.Source.Host], img)
	}
	slices.Sort(hosts)
	return hosts, images
}

// name returns the name by which a node asks for the image when its repository is path: path:tag or path@digest.
func (img Image) name(path string) string {
	if img.Source.Digest != "" {
		return path + "@" + img.Source.Digest.String()
	}
	return path + ":" + img.Source.Tag
}

// stays reports whether the image has its old name in the new registry, which is the old one then.
func (img Image) stays(host string) bool {
	return img.Source.Host == host && slices.Contains(img.paths(), img.Source.Path)
}

// paths returns the repositories in which the image has the tag, or the digest, that a node asks for.
func (img Image) paths() []string {
	var paths []string
	for _, t := range img.Targets {
		if (img.Source.Digest != "" || t.Tag == img.Source.Tag) && !slices.Contains(paths, t.Path) {
			paths = append(paths, t.Path)
		}
	}
	return paths
}

// prefixes returns the paths that can be put before the old name to give a new one; "" is none.
func (img Image) prefixes() []string {
	var prefixes []string
	for _, path := range img.paths() {
		if path == img.Source.Path {
			prefixes = append(prefixes, "")
		} else if prefix, ok := strings.CutSuffix(path, "/"+img.Source.Path); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// prefixed returns path with a prefix before it.
func prefixed(prefix, path string) string {
	if prefix == "" {
		return path
	}
	return prefix + "/" + path
}

// places returns the prefixes that images need, those of more images first, and at most limit of them.
func places(images []Image, limit int) []string {
	var found []string
	for left := images; len(left) > 0 && len(found) < limit; {
		votes := map[string]int{}
		for _, img := range left {
			for _, p := range img.prefixes() {
				votes[p]++
			}
		}
		if len(votes) == 0 {
			break
		}
		best := most(votes)
		found = append(found, best)
		left = slices.DeleteFunc(slices.Clone(left), func(img Image) bool { return slices.Contains(img.prefixes(), best) })
	}
	return found
}

// most returns the key with the most votes, of several the shortest, and of those the first.
func most(votes map[string]int) string {
	return slices.MinFunc(slices.Collect(maps.Keys(votes)), func(a, b string) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

// caName is the name of a file with the registry's authority.
const caName = "ca.crt"
