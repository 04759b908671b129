package oci

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

const (
	maxNameLength = 255 // host and path together, as Docker counts them
	maxTagLength  = 128

	dockerHub = "docker.io"
)

// Reference names an image: a repository with a tag, a digest, or both. Where there are both, the digest says which
// content is meant and the tag is the name that it goes by. References can be compared with ==.
type Reference struct {
	Repository
	Tag    string        // may be empty when Digest is not
	Digest digest.Digest // empty, or sha256 or sha512
}

// ParseReference reads a reference as `docker pull` takes it, by the grammar of distribution/reference, and completes
// Docker's shorthand: `nginx` is docker.io/library/nginx:latest. The first component is a host when it has a dot, a
// colon or an upper case letter, or is `localhost`. The tag `latest` is added only where there is neither tag nor
// digest. index.docker.io and registry-1.docker.io are docker.io.
//
// Host and path together have at most 255 bytes, a tag 128.
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("reference %.100q: %w", MaskUser(s), err)
	}
	return r, nil
}

// MaskUser returns a text that should be the name of an image or of a registry, and may have a user and a password in
// front of a host, without these, for a message. What follows the @ of a digest has neither a dot nor a slash.
func MaskUser(s string) string {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '@' && strings.ContainsAny(s[i+1:], "./") {
			return "***" + s[i:]
		}
	}
	return s
}

// String returns the canonical full form, which [ParseReference] reads back as the same reference.
func (r Reference) String() string {
	var b strings.Builder
	b.WriteString(r.Repository.String())
	if r.Tag != "" {
		b.WriteString(":" + r.Tag)
	}
	if r.Digest != "" {
		b.WriteString("@" + r.Digest.String())
	}
	return b.String()
}

// Name returns the name of the image: the canonical repository:tag, or repository@digest when there is no tag.
func (r Reference) Name() string {
	if r.Tag != "" {
		r.Digest = ""
	}
	return r.String()
}

// parseReference is ParseReference with errors that do not repeat s.
func parseReference(s string) (Reference, error) {
	if err := checkText(s); err != nil {
		return Reference{}, err
	}
	var r Reference
	rest, dgst, pinned := strings.Cut(s, "@")
	if pinned {
		r.Digest = digest.Digest(dgst)
		if err := checkDigest(r.Digest); err != nil {
			return Reference{}, err
		}
	}
	name, tag, tagged := cutTag(rest)
	if tagged {
		if err := checkTag(tag); err != nil {
			return Reference{}, err
		}
		r.Tag = tag
	}
	if !tagged && !pinned {
		r.Tag = "latest"
	}
	var err error
	r.Repository, err = parseRepository(name)
	return r, err
}

// checkText finds what people really paste that is no reference, so that the message is about that and not about the
// first character which the grammar refuses.
func checkText(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return errors.New("white space inside")
	}
	if MaskUser(s) != s {
		return errors.New("a user and a password do not belong in a reference")
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("a reference is no URL, leave out %q", scheme+"://")
	}
	return nil
}

// cutTag splits at the colon before the tag: the last one, unless a slash follows, for then it stands before a port.
func cutTag(s string) (name, tag string, ok bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || colon < strings.LastIndexAny(s, "/]") {
		return s, "", false
	}
	return s[:colon], s[colon+1:], true
}

func checkTag(tag string) error {
	if tag == "" {
		return errors.New("empty tag after the colon")
	}
	if len(tag) > maxTagLength {
		return fmt.Errorf("tag of %d characters, at most %d are allowed", len(tag), maxTagLength)
	}
	for i, c := range tag {
		if !isWord(c) && (i == 0 || c != '.' && c != '-') {
			return fmt.Errorf("tag %q: character %q is not allowed there", tag, c)
		}
	}
	return nil
}

// checkDigest takes digests that can be proved here: sha256 and sha512, in lower case hex.
func checkDigest(d digest.Digest) error {
	algorithm, hex, ok := strings.Cut(string(d), ":")
	if !ok {
		return fmt.Errorf("digest %.100q is not of the form sha256:<hex>", string(d))
	}
	if algorithm != string(digest.SHA256) && algorithm != string(digest.SHA512) {
		return fmt.Errorf("digest %.100q: the algorithm is not sha256 or sha512", string(d))
	}
	if want := digest.Algorithm(algorithm).Size() * 2; len(hex) != want {
		return fmt.Errorf("digest %.150q: %d hex digits, want %d", string(d), len(hex), want)
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.150q: not lower case hex", string(d))
	}
	return nil
}

