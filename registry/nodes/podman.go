package nodes

import (
	"maps"
	"slices"
	"strings"
)

// podman writes a file for registries.conf.d.
func (w *writer) podman() {
	hosts, images := w.hosts()
	lines := []string{
		"# The longest prefix wins. If the registry wants a login, `podman login " + w.registry.Host + "` keeps it.",
	}
	if w.registry.CA != nil {
		lines = append(lines, "# Its authority, "+caName+", goes to "+w.podmanCA()+".")
	}
	for _, host := range hosts {
		for _, l := range w.locations(host, images[host]) {
			lines = append(lines, "", "[[registry]]", "prefix = "+quoted(l.prefix), "location = "+quoted(l.location))
			if w.insecure() {
				lines = append(lines, "insecure = true")
			}
		}
	}
	if _, own := images[w.registry.Host]; !own && w.insecure() {
		lines = append(lines, "", "# For the new names.", "[[registry]]", "location = "+quoted(w.registry.Host), "insecure = true")
	}
	w.add("podman/50-ferry.conf", "/etc/containers/registries.conf.d/50-ferry.conf", lines)
	w.addCA("podman/"+caName, w.podmanCA())
}

func (w *writer) podmanCA() string {
	return "/etc/containers/certs.d/" + w.registry.Host + "/" + caName
}

func (w *writer) insecure() bool { return w.registry.HTTP || w.registry.SkipVerify }

// location is what stands in place of the beginning of a name.
type location struct{ prefix, location string }

// locations returns what leads to the images of a registry: one place for all that most of them have, and what differs.
func (w *writer) locations(host string, images []Image) []location {
	common := ""
	if most := places(images, 1); len(most) > 0 {
		common = most[0]
	}
	var order []location
	known := map[string]string{}
	add := func(prefix, at string) {
		known[prefix] = at
		order = append(order, location{prefix, at})
	}
	add(host, strings.TrimSuffix(w.registry.Host+"/"+common, "/"))
	found := func(img Image) bool { return w.isAt(img, locate(known, img.oldName())) }
	paths := pathOfMost(images)
	for _, repository := range repositories(images) { // one before those inside of it, whose names begin with its own
		of := repository.images
		if path := paths[repository.path]; path != "" && slices.ContainsFunc(of, func(img Image) bool { return !found(img) }) {
			add(host+"/"+repository.path, w.registry.Host+"/"+path)
		}
		for _, img := range of {
			if !found(img) && len(img.Targets) > 0 {
				add(img.oldName(), img.target())
			}
			w.leaveUnless(found(img), img, "it has no name there")
		}
	}
	return order
}

// oldName returns the name by which a node asks for the image.
func (img Image) oldName() string { return img.name(img.Source.Repository.String()) }

// repository has the images of one repository.
type repository struct {
	path   string
	images []Image
}

// repositories returns the repositories that images are in, in the order of their paths.
func repositories(images []Image) []repository {
	by := map[string][]Image{}
	for _, img := range images {
		by[img.Source.Path] = append(by[img.Source.Path], img)
	}
	var all []repository
	for _, path := range slices.Sorted(maps.Keys(by)) {
		all = append(all, repository{path, by[path]})
	}
	return all
}

// locate returns the name that stands in place of name: the longest known beginning is replaced.
func locate(known map[string]string, name string) string {
	for end := len(name); end > 0; end = strings.LastIndexAny(name[:end], "/:@") {
		if at := known[name[:end]]; at != "" {
			return at + name[end:]
		}
	}
	return ""
}

// isAt reports whether the image is found under name.
func (w *writer) isAt(img Image, name string) bool {
	path, ok := strings.CutPrefix(name, w.registry.Host+"/")
	return ok && w.names[path] == img.Digest
}

// target returns a new name of the image, by its digest if that is how nodes ask for it.
func (img Image) target() string {
	t := img.Targets[0]
	if img.Source.Digest != "" {
		t.Tag, t.Digest = "", img.Source.Digest
	}
	return t.String()
}
