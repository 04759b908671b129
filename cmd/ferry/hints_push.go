package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// pushRefusal is a way in which registries refuse what is pushed, and what can be done about it.
type pushRefusal struct {
	is   func(*registry.Error) bool
	hint func([]*registry.Error) string // of those errors of a run that are of this kind
	// login says that the same answer comes to those who have not logged in.
	login bool
}

// pushRefusals are tried in their order; the first that fits an error is its own.
var pushRefusals = []pushRefusal{
	{is: says(`immutable`), hint: sure("--existing keep leaves such tags as they are; --map can give an image another tag")},
	{is: says(`exceed the configured upper limit|quota has been exceeded`), hint: sure("the quota there is used up: have it raised " +
		"(on a Harbor: Administration > Project Quotas), or free space and collect garbage; what was pushed stays, " +
		"and the same command goes on from it")},
	{is: says(missingProject.String()), hint: func(errs []*registry.Error) string {
		return "projects that a Harbor lacks are made by --create-projects, or in its web pages: " +
			strings.Join(found(missingProject, errs), ", ")
	}},
	{is: says(`in read only mode`), hint: sure("an administrator has set the Harbor to read only, and ends that under " +
		"Configuration > System Settings; the same command goes on then")},
	{is: says(`to a proxy project`), hint: sure("the project is a cache of another registry; choose another one")},
	{is: isCreateProject, hint: sure("to make projects takes an administrator, or a robot of the system with the right to create them; " +
		"such a one can make them for you, too")},
	{is: says(`(invalid|missing) URL on layer`), hint: sure("layers that are to be had elsewhere, as those of Windows, are taken by CNCF " +
		"distribution only from hosts that its validation.manifests.urls.allow names; --rewrite-foreign-layers makes ordinary " +
		"ones of them, which gives the image another digest")},
	{is: isUnknownName, hint: createRepositories},
	{is: isHost("docker.io"), login: true, hint: sure("the first part of a name on Docker Hub is a user or an organization, " +
		"which has to be there, and in which this user may push")},
	{is: isHost(namespaceHosts...), login: true, hint: sure("the first part of a name there is a namespace, which has to be made in the " +
		"console first, or has to make repositories by itself")},
	{is: says(`action: push`), login: true, hint: func(errs []*registry.Error) string {
		return "the user may not push to " + strings.Join(repositories(errs), ", ") +
			": it takes the role of a developer in the project, or a robot with the right to push repositories"
	}},
}

// missingProject finds the project that a Harbor says it does not have.
var missingProject = regexp.MustCompile(`\bproject (\S+) not found`)

// namespaceHosts are cloud registries where a namespace has to be made before it can be pushed to.
var namespaceHosts = []string{"aliyuncs.com", "tencentyun.com", "tencentcloudcr.com", "myhuaweicloud.com", "ucloud.cn", "volces.com"}

func says(pattern string) func(*registry.Error) bool {
	re := regexp.MustCompile(`(?i)` + pattern)
	return func(e *registry.Error) bool { return re.MatchString(e.Message) }
}

func sure(text string) func([]*registry.Error) string {
	return func([]*registry.Error) string { return text }
}

