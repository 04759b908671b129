package mention_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/mention"
)

// at returns mentions as "line reference".
func at(f *mention.Found) []string {
	var all []string
	for _, m := range f.Mentions {
		all = append(all, fmt.Sprintf("%d %s", m.Line, m.Reference))
	}
	return all
}

func notes(f *mention.Found) string {
	var all []string
	for _, n := range f.Notes {
		all = append(all, n.String())
	}
	return strings.Join(all, "\n")
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		guess bool
		want  []string
		notes []string // each is a part of the notes; none: there must be no note
	}{
		"list": {
			file: "# kubespray\n\nquay.io/calico/node:v3.28.1\nlocalhost:5000/pause:3.9 # here\r\n",
			want: []string{"3 quay.io/calico/node:v3.28.1", "4 localhost:5000/pause:3.9"},
		},
		"empty": {file: "# nothing\n"},
		"list of YAML": {
			file: "- nginx\n- quay.io/a/b:1\n",
			want: []string{"1 docker.io/library/nginx:latest", "2 quay.io/a/b:1"},
		},
		"what helm template prints": {
			file: `---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
      - name: init
        image: "busybox:1.36"
      containers:
      - image: nginx:1.27@sha256:` + strings.Repeat("a", 64) + `
      volumes:
      - name: model
        image: {reference: quay.io/models/llm:v1, pullPolicy: IfNotPresent}
      - name: config
        configMap: {name: web}
---
# Source: web/templates/empty.yaml
---
apiVersion: v1
kind: ConfigMap
data:
  image: not/an-image
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: "k8s.gcr.io/cron:1"}]}}}}}
`,
			want: []string{
				"10 docker.io/library/busybox:1.36", "12 docker.io/library/nginx:1.27@sha256:" + strings.Repeat("a", 64),
				"15 quay.io/models/llm:v1", "28 k8s.gcr.io/cron:1",
			},
		},
		"list of objects, JSON": {
			file: `{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "a/b:1"}], "ephemeralContainers": [{"image": "a/debug"}]}},
 {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"template": {"spec": {"containers": [{"image": "a/c:2"}]}}}}]}`,
			want: []string{"2 docker.io/a/b:1", "2 docker.io/a/debug:latest", "3 docker.io/a/c:2"},
		},
		"custom resource": {
			file:  "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec:\n  image: quay.io/prometheus/prometheus:v3\n  imagePullPolicy: Always\n",
			notes: []string{"f:4: kind Prometheus: field image may be an image: quay.io/prometheus/prometheus:v3 (take such ones with --guess)"},
		},
		"custom resource, guessed": {
			file: "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec:\n  image: quay.io/prometheus/prometheus:v3\n" +
				"  thanos: {thanosImage: {registry: quay.io, repository: thanos/thanos, tag: v0.36}}\n",
			guess: true,
			want:  []string{"4 quay.io/prometheus/prometheus:v3", "5 quay.io/thanos/thanos:v0.36"},
		},
		"kind of another group": {
			file:  "apiVersion: batch.volcano.sh/v1\nkind: Job\nspec: {tasks: [{template: {spec: {containers: [{image: a/train:1}]}}}]}\n",
			guess: true,
			want:  []string{"3 docker.io/a/train:1"},
		},
		"arguments and variables": {
			file: `{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "a/operator",
"args": ["--image-pull-policy=Always", "--solver-image=quay.io/jetstack/solver:v1", "--verbose"],
"env": [{"name": "RELATED_IMAGE_X", "value": "quay.io/x/y:2"}, {"name": "HOME", "value": "/root"}]}]}}`,
			want: []string{"1 docker.io/a/operator:latest"},
			notes: []string{
				"f:2: argument --solver-image may be an image: quay.io/jetstack/solver:v1",
				"f:3: variable RELATED_IMAGE_X may be an image: quay.io/x/y:2",
			},
		},
		"compose": {
			file: `x-base: &base
  image: redis:${REDIS_VERSION:-7.4}
services:
  cache:
    <<: *base
  web: {image: "ghcr.io/a/web:1", build: .}
  job:
    build: ./job
`,
			want:  []string{"2 docker.io/library/redis:7.4", "6 ghcr.io/a/web:1"},
			notes: []string{"f:7: service job is built from source"},
		},
		"skopeo sync": {
			file: `registry.k8s.io:
  tls-verify: true
  images:
    pause: ["3.9", "sha256:` + strings.Repeat("b", 64) + `"]
    coredns/coredns: []
  images-by-semver:
    kube-proxy: ">= 1.30"
quay.io:
  images: {calico/node: [v3.28.1]}
`,
			want: []string{
				"4 registry.k8s.io/pause:3.9", "4 registry.k8s.io/pause@sha256:" + strings.Repeat("b", 64), "9 quay.io/calico/node:v3.28.1",
			},
			notes: []string{"f:5: all tags of registry.k8s.io/coredns/coredns", `f:7: the tags of registry.k8s.io/kube-proxy that fit ">= 1.30"`},
		},
		"chart that lists its images": {
			file: "apiVersion: v2\nname: web\nversion: 1.0.0\nannotations:\n  artifacthub.io/images: |\n    - name: web\n      image: quay.io/a/web:1\n",
			want: []string{"5 quay.io/a/web:1"},
		},
		"chart": {
			file:  "apiVersion: v2\nname: web\nversion: 1.0.0\n",
			notes: []string{"f:1: a Helm chart; to find what it runs: helm template CHART"},
		},
		"values of a chart": {
			file:  "image:\n  repository: a/web\n  tag: 1.2\n",
			notes: []string{"f:2: no kind of file that is known: field image may be an image: docker.io/a/web:1.2"},
		},
		"something else": {
			file:  "a: b\n",
			notes: []string{"f:1: no kind of file that is known; nothing in it is called image"},
		},
		"a container without image": {
			file:  "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: ''}]}\n",
			notes: []string{"f:3: an image without a name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := mention.Find("f", strings.NewReader(c.file), mention.Options{Guess: c.guess})
			if err != nil {
				t.Fatal(err)
			}
			if got := at(found); !slices.Equal(got, c.want) {
				t.Errorf("found %q\nwant %q", got, c.want)
			}
			if len(found.Notes) != len(c.notes) {
				t.Errorf("%d notes, want %d: %s", len(found.Notes), len(c.notes), notes(found))
			}
			for _, want := range c.notes {
				if !strings.Contains(notes(found), want) {
					t.Errorf("notes %q\nlack %q", notes(found), want)
				}
			}
		})
	}
}