func parseRepository(name string) (Repository, error) {
	r := splitHost(name)
	if err := checkHost(r.Host); err != nil {
		return Repository{}, err
	}
	if err := checkPath(r.Path); err != nil {
		return Repository{}, err
	}
	switch strings.ToLower(r.Host) {
	case dockerHub, "index.docker.io", "registry-1.docker.io":
		r.Host = dockerHub
		if !strings.Contains(r.Path, "/") {
			r.Path = "library/" + r.Path
		}
	}
	if n := len(r.String()); n > maxNameLength {
		return Repository{}, fmt.Errorf("name of %d characters, at most %d are allowed", n, maxNameLength)
	}
	return r, nil
}

func splitHost(name string) Repository {
	first, path, ok := strings.Cut(name, "/")
	isHost := strings.ContainsAny(first, ".:[") || first == "localhost" || strings.ToLower(first) != first
	if ok && isHost {
		return Repository{Host: first, Path: path}
	}
	return Repository{Host: dockerHub, Path: name}
}

func checkHost(host string) error {
	name, port, hasPort := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		address, rest, ok := strings.Cut(host[1:], "]")
		if !ok || !isIPv6(address) {
			return fmt.Errorf("host %.100q: not an IPv6 address in brackets", host)
		}
		if name, port, hasPort = strings.Cut(rest, ":"); name != "" {
			return fmt.Errorf("host %.100q: %q after the address is not a port", host, rest)
		}
	} else if err := checkHostName(name); err != nil {
		return fmt.Errorf("host %.100q: %w", host, err)
	}
	if hasPort && (port == "" || strings.Trim(port, "0123456789") != "") {
		return fmt.Errorf("host %.100q: %q is not a port", host, port)
	}
	return nil
}

func checkHostName(name string) error {
	for label := range strings.SplitSeq(name, ".") {
		if !isHostLabel(label) {
			return fmt.Errorf("%q is no part of a host name", label)
		}
	}
	return nil
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && strings.Trim(s, "0123456789abcdefABCDEF:") == ""
}

func isHostLabel(s string) bool {
	for _, c := range s {
		if c != '-' && !isLetterOrDigit(c) {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("no repository in it")
	}
	for component := range strings.SplitSeq(path, "/") {
		if err := checkComponent(component); err != nil {
			return fmt.Errorf("repository %.255q: %w", path, err)
		}
	}
	if isImageID(path) {
		return fmt.Errorf("repository %q is an image ID, and only Docker's own store knows those", path)
	}
	return nil
}

// checkComponent checks one part of a path: lower case letters and digits, between them `.`, `_`, `__` or any number
// of `-`.
func checkComponent(s string) error {
	if s == "" {
		return errors.New("empty part, slashes only stand between two names")
	}
	separator := 0 // where the run of separators that ends here began
	for i := 0; i <= len(s); i++ {
		if i < len(s) && isSeparator(s[i]) {
			continue
		}
		if run := s[separator:i]; run != "" {
			if separator == 0 || i == len(s) {
				return fmt.Errorf("%q begins or ends with %q", s, run)
			}
			if run != "." && run != "_" && run != "__" && strings.Trim(run, "-") != "" {
				return fmt.Errorf("%q between letters", run)
			}
		}
		separator = i + 1
		if i < len(s) && !isLowerOrDigit(s[i]) {
			return badCharacter(s, s[i:])
		}
	}
	return nil
}

func badCharacter(component, rest string) error {
	c, _ := utf8.DecodeRuneInString(rest)
	if unicode.IsUpper(c) {
		return fmt.Errorf("upper case %q in %q, repositories are lower case", c, component)
	}
	return fmt.Errorf("character %q is not allowed", c)
}

// isImageID reports whether path looks like the ID of an image, which Docker refuses as a name too.
func isImageID(path string) bool {
	return len(path) == 64 && strings.Trim(path, "0123456789abcdef") == ""
}

func isSeparator(c byte) bool    { return c == '.' || c == '_' || c == '-' }
func isLowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
func isLetterOrDigit(c rune) bool {
	return c < 0x80 && (isLowerOrDigit(byte(c)) || 'A' <= c && c <= 'Z')
}
func isWord(c rune) bool { return c == '_' || isLetterOrDigit(c) }
