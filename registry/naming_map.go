package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ferry-oci/ferry/oci"
)

// Limits of a file of rules.
const (
	maxMapFile  = 1 << 20 // bytes
	maxMapLine  = 4096    // bytes
	maxMapRules = 10_000
	maxMapNames = 16 // names on one line
)

// Rule gives images whose name fits a pattern other names. See NAMING.md for the form.
type Rule struct {
	where   string // file:line
	pattern *pattern
	names   []template
}

// ParseMap reads the rules in r, one a line, in the order in which they are tried; file is its name for messages. All
// bad lines are reported, each as `file:line: what is wrong`. At most 1 MiB is read, 4 KiB a line, 10,000 rules, 16
// names a rule.
func ParseMap(file string, r io.Reader) ([]Rule, error) {
	text, err := readMap(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var rules []Rule
	var errs []error
	lines := map[string]int{} // by pattern
	number := 0
	for line := range strings.Lines(text) {
		number++
		rule, err := parseRule(line)
		if err == nil && rule.pattern == nil {
			continue
		}
		if err == nil && lines[rule.pattern.text] != 0 {
			err = fmt.Errorf("the pattern of line %d again, which is tried first", lines[rule.pattern.text])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, number, err))
			continue
		}
		if len(rules) == maxMapRules {
			return nil, fmt.Errorf("%s:%d: more than %d rules", file, number, maxMapRules)
		}
		lines[rule.pattern.text] = number
		rule.where = fmt.Sprintf("%s:%d", file, number)
		rules = append(rules, rule)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rules, nil
}

// readMap returns the text in r without a byte order mark.
func readMap(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxMapFile+1))
	switch {
	case err != nil:
		return "", err
	case len(raw) > maxMapFile:
		return "", fmt.Errorf("larger than %d bytes", maxMapFile)
	case !utf8.Valid(raw), bytes.IndexByte(raw, 0) >= 0:
		return "", errors.New("not a text file in UTF-8")
	}
	return strings.TrimPrefix(string(raw), "\uFEFF"), nil
}

// parseRule reads `PATTERN => NAME...`. The rule of a line with nothing but a comment has no pattern.
func parseRule(line string) (Rule, error) {
	if len(line) > maxMapLine {
		return Rule{}, fmt.Errorf("longer than %d bytes", maxMapLine)
	}
	words := strings.Fields(line)
	if i := slices.IndexFunc(words, func(s string) bool { return s[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		return Rule{}, nil
	}
	if len(words) < 3 || words[1] != "=>" {
		return Rule{}, errors.New("want PATTERN => NAME, or several names")
	}
	if len(words) > 2+maxMapNames {
		return Rule{}, fmt.Errorf("more than %d names", maxMapNames)
	}
	p, err := parsePattern(words[0])
	if err != nil {
		return Rule{}, fmt.Errorf("pattern %s: %w", words[0], err)
	}
	rule := Rule{pattern: p}
	for _, word := range words[2:] {
		name, err := parseTemplate(word, p.groups)
		if err != nil {
			return Rule{}, fmt.Errorf("name %s: %w", word, err)
		}
		rule.names = append(rule.names, name)
	}
	return rule, nil
}

// mapName returns what the first rule that fits makes of the name t of the image ref, and t itself without one.
func mapName(rules []Rule, ref oci.Reference, t TargetName) ([]TargetName, error) {
	for _, rule := range rules {
		groups, ok := rule.pattern.match(ref, t.Repository.Path)
		if ok {
			return rule.apply(ref, t, groups)
		}
	}
	return []TargetName{t}, nil
}

func (r Rule) apply(ref oci.Reference, t TargetName, groups []string) ([]TargetName, error) {
	var names []TargetName
	var errs []error
	for _, template := range r.names {
		name := TargetName{Repository: t.Repository, Tag: t.Tag, Renamed: slices.Clone(t.Renamed)}
		path, tag, tagged := cutTag(template.expand(groups))
		name.Repository.Path = path
		if tagged {
			name.Tag = tag
		}
		if path != t.Repository.Path || name.Tag != t.Tag {
			name.rename("map " + r.where)
		}
		if tagged && tag == "" { // which would read as an image without a tag from here on
			errs = append(errs, &NameError{Source: ref, Target: name, Err: errors.New("empty tag after the colon")})
			continue
		}
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}

// cutTag splits at the last colon, if no slash follows.
func cutTag(s string) (name, tag string, tagged bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.Contains(s[colon:], "/") {
		return s, "", false
	}
	return s[:colon], s[colon+1:], true
}