// found returns what the first group of re finds in the messages, each once.
func found(re *regexp.Regexp, errs []*registry.Error) []string {
	var all []string
	for _, e := range errs {
		if m := re.FindStringSubmatch(e.Message); m != nil && !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

// plainName is what may stand in a command that users are told to give: a registry can redirect to any URL.
var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*$`)

// repositories returns those that the errors are about, each once.
func repositories(errs []*registry.Error) []string {
	var all []string
	for _, e := range errs {
		if repo := e.Repository(); plainName.MatchString(repo) && !slices.Contains(all, repo) {
			all = append(all, repo)
		}
	}
	return all
}

func isCreateProject(e *registry.Error) bool {
	denied := e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized
	return e.Method == http.MethodPost && denied && strings.HasSuffix(e.URL, "/api/v2.0/projects")
}

// isUnknownName reports whether a push was refused because there is no such repository, as ECR does it.
func isUnknownName(e *registry.Error) bool {
	return e.Status == http.StatusNotFound && e.Code == "NAME_UNKNOWN" && e.Method != http.MethodGet && e.Method != http.MethodHead
}

// isHost tells refusals of rights by one of the hosts, or of one below them.
func isHost(hosts ...string) func(*registry.Error) bool {
	return func(e *registry.Error) bool {
		host, _, _ := strings.Cut(e.Host, ":")
		denied := e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Code == "DENIED"
		return denied && slices.ContainsFunc(hosts, func(h string) bool { return host == h || strings.HasSuffix(host, "."+h) })
	}
}

// ecrHost is a host of Amazon's private registries, with its region.
var ecrHost = regexp.MustCompile(`\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.`)

// createRepositories says how to make the repositories that are missing.
func createRepositories(errs []*registry.Error) string {
	names, e := repositories(errs), errs[0]
	region := ecrHost.FindStringSubmatch(e.Host)
	command := ""
	switch {
	case len(names) == 0:
		return "the registry takes no repository that is not there"
	case e.Host == "public.ecr.aws":
		for i, name := range names { // behind the alias of the registry
			_, names[i], _ = strings.Cut(name, "/")
		}
		command = "aws ecr-public create-repository --region us-east-1"
	case region != nil:
		command = "aws ecr create-repository --region " + region[1]
	case says(`does not exist in the registry with id`)(e):
		command = "aws ecr create-repository"
	default:
		return "the registry takes no repository that is not there; make these first: " + strings.Join(names, ", ")
	}
	if len(names) == 1 {
		return fmt.Sprintf("ECR takes no repository that is not there: %s --repository-name %s", command, names[0])
	}
	return fmt.Sprintf(`ECR takes no repository that is not there: for r in %s; do %s --repository-name "$r"; done`,
		strings.Join(names, " "), command)
}

// withAttestations adds to err, by which a registry refused the index root, what may be the reason: quay.io takes none that
// lists attestations (kata-containers#12528), and says no more than that it is invalid.
func withAttestations(root *oci.Node, err error) error {
	var e *registry.Error
	if !errors.As(err, &e) || e.Code != "MANIFEST_INVALID" || e.Method != http.MethodPut || !root.Manifest.IsIndex() ||
		!slices.ContainsFunc(root.Images(), func(i oci.Image) bool { return i.Describes != "" }) {
		return err
	}
	return fmt.Errorf("%w; the index lists attestations of BuildKit, which not every registry takes: an image is built without "+
		"them by --provenance=false --sbom=false", err)
}

// pushHints returns what the user can do about what a target has refused, for each kind of refusal that is in err.
func pushHints(err error) []string {
	byKind := make([][]*registry.Error, len(pushRefusals))
	for _, e := range refusals(err, false) {
		for i, r := range pushRefusals {
			if r.is(e) {
				byKind[i] = append(byKind[i], e)
				break
			}
		}
	}
	var all []string
	login := false
	for i, errs := range byKind {
		if len(errs) > 0 {
			all = append(all, pushRefusals[i].hint(errs))
			login = login || pushRefusals[i].login
		}
	}
	if login {
		all = append(all, deniedHints(err, flagsOf(err))...)
	}
	return all
}

// refusals returns the answers of the target that are in err; atTarget says that err is one of the target's.
func refusals(err error, atTarget bool) []*registry.Error {
	switch e := err.(type) {
	case nil:
		return nil
	case *endError:
		return refusals(e.err, e.side == sideDest)
	case *registry.Error:
		if !atTarget {
			return nil
		}
		return []*registry.Error{e}
	case *summaryError:
		return refusals(errors.Join(append(e.all, e.err)...), atTarget)
	case interface{ Unwrap() []error }:
		var all []*registry.Error
		for _, inner := range e.Unwrap() {
			all = append(all, refusals(inner, atTarget)...)
		}
		return all
	}
	return refusals(errors.Unwrap(err), atTarget)
}
