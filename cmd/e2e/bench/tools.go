//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/cmd/e2e/ferrycli"
	"github.com/ferry-oci/ferry/cmd/e2e/goprograms"
)

// tool is a program that is measured. Its scripts run in an empty folder with these variables and files:
//
//	$SRC   host:port of the registry with the images      $DST  host:port/prefix of the empty one
//	$REFS  file with a line "repository:tag alias" an image; an alias has neither slash nor colon
//	$LIST  file with the full references                  $IN   the archive that the tool saved
//
// save leaves the archive as $OUT, on the disk; copy moves the images from $SRC to $DST. A script that is empty means
// that the tool cannot do it.
type tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Gate    bool   `json:"gate"`           // belongs to the comparison of the goals
	Note    string `json:"note,omitempty"` // how it is run
	module  string // package to install, with version; empty when it has to be on PATH
	archive string // name of the archive
	save    string
	load    string
	copy    string
	// lastOnly says that copy keeps only the last segment of a repository's path.
	lastOnly bool
}

// ferryTool is the one all others are compared with.
func ferryTool() tool {
	return tool{
		Name: "ferry", archive: "k8s.tar.zst",
		save: `ferry pack -q -f "$LIST" -o "$OUT"`,
		load: `ferry unpack -q "$IN" "$DST"`,
		copy: `ferry copy -q -f "$LIST" "$DST"`,
	}
}

// pack and unpack of other tools' layouts: no compression, the layers are gzip already. ferry syncs what it writes to
// the disk, so the others' archives are synced as well.
const (
	tarLayout   = "\ntar -cf \"$OUT\" -C layout .\nsync \"$OUT\""
	untarLayout = "mkdir layout\ntar -xf \"$IN\" -C layout\n"
)

// atATime is a script that runs a command for each line of $REFS, which it has as $0 and $1, four at a time.
func atATime(command string) string { return `xargs -a "$REFS" -P 4 -L 1 sh -c '` + command + `'` }