func TestFindErrors(t *testing.T) {
	pod := func(image string) string {
		return "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: " + image + "\n"
	}
	for name, c := range map[string]struct {
		file  string
		want  []string // parts of the error
		lines int      // how many *oci.LineError it joins
	}{
		"two bad references": {pod("NGINX:1") + "---\n" + pod("nginx:a b"), []string{`f:5: "NGINX:1"`, `f:11: "nginx:a b"`}, 2},
		"template":           {pod("'{{ .Values.image }}'"), []string{"f:5: ", "helm template CHART | ferry images -"}, 1},
		"template, no YAML":  {"kind: Pod\n{{- if .Values.on }}\n", []string{"f: ", "helm template CHART | ferry images -"}, 0},
		"no YAML":            {"kind: [Pod\n", []string{"f: not YAML: "}, 0},
		"bad list":           {"nginx\nNGINX:1\n", []string{`f:2: "NGINX:1"`}, 1},
		"compose variable":   {"services: {a: {image: 'redis:${V}'}}\n", []string{"variable V: it has no default", "docker compose config"}, 1},
		"deep": {
			"apiVersion: v1\nkind: PodList\nitems: [" + strings.Repeat("{apiVersion: v1, kind: PodList, items: [", 300) + strings.Repeat("]}", 300) + "]\n",
			[]string{"nested deeper than 200"},
			1,
		},
		"aliases that repeat": {
			bomb(), []string{"its aliases repeat too much"}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mention.Find("f", strings.NewReader(c.file), mention.Options{Guess: true})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if got := countLines(err); got != c.lines {
				t.Errorf("%d errors of lines, want %d: %v", got, c.lines, err)
			}
		})
	}
}

// bomb returns a file of which the aliases stand for 10^9 nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return b.String()
}

func countLines(err error) int {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return 0
	}
	n := 0
	for _, e := range joined.Unwrap() {
		var line *oci.LineError
		if errors.As(e, &line) {
			n++
		}
	}
	return n
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"nginx\n", "services: {a: {image: b}}", "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}", bomb(), "a: &a [*a]", "<<: 1", "quay.io: {images: {a: [b]}}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := mention.Find("f", strings.NewReader(string(raw)), mention.Options{Guess: true})
		if err == nil && found == nil {
			t.Fatal("neither an error nor a result")
		}
	})
}
