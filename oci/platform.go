package oci

import (
	"fmt"
	"strings"
)

// ParsePlatform reads os/arch[/variant], as in linux/amd64 and linux/arm64/v8. Other names of the same thing are
// normalised as containerd does it: x86_64 to amd64, aarch64 to arm64, armhf to arm/v7, armel to arm/v6, macos to darwin.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 2 && len(parts) != 3 {
		return Platform{}, fmt.Errorf("platform %.100q: want os/arch[/variant], such as linux/arm64", s)
	}
	for _, part := range parts {
		if part == "" || cleanPlatform(part) != part {
			return Platform{}, fmt.Errorf("platform %.100q: %q is not allowed in it", s, part)
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	p = normalisePlatform(p)
	if !isKnown(&p) {
		return Platform{}, fmt.Errorf("platform %q is that of no image", s)
	}
	return p, nil
}

// FormatPlatform returns os/arch[/variant]; what is empty reads `unknown`. Characters that have no place in a platform
// become `_`, so that what a manifest says can be printed. Versions and features are not shown.
func FormatPlatform(p Platform) string {
	s := orUnknown(p.OS) + "/" + orUnknown(p.Architecture)
	if p.Variant != "" {
		s += "/" + cleanPlatform(p.Variant)
	}
	return s
}

// MatchPlatform reports whether an image for have is one of those that want asks for.
//
// A want without a variant asks for every variant: linux/arm takes v5 to v7. One with a variant asks for that alone.
// An image without a variant has the usual one of its architecture, as containerd sees it: arm64 is v8, arm is v7,
// amd64 is v1. Versions and features of the operating system are not looked at: windows/amd64 takes every Windows.
func MatchPlatform(want, have Platform) bool {
	want, have = normalisePlatform(want), normalisePlatform(have)
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	return want.Variant == "" || want.Variant == usualVariant(have)
}

func matchAny(wants []Platform, have Platform) bool {
	for _, want := range wants {
		if MatchPlatform(want, have) {
			return true
		}
	}
	return false
}

// isKnown tells a platform that says where an image runs from none, and from the unknown/unknown of attestations.
func isKnown(p *Platform) bool {
	return p != nil && p.OS != "" && p.Architecture != "" && (p.OS != "unknown" || p.Architecture != "unknown")
}

func normalisePlatform(p Platform) Platform {
	p.OS = strings.ToLower(p.OS)
	p.Architecture = strings.ToLower(p.Architecture)
	p.Variant = strings.ToLower(p.Variant)
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	isArm := p.Architecture == "arm" || p.Architecture == "arm64"
	if isArm && p.Variant != "" && strings.Trim(p.Variant, "0123456789") == "" {
		p.Variant = "v" + p.Variant
	}
	return p
}

// usualVariant returns the variant of p, or the one that is meant where a platform gives none.
func usualVariant(p Platform) string {
	if p.Variant != "" {
		return p.Variant
	}
	switch p.Architecture {
	case "arm64":
		return "v8"
	case "arm":
		return "v7"
	case "amd64":
		return "v1"
	}
	return ""
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return cleanPlatform(s)
}

func cleanPlatform(s string) string {
	return strings.Map(func(c rune) rune {
		if isWord(c) || c == '.' || c == '-' {
			return c
		}
		return '_'
	}, s)
}
