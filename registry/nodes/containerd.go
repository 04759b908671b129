package nodes

import (
	"fmt"
	"slices"
	"strings"
)

// maxPlaces is how many paths are tried for the images of one registry: each that lacks an image costs a request.
const maxPlaces = 4

const certsDir = "/etc/containerd/certs.d/"

// containerd writes certs.d/HOST/hosts.toml for each registry.
func (w *writer) containerd() {
	hosts, images := w.hosts()
	for _, host := range hosts {
		found := []string{""}
		if !w.registry.Serve { // which is told the registry with each request
			found = w.containerdPlaces(images[host])
		}
		if len(found) == 0 || host == w.registry.Host && !slices.Contains(found, "") {
			found = append(found, "") // so that no other registry is asked, and new names in the same one are found
		}
		w.addHosts(host, w.hostsLines(found))
	}
	if _, own := images[w.registry.Host]; own || !w.registry.HTTP && !w.registry.SkipVerify && w.registry.CA == nil {
		return
	}
	w.addHosts(w.registry.Host, append([]string{"# For the new names."}, w.hostsLines([]string{""})...))
}

// hostsLines returns a hosts.toml for the places with these prefixes. containerd asks them in turn and then the server, which
// it takes for the old registry if it is not told; before 2.0 it refuses a file with nothing but a server.
func (w *writer) hostsLines(prefixes []string) []string {
	last := prefixes[len(prefixes)-1]
	lines := append([]string{"server = " + quoted(w.place(last))}, w.placeLines("", last)...)
	for _, prefix := range prefixes {
		lines = append(append(lines, "", "[host."+quoted(w.place(prefix))+"]"), w.placeLines("  ", prefix)...)
	}
	return lines
}

// containerdPlaces returns the paths to be tried, and notes the images that are in none of them.
func (w *writer) containerdPlaces(images []Image) []string {
	found := places(images, maxPlaces)
	for _, img := range images {
		var first string // that has the name, whatever it means there
		for _, prefix := range found {
			if name := img.name(prefixed(prefix, img.Source.Path)); w.names[name] != "" {
				first = name
				break
			}
		}
		why := "a path can be put before a name, and no more be changed"
		if first != "" {
			why = fmt.Sprintf("%s/%s, which is asked first, is another image", w.registry.Host, first)
		}
		w.leaveUnless(first != "" && w.names[first] == img.Digest, img, why)
	}
	return found
}

// place returns the URL under which containerd finds the repositories with a prefix.
func (w *writer) place(prefix string) string {
	if prefix == "" {
		return w.registry.url("")
	}
	return w.registry.url("/v2/" + prefix)
}

// placeLines returns what is said of the place with a prefix.
func (w *writer) placeLines(indent, prefix string) []string {
	lines := []string{indent + `capabilities = ["pull", "resolve"]`}
	if prefix != "" {
		lines = append(lines, indent+"override_path = true")
	}
	if w.registry.CA != nil {
		lines = append(lines, indent+"ca = "+quoted(caName))
	}
	if w.registry.SkipVerify {
		lines = append(lines, indent+"skip_verify = true")
	}
	return lines
}

// addHosts adds the hosts.toml of a registry.
func (w *writer) addHosts(host string, lines []string) {
	folder := "certs.d/" + hostFolder(host) + "/"
	w.add("containerd/"+folder+"hosts.toml", certsDir+hostFolder(host)+"/hosts.toml", lines)
	w.addCA("containerd/"+folder+caName, certsDir+hostFolder(host)+"/"+caName)
}

// hostFolder returns the folder for a registry: with a port, containerd looks for this form first.
func hostFolder(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.HasSuffix(host, "]") {
		return host
	}
	return host[:colon] + "_" + host[colon+1:] + "_"
}

// quoted returns s as a text of TOML and YAML. Names have no characters that would have to be escaped.
func quoted(s string) string { return `"` + s + `"` }
