package nodes

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// k3s writes registries.yaml, and that the old registries are not to be asked.
func (w *writer) k3s() {
	hosts, images := w.hosts()
	folder := "/etc/rancher/" + string(w.client) + "/"
	lines := []string{"mirrors:"}
	for _, host := range hosts {
		lines = append(lines, "  "+quoted(host)+":", "    endpoint:", "      - "+quoted(w.registry.url("")))
		var rules []rewrite
		if !w.registry.Serve { // which is told the registry with each request
			rules = w.rewrites(images[host])
		}
		if len(rules) > 0 {
			lines = append(lines, "    rewrite:")
		}
		for _, r := range rules {
			lines = append(lines, "      "+quoted(r.key)+": "+quoted(r.value))
		}
	}
	lines = append(lines, w.k3sConfigs(folder)...)
	w.add(string(w.client)+"/registries.yaml", folder+"registries.yaml", lines)
	w.add(string(w.client)+"/config.yaml.d/50-ferry.yaml", folder+"config.yaml.d/50-ferry.yaml", []string{
		"# The registries of registries.yaml are not asked themselves.", "disable-default-registry-endpoint: true",
	})
	w.addCA(string(w.client)+"/ferry-"+caName, folder+"ferry-"+caName)
}

// k3sConfigs returns how the new registry is spoken to. What has only comments in it has to be one as a whole.
func (w *writer) k3sConfigs(folder string) []string {
	auth := []string{"auth:", "  username: USER", "  password: PASSWORD"}
	head, indent := []string{"configs:", "  " + quoted(w.registry.Host) + ":"}, "    # "
	switch {
	case w.registry.CA != nil:
		head = append(head, "    tls:", "      ca_file: "+quoted(folder+"ferry-"+caName))
	case w.registry.SkipVerify:
		head = append(head, "    tls:", "      insecure_skip_verify: true")
	default:
		head, indent = []string{"# configs:", "#   " + quoted(w.registry.Host) + ":"}, "#     "
	}
	for _, line := range auth {
		head = append(head, indent+line)
	}
	return head
}

// rewrite is a regular expression over a repository, and what stands in its place.
type rewrite struct{ key, value string }

// rewrites returns the rules for the images of one registry, and notes those that they do not lead to.
func (w *writer) rewrites(images []Image) []rewrite {
	for _, classes := range [][]class{oneClass, twoClasses, depthClasses(images)} {
		if rules, ok := generalize(classes, images); ok && leads(rules, images) {
			return rules
		}
	}
	paths := pathOfMost(images)
	for _, img := range images {
		found := slices.Contains(img.paths(), paths[img.Source.Path])
		w.leaveUnless(found, img, "other tags of its repository are in another one there")
	}
	return exact(paths)
}

// leads reports whether the rules lead to all images, in whatever order they are tried.
func leads(rules []rewrite, images []Image) bool {
	compiled := make([]*regexp.Regexp, len(rules))
	for i, r := range rules {
		compiled[i] = regexp.MustCompile(r.key)
	}
	for _, img := range images {
		path, changes := img.Source.Path, 0
		for i, r := range rules {
			if changed := compiled[i].ReplaceAllString(img.Source.Path, r.value); changed != img.Source.Path {
				path = changed
				changes++
			}
		}
		if changes > 1 || !slices.Contains(img.paths(), path) {
			return false
		}
	}
	return true
}

// class is a set of repositories.
type class struct {
	key   string         // with as many captures as there are marks in value
	value string         // the whole path, by marks
	last  string         // key with the last segment for its only capture
	has   *regexp.Regexp // key
}

func newClass(key, value, last string) class {
	return class{key: key, value: value, last: last, has: regexp.MustCompile(key)}
}

// What is common to all repositories, or to those of one segment and to those of more.
var (
	single     = newClass(`^([^/]+)$`, "$1", `^([^/]+)$`)
	oneClass   = []class{newClass(`^(.+)$`, "$1", `^(?:.+/)?([^/]+)$`)}
	twoClasses = []class{single, newClass(`^([^/]+/.+)$`, "$1", `^.+/([^/]+)$`)}
)

