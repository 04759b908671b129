package mention

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document takes the images of one document, whatever it is.
func (f *finder) document(n *yaml.Node) {
	switch {
	case n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case n.Kind == yaml.SequenceNode:
		for _, item := range items(n) {
			if item.Kind == yaml.ScalarNode {
				f.take(item)
			} else {
				f.mapping(item)
			}
		}
	case n.Kind == yaml.ScalarNode:
		f.take(n)
	default:
		f.mapping(n)
	}
}

// mapping takes the images of what is told in one mapping.
func (f *finder) mapping(n *yaml.Node) {
	services := get(n, "services")
	switch {
	case word(get(n, "kind")) != "" && word(get(n, "apiVersion")) != "":
		f.object(n, 0)
	case services != nil && services.Kind == yaml.MappingNode:
		f.compose(services)
	case isChart(n):
		f.chart(n)
	case isSkopeo(n):
		pairs(n, f.skopeo)
	default:
		before := len(f.found.Mentions) + len(f.found.Notes) + len(f.bad)
		f.called(n, "no kind of file that is known", 0)
		if len(f.found.Mentions)+len(f.found.Notes)+len(f.bad) == before {
			f.note(n, "no kind of file that is known; nothing in it is called image")
		}
	}
}

// isChart reports whether n is the Chart.yaml of a Helm chart.
func isChart(n *yaml.Node) bool {
	return word(get(n, "apiVersion")) != "" && word(get(n, "name")) != "" && word(get(n, "version")) != ""
}

// chart takes the images that the Chart.yaml of a chart lists for Artifact Hub.
func (f *finder) chart(n *yaml.Node) {
	var inner yaml.Node
	list := get(get(n, "annotations"), "artifacthub.io/images")
	if yaml.Unmarshal([]byte(word(list)), &inner) != nil || inner.IsZero() {
		f.note(n, "a Helm chart; to find what it runs: helm template CHART | ferry images -")
		return
	}
	for _, item := range items(resolve(&inner)) {
		if image := get(item, "image"); image != nil {
			f.takeText(list, image.Value)
		}
	}
}

// compose takes the images of the services of a compose file.
func (f *finder) compose(services *yaml.Node) {
	pairs(services, func(name, service *yaml.Node) {
		image := get(service, "image")
		switch {
		case image != nil:
			text, err := interpolate(image.Value)
			if err != nil {
				f.fail(image, image.Value, err)
				return
			}
			f.takeText(image, text)
		case get(service, "build") != nil:
			f.note(name, "service %s is built from source and names no image", name.Value)
		default:
			f.note(name, "service %s names no image", name.Value)
		}
	})
}

// variable is a variable of a compose file: $$, $NAME, ${NAME} and what may follow a name in braces.
var variable = regexp.MustCompile(`\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?+][^}]*)?\})`)

var errNoDefault = errors.New("it has no default; let compose put it in: docker compose config | ferry images -")

// interpolate puts the defaults of variables into the text of a compose file.
func interpolate(text string) (string, error) {
	var err error
	text = variable.ReplaceAllStringFunc(text, func(s string) string {
		m := variable.FindStringSubmatch(s)
		rest := strings.TrimPrefix(m[3], ":")
		switch {
		case s == "$$":
			return "$"
		case strings.HasPrefix(rest, "-"):
			return rest[1:]
		case strings.HasPrefix(rest, "+"): // what stands in for a variable that is set
			return ""
		}
		err = fmt.Errorf("variable %s: %w", m[1]+m[2], errNoDefault)
		return s
	})
	return text, err
}

// skopeoFields are the fields by which a registry of `skopeo sync --src yaml` names images.
var skopeoFields = []string{"images", "images-by-tag-regex", "images-by-semver"}

// isSkopeo reports whether n maps registries to what `skopeo sync --src yaml` is to take of them.
func isSkopeo(n *yaml.Node) bool {
	found := n.Kind == yaml.MappingNode && len(n.Content) > 0
	pairs(n, func(_, registry *yaml.Node) {
		has := false
		for _, field := range skopeoFields {
			value := get(registry, field)
			has = has || value != nil && value.Kind == yaml.MappingNode
		}
		found = found && has
	})
	return found
}

// skopeo takes the images of one registry of `skopeo sync --src yaml`.
func (f *finder) skopeo(host, registry *yaml.Node) {
	pairs(get(registry, skopeoFields[0]), func(name, tags *yaml.Node) {
		repository := host.Value + "/" + name.Value
		if len(items(tags)) == 0 {
			f.note(name, "all tags of %s are meant; to have them: ferry list %s", repository, repository)
		}
		for _, tag := range items(tags) {
			sign := ":"
			if strings.Contains(tag.Value, ":") { // a digest
				sign = "@"
			}
			f.takeText(tag, repository+sign+tag.Value)
		}
	})
	for _, field := range skopeoFields[1:] {
		pairs(get(registry, field), func(name, pattern *yaml.Node) {
			repository := host.Value + "/" + name.Value
			f.note(name, "the tags of %s that fit %q are meant; to have them: ferry list %s --tag PATTERN", repository, word(pattern), repository)
		})
	}
}
