package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// The conformance suite of the distribution specification, as far as it goes for a registry that takes nothing: pull and
// content discovery of an image that has a tag, a signature and an SBOM. Ranges it only tries on what it has pushed.
func TestServeConformance(t *testing.T) {
	t.Parallel()
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	s := w.serve("k8s.tar.zst")
	only := *w.world
	only.images = []corpus.Image{w.signed}
	manifests, blobs := only.content()
	for _, d := range []ocispec.Descriptor{w.signature, w.sbom} {
		manifests[d.Digest] = d.Size
	}
	report := w.conformance(
		"OCI_REGISTRY="+s.host, "OCI_TLS=disabled", "OCI_VERSION=1.1", "OCI_REPO1="+w.signed.Repository,
		"OCI_API_PUSH=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_BLOBS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		"OCI_API_BLOBS_DIGEST_HEADER=true", // only recommended
		"OCI_RO_DATA_TAGS="+w.signed.Tag+" "+w.signatureTag,
		"OCI_RO_DATA_MANIFESTS="+digestList(manifests), "OCI_RO_DATA_BLOBS="+digestList(blobs),
		"OCI_RO_DATA_REFERRERS="+w.signed.Root.Digest.String()+" "+digest.FromString("of nothing").String(),
	)
	for _, api := range []string{
		"Tag listing", "Blob get", "Blob head", "Manifest get by digest", "Manifest get by tag", "Manifest head by digest",
		"Manifest head by tag", "Referrers", "Ping",
	} {
		if got := reported(report, api); got != "Pass" {
			t.Errorf("%s: %q", api, got)
		}
	}
	passed, _ := strconv.Atoi(reported(report, "Pass"))
	if failed, errs := reported(report, "FAIL"), reported(report, "Error"); failed != "0" || errs != "0" {
		t.Errorf("%s checks failed, %s had errors", failed, errs)
	}
	if want := 2 * (2 + len(manifests) + len(blobs)); passed < want {
		t.Errorf("%d checks passed, want at least %d: HEAD and GET of all that there is", passed, want)
	}
	if t.Failed() {
		t.Log(report)
	}
}

// digestList returns digests as the suite takes them.
func digestList(blobs map[digest.Digest]int64) string {
	var list []string
	for d := range blobs {
		list = append(list, d.String())
	}
	return strings.Join(list, " ")
}

// reported returns what the report says of something.
func reported(report, what string) string {
	m := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(what) + `\.*: +(\w+)$`).FindStringSubmatch(report)
	if m == nil {
		return ""
	}
	return m[1]
}

// conformance runs the suite and returns its report. Its exit code tells nothing: without pushing, it stumbles over what it
// has not tried when it has printed the report and writes it to files.
func (w *world) conformance(env ...string) string {
	w.Helper()
	program := filepath.Join(w.dir, "conformance")
	build := exec.CommandContext(w.Context(), "go", "build", "-o", program, "github.com/opencontainers/distribution-spec/conformance")
	if out, err := build.CombinedOutput(); err != nil {
		w.Fatalf("build the conformance suite: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(w.Context(), program)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), env...)
	var report, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &report, &log
	if err := cmd.Run(); !strings.Contains(report.String(), "OCI Conformance Result") {
		w.Fatalf("the conformance suite has no result: %v\n%s%s", err, report.String(), log.String())
	}
	return report.String()
}
