package registry

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// pattern is the left side of a rule: a regular expression over all of `host/path:tag`, or up to three globs.
type pattern struct {
	text   string
	groups int // captures

	whole *regexp.Regexp // over host/path:tag, or nil:

	withHost   bool // the repository's pattern begins with a host
	repository *regexp.Regexp
	tag        *regexp.Regexp // nil fits any, and images without one
	digest     *regexp.Regexp // nil fits any, and images without one
}

// match returns what the pattern captures in the name of ref. Path is the name of ref at this step, without a tag; it
// is what patterns without a host are held against, and the capture $0.
func (p *pattern) match(ref oci.Reference, path string) (groups []string, ok bool) {
	full := strings.ToLower(ref.Host) + "/" + ref.Path
	groups = []string{path}
	if p.whole != nil {
		if ref.Tag != "" {
			full += ":" + ref.Tag
		}
		return capture(groups, p.whole, full)
	}
	if p.withHost {
		path = full
	}
	groups, ok = capture(groups, p.repository, path)
	if ok && p.tag != nil {
		groups, ok = capture(groups, p.tag, ref.Tag)
		ok = ok && ref.Tag != ""
	}
	if ok && p.digest != nil {
		groups, ok = capture(groups, p.digest, ref.Digest.String())
		ok = ok && ref.Digest != ""
	}
	return groups, ok
}

func capture(groups []string, re *regexp.Regexp, s string) ([]string, bool) {
	found := re.FindStringSubmatch(s)
	if found == nil {
		return nil, false
	}
	return append(groups, found[1:]...), true
}

func parsePattern(s string) (*pattern, error) {
	if expr, ok := strings.CutPrefix(s, "~"); ok {
		return parseRegexp(s, expr)
	}
	p := &pattern{text: s}
	rest, dgst, pinned := strings.Cut(s, "@")
	name, tag, tagged := cutTag(rest)
	first, path, _ := strings.Cut(name, "/")
	p.withHost = path != "" && (strings.ContainsAny(first, ".:") || first == "localhost")
	if p.withHost {
		first = strings.ToLower(first)
		name = first + "/" + path
	}
	if first == dockerHub && !strings.ContainsAny(path, "/*") {
		return nil, fmt.Errorf("fits no name, the full one is %s/library/%s", dockerHub, path)
	}
	if slices.Contains(strings.Split(name, "/"), "") {
		return nil, errors.New("empty segment")
	}
	var err error
	if p.repository, err = p.glob(name, repositoryLetters(p.withHost)); err == nil && tagged {
		p.tag, err = p.glob(tag, letters+upperLetters+"._-")
	}
	if err == nil && pinned {
		p.digest, err = p.glob(dgst, letters+":")
	}
	return p, err
}

func parseRegexp(text, expr string) (*pattern, error) {
	if _, err := regexp.Compile(expr); err != nil { // on its own, for `a)(b` is whole inside of the group below
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return &pattern{text: text, groups: re.NumSubexp(), whole: re}, nil
}

const (
	letters      = "abcdefghijklmnopqrstuvwxyz0123456789"
	upperLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func repositoryLetters(withHost bool) string {
	if withHost {
		return letters + "._-/:[]"
	}
	return letters + "._-/"
}

// glob compiles s, in which `*` is any number of characters but slashes, and `**` of any. Each is a capture.
func (p *pattern) glob(s, allowed string) (*regexp.Regexp, error) {
	if s == "" {
		return nil, errors.New("empty part")
	}
	var expr strings.Builder
	for rest := s; rest != ""; {
		stars := len(rest) - len(strings.TrimLeft(rest, "*"))
		switch stars {
		case 0:
			end := strings.IndexByte(rest+"*", '*')
			if bad := strings.Trim(rest[:end], allowed); bad != "" {
				return nil, fmt.Errorf("character %.1q fits no name here (~ begins a regular expression)", bad)
			}
			expr.WriteString(regexp.QuoteMeta(rest[:end]))
			rest = rest[end:]
			continue
		case 1:
			expr.WriteString(`([^/]*)`)
		case 2:
			expr.WriteString(`(.*)`)
		default:
			return nil, errors.New("more than two stars in a row")
		}
		p.groups++
		rest = rest[stars:]
	}
	return regexp.Compile(`\A` + expr.String() + `\z`)
}

// template is a name on the right side of a rule, with marks for what the pattern captured.
type template string

// mark is a capture in a template: $0 to $9, or ${N}.
var mark = regexp.MustCompile(`\$(?:[0-9]|\{[0-9]{1,3}\})`)

// parseTemplate reads a name for a pattern with this many captures besides $0.
func parseTemplate(s string, groups int) (template, error) {
	for _, m := range mark.FindAllString(s, -1) {
		if markNumber(m) > groups {
			return "", fmt.Errorf("%s: the pattern has %d captures", m, groups)
		}
	}
	if strings.Contains(s, "@") {
		return "", errors.New("a name has no digest")
	}
	// What is wrong for the simplest captures is wrong for all.
	path, tag, tagged := cutTag(mark.ReplaceAllString(s, "x"))
	if tagged && tag == "" {
		return "", errors.New("empty tag after the colon")
	}
	if _, err := oci.ParseReference(oci.Reference{
		Repository: oci.Repository{Host: "host.example", Path: path}, Tag: tag,
	}.String()); err != nil {
		return "", reason(err)
	}
	return template(s), nil
}

// expand puts in the captures; groups[0] is $0.
func (t template) expand(groups []string) string {
	return mark.ReplaceAllStringFunc(string(t), func(m string) string { return groups[markNumber(m)] })
}

func markNumber(m string) int {
	n, err := strconv.Atoi(strings.Trim(m, "${}"))
	if err != nil {
		panic(err) // mark has digits
	}
	return n
}