// peers are the tools that ferry is compared with, each as its documentation would have it for a list of images of all
// platforms and one file. Tools that write into a layout do not lock it, so they save one image after the other; where
// one of them reads a layout, or copies from registry to registry, four processes do so at a time, which is faster than
// one for each of them.
func peers() []tool {
	return []tool{
		{
			Name: "crane", module: goprograms.Crane, Gate: true, archive: "images.tar",
			Note: "pull --format oci of all images at once, tar; pushes no layout of many images; cp, four at a time",
			save: `crane pull --insecure --format oci --annotate-ref $(cat "$LIST") layout` + tarLayout,
			copy: atATime(`crane copy --insecure "$SRC/$0" "$DST/$0" 2>/dev/null`),
		},
		{
			Name: "oras", module: goprograms.Oras, Gate: true, archive: "images.tar",
			Note: "copy --to-oci-layout image by image, tar; untar, copy --from-oci-layout, four at a time; cp, four at a time",
			save: `while read -r ref alias; do
	oras copy --no-tty --from-plain-http --to-oci-layout "$SRC/$ref" "layout:$alias" >/dev/null
done <"$REFS"` + tarLayout,
			load: untarLayout + atATime(`oras copy --no-tty --from-oci-layout "layout:$1" --to-plain-http "$DST/$0" >/dev/null`),
			copy: atATime(`oras copy --no-tty --from-plain-http "$SRC/$0" --to-plain-http "$DST/$0" >/dev/null`),
		},
		{
			Name: "regctl", module: goprograms.Regctl, Gate: true, archive: "images.tar",
			Note: "image copy to ocidir image by image, tar; untar, image copy, four at a time; image copy, four at a time",
			save: `while read -r ref alias; do
	regctl --host "reg=$SRC,tls=disabled" image copy "$SRC/$ref" "ocidir://layout:$alias"
done <"$REFS"` + tarLayout,
			load: untarLayout + atATime(`regctl --host "reg=${DST%%/*},tls=disabled" image copy "ocidir://layout:$1" "$DST/$0"`),
			copy: atATime(`regctl --host "reg=$SRC,tls=disabled" --host "reg=${DST%%/*},tls=disabled" \
	image copy "$SRC/$0" "$DST/$0"`),
		},
		{
			Name: "skopeo", Gate: true, archive: "images.tar",
			Note: "copy --all to oci: image by image, tar; untar, copy --all, four at a time; sync --all of a list",
			save: `while read -r ref alias; do
	skopeo copy -q --all --src-tls-verify=false "docker://$SRC/$ref" "oci:layout:$alias"
done <"$REFS"` + tarLayout,
			load: untarLayout + atATime(`skopeo copy -q --all --dest-tls-verify=false "oci:layout:$1" "docker://$DST/$0"`),
			copy: `{
	printf '%s:\n  tls-verify: false\n  images:\n' "$SRC"
	sed 's|^\(.*\):\([^:]*\) .*|    \1: [\2]|' "$REFS"
} >sync.yaml
skopeo sync --all --src yaml --dest docker --dest-tls-verify=false sync.yaml "$DST" >/dev/null 2>&1`,
			lastOnly: true,
		},
		{
			Name: "imgpkg", archive: "images.tar",
			Note: "copy --to-tar image by image, so what images share is saved again; loses names and tags",
			save: `while read -r ref alias; do
	imgpkg copy --registry-insecure -i "$SRC/$ref" --to-tar "$alias.tar" >/dev/null
done <"$REFS"
tar -cf "$OUT" --remove-files *.tar
sync "$OUT"`,
		},
		{
			Name: "hauler", archive: "haul.tar.zst",
			Note: "store add image, store save; store load, store copy",
			save: `while read -r ref alias; do
	hauler store add image "$SRC/$ref" >/dev/null
done <"$REFS"
hauler store save --filename "$OUT" >/dev/null
sync "$OUT"`,
			load: `hauler store load --filename "$IN" >/dev/null
hauler store copy --plain-http "registry://$DST" >/dev/null`,
		},
	}
}

// install finds or installs the tools, and returns those that there are.
func install(ctx context.Context, dir string, names []string) ([]tool, error) {
	ferry := ferryTool()
	if _, err := ferrycli.Build(ctx, dir); err != nil {
		return nil, err
	}
	ferry.Version = version(ctx, filepath.Join(dir, "ferry"), "version")
	tools := []tool{ferry}
	for _, t := range peers() {
		if len(names) > 0 && !slices.Contains(names, t.Name) {
			continue
		}
		if err := t.install(ctx, dir); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if t.Gate {
				progress("without %s: %v", t.Name, err)
			}
			continue
		}
		tools = append(tools, t)
	}
	return tools, nil
}

// errNotThere comes back for a tool that is not on PATH and cannot be installed.
var errNotThere = errors.New("not on PATH")

// install installs a tool of a fixed version, or looks for it on PATH, and asks for its version.
func (t *tool) install(ctx context.Context, dir string) error {
	if t.module == "" {
		program, err := exec.LookPath(t.Name)
		if err != nil {
			return errNotThere
		}
		flag := "--version"
		if t.Name == "hauler" || t.Name == "imgpkg" {
			flag = "version"
		}
		t.Version = version(ctx, program, flag)
		return nil
	}
	_, t.Version, _ = strings.Cut(t.module, "@")
	stamp := filepath.Join(dir, t.Name+"-"+t.Version)
	if _, err := os.Stat(stamp); err == nil {
		return nil
	}
	progress("installing %s", t.module)
	if err := goprograms.Install(ctx, dir, t.module); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// version returns the first line that a program prints about itself.
func version(ctx context.Context, program, flag string) string {
	out, err := exec.CommandContext(ctx, program, flag).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line = strings.TrimPrefix(strings.TrimSpace(line), filepath.Base(program)+" ")
	return strings.TrimPrefix(line, "version ")
}
