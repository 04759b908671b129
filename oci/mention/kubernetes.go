package mention

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-oci/ferry/oci"
)

// podKinds has, for each kind of object of Kubernetes that holds the spec of a pod, the API groups that have it and where
// the spec is.
var podKinds = map[string]struct {
	groups []string
	path   string
}{
	"Pod":                   {[]string{""}, "spec"},
	"PodTemplate":           {[]string{""}, "template.spec"},
	"ReplicationController": {[]string{""}, "spec.template.spec"},
	"Deployment":            {[]string{"apps", "extensions"}, "spec.template.spec"},
	"ReplicaSet":            {[]string{"apps", "extensions"}, "spec.template.spec"},
	"DaemonSet":             {[]string{"apps", "extensions"}, "spec.template.spec"},
	"StatefulSet":           {[]string{"apps"}, "spec.template.spec"},
	"Job":                   {[]string{"batch"}, "spec.template.spec"},
	"CronJob":               {[]string{"batch"}, "spec.jobTemplate.spec.template.spec"},
}

// own are the API groups of Kubernetes itself, beside those that end in .k8s.io: none of their other kinds runs an image.
var own = []string{"", "apps", "extensions", "batch", "autoscaling", "policy"}

// object takes the images of an object of Kubernetes.
func (f *finder) object(n *yaml.Node, depth int) {
	if !f.enter(n, depth) {
		return
	}
	kind, version := word(get(n, "kind")), word(get(n, "apiVersion"))
	group := ""
	if before, _, ok := strings.Cut(version, "/"); ok {
		group = before
	}
	list := get(n, "items")
	known, ok := podKinds[kind]
	switch {
	case strings.HasSuffix(kind, "List") && list != nil:
		for _, item := range items(list) {
			f.object(item, depth+1)
		}
	case ok && slices.Contains(known.groups, group):
		f.podSpec(at(n, known.path))
	case !slices.Contains(own, group) && !strings.HasSuffix(group, ".k8s.io"):
		f.called(n, "kind "+kind, depth)
	}
}

// podSpec takes the images of the spec of a pod.
func (f *finder) podSpec(spec *yaml.Node) {
	for _, field := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for _, c := range items(get(spec, field)) {
			if image := get(c, "image"); image != nil {
				f.take(image)
			}
			f.arguments(c)
		}
	}
	for _, v := range items(get(spec, "volumes")) {
		if image := at(v, "image.reference"); image != nil {
			f.take(image)
		}
	}
}

// arguments looks at what a container is told: operators get the images that they are to run there.
func (f *finder) arguments(container *yaml.Node) {
	for _, field := range []string{"command", "args"} {
		for _, arg := range items(get(container, field)) {
			if name, value, ok := strings.Cut(word(arg), "="); ok && calledImage(name) {
				f.maybe(arg, value, "argument "+name)
			}
		}
	}
	for _, v := range items(get(container, "env")) {
		if name, value := word(get(v, "name")), get(v, "value"); calledImage(name) && value != nil {
			f.maybe(value, word(value), "variable "+name)
		}
	}
}

// calledImage reports whether the name of a field, an argument or a variable says that it is an image.
func calledImage(name string) bool { return strings.Contains(strings.ToLower(name), "image") }

// maybe takes text, which stands at n in what is called what, if guesses are wanted. What does not look like a reference
// with a path is none: a pull policy, the name of a secret, true.
func (f *finder) maybe(n *yaml.Node, text, what string) {
	ref, err := oci.ParseReference(text)
	if err != nil || !strings.Contains(text, "/") {
		return
	}
	if f.guess {
		f.takeText(n, text)
		return
	}
	f.note(n, "%s may be an image: %s (take such ones with --guess)", what, ref)
}

// called goes through n for fields that are called image, in what the caller calls what.
func (f *finder) called(n *yaml.Node, what string, depth int) {
	if n == nil || !f.enter(n, depth) {
		return
	}
	for _, item := range items(n) {
		f.called(item, what, depth+1)
	}
	pairs(n, func(key, value *yaml.Node) {
		switch {
		case value == nil:
		case value.Kind == yaml.ScalarNode && calledImage(key.Value):
			f.maybe(value, value.Value, what+": field "+key.Value)
		case value.Kind == yaml.MappingNode && calledImage(key.Value) && get(value, "repository") != nil:
			f.maybe(get(value, "repository"), composed(value), what+": field "+key.Value)
		default:
			f.called(value, what, depth+1)
		}
	})
}

// composed returns the reference of an image that is told in parts, as values of Helm charts do it.
func composed(n *yaml.Node) string {
	ref := word(get(n, "repository"))
	if registry := word(get(n, "registry")); registry != "" {
		ref = registry + "/" + ref
	}
	if tag := word(get(n, "tag")); tag != "" {
		ref += ":" + tag
	}
	for _, key := range []string{"digest", "sha"} {
		if digest := word(get(n, key)); digest != "" {
			if !strings.Contains(digest, ":") {
				digest = "sha256:" + digest
			}
			return ref + "@" + digest
		}
	}
	return ref
}
