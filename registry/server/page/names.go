package page

import (
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/registry/server"
)

// meanings has what each name stands for, as far as it matters: by one digest, or "" for several.
type meanings map[string]digest.Digest

func newMeanings(images []Image) meanings {
	m := meanings{}
	for _, img := range images {
		for _, name := range []string{shortName(img), fullName(img)} {
			if root, known := m[name]; known && root != img.Root.Digest {
				m[name] = ""
			} else {
				m[name] = img.Root.Digest
			}
		}
	}
	return m
}

// shortName returns the name of an image without the host of its source.
func shortName(img Image) string {
	return strings.TrimPrefix(img.Ref.Name(), img.Ref.Host+"/")
}

// fullName returns the name of an image with the host as a part of the path.
func fullName(img Image) string {
	return server.FullName(img.Ref.Repository) + strings.TrimPrefix(img.Ref.Name(), img.Ref.Repository.String())
}

// pullName returns the shortest name by which the server gives an image: the path with tag or digest, the same with the
// host of the source, or the path with the digest.
func pullName(img Image, m meanings) string {
	for _, name := range []string{shortName(img), fullName(img)} {
		if m[name] != "" {
			return name
		}
	}
	return img.Ref.Path + "@" + img.Root.Digest.String()
}

// What these match every shell takes for one word that means itself, but for brackets, and no program for a flag.
var (
	plainName = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9@:./_-]*$`)
	plainHost = regexp.MustCompile(`^[a-zA-Z0-9\[][a-zA-Z0-9:._\]-]*$`)
)

// command is a line to be copied.
type command struct{ Tool, Line string }

// commands returns what pulls an image from the server at host, which hostOf has seen; nothing for a name that is none.
func commands(host, pull string, tls, loopback bool) []command {
	if !plainName.MatchString(pull) {
		return nil
	}
	ref, url := host+"/"+pull, "docker://"+host+"/"+pull
	if strings.Contains(host, "[") {
		ref, url = "'"+ref+"'", "'"+url+"'"
	}
	var podman, ctr, crane, skopeo string
	if !tls {
		podman, ctr, skopeo = "--tls-verify=false ", "--plain-http ", "--src-tls-verify=false "
		if !loopback {
			crane = "--insecure "
		}
	}
	file := fileName(pull)
	return []command{
		{"docker", "docker pull " + ref},
		{"podman", "podman pull " + podman + ref},
		{"ctr", "ctr -n k8s.io images pull " + ctr + ref},
		{"crane", "crane pull " + crane + ref + " " + file + ".tar"},
		{"skopeo", "skopeo copy --all " + skopeo + url + " oci:" + file},
	}
}

// fileName returns a name for a file with the image: the last segment of its path, and the tag.
func fileName(pull string) string {
	pull, _, _ = strings.Cut(pull, "@")
	return strings.ReplaceAll(pull[strings.LastIndexByte(pull, '/')+1:], ":", "-")
}

// hostOf returns the host and port by which the client says that it reached the server, and whether it is a loopback
// address. What is no host is HOST, to be filled in.
func hostOf(r *http.Request) (host string, loopback bool) {
	if len(r.Host) > maxHost || !plainHost.MatchString(r.Host) {
		return "HOST", false
	}
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = strings.Trim(r.Host, "[]")
	}
	ip := net.ParseIP(name)
	return r.Host, strings.EqualFold(name, "localhost") || (ip != nil && ip.IsLoopback())
}