// depthClasses returns a class for each number of segments that images have.
func depthClasses(images []Image) []class {
	depths := map[int]bool{}
	for _, img := range images {
		depths[1+strings.Count(img.Source.Path, "/")] = true
	}
	var classes []class
	for _, depth := range slices.Sorted(maps.Keys(depths)) {
		if depth == 1 {
			classes = append(classes, single)
			continue
		}
		marks := make([]string, depth)
		for i := range marks {
			marks[i] = fmt.Sprintf("${%d}", i+1)
		}
		key := "^" + strings.Repeat(`([^/]+)/`, depth-1) + `([^/]+)$`
		last := "^" + strings.Repeat(`[^/]+/`, depth-1) + `([^/]+)$`
		classes = append(classes, newClass(key, strings.Join(marks, "/"), last))
	}
	return classes
}

// separators are what --flatten joins segments with.
var separators = []string{"/", "-", "_", "__", ".", "--", "---"}

// generalize returns a rule for each class that holds for all of its images, if there is one for each. What a class leaves
// as it is needs none.
func generalize(classes []class, images []Image) (rules []rewrite, ok bool) {
	for _, c := range classes {
		votes, n := map[rewrite]int{}, 0
		for _, img := range images {
			if c.has.MatchString(img.Source.Path) {
				n++
				for _, r := range c.rules(img) {
					votes[r]++
				}
			}
		}
		if n == 0 {
			continue
		}
		var fit []rewrite
		for r, v := range votes {
			if v == n {
				fit = append(fit, r)
			}
		}
		if len(fit) == 0 {
			return nil, false
		}
		best := slices.MinFunc(fit, simpler)
		if best != (rewrite{c.key, c.value}) {
			rules = append(rules, best)
		}
	}
	return rules, true
}

// simpler orders rules so that the one which is easiest to read is the first.
func simpler(a, b rewrite) int {
	return cmp.Or(cmp.Compare(len(a.value), len(b.value)), cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value))
}

// rules returns the rules for the class that lead to the image.
func (c class) rules(img Image) []rewrite {
	var rules []rewrite
	segments := strings.Split(img.Source.Path, "/")
	add := func(path, tail, key, value string) {
		prefix, ok := strings.CutSuffix(path, tail)
		if r := (rewrite{key, prefix + value}); ok && (prefix == "" || strings.HasSuffix(prefix, "/")) && !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	for _, path := range img.paths() {
		for _, sep := range separators {
			if sep == "/" || strings.Contains(c.value, "/") {
				add(path, strings.Join(segments, sep), c.key, strings.ReplaceAll(c.value, "/", sep))
			}
		}
		add(path, segments[len(segments)-1], c.last, "$1")
	}
	return rules
}

// exact returns rules that name the repositories, whose new paths are given: one for all that need the prefix that most of them
// need, and one for each of the others.
func exact(paths map[string]string) []rewrite {
	votes := map[string]int{}
	for repository, path := range paths {
		if prefix, ok := strings.CutSuffix(path, "/"+repository); ok {
			votes[prefix]++
		}
	}
	common := ""
	if len(votes) > 0 {
		common = most(votes)
	}
	var together []string
	var rules []rewrite
	for _, repository := range slices.Sorted(maps.Keys(paths)) {
		key := strings.ReplaceAll(repository, ".", "[.]")
		switch path := paths[repository]; {
		case path == repository:
		case path == prefixed(common, repository):
			together = append(together, key)
		default:
			rules = append(rules, rewrite{"^" + key + "$", path})
		}
	}
	if len(together) > 0 {
		rules = slices.Insert(rules, 0, rewrite{"^(" + strings.Join(together, "|") + ")$", prefixed(common, "$1")})
	}
	return rules
}

// pathOfMost returns for each repository where most of its images are now.
func pathOfMost(images []Image) map[string]string {
	votes := map[string]map[string]int{}
	for _, img := range images {
		for _, p := range img.paths() {
			if votes[img.Source.Path] == nil {
				votes[img.Source.Path] = map[string]int{}
			}
			votes[img.Source.Path][p]++
		}
	}
	paths := map[string]string{}
	for repository, of := range votes {
		paths[repository] = most(of)
	}
	return paths
}
