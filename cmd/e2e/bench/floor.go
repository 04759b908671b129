//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The floor is what moving the bytes costs when nothing else is done: the unique blobs by curl, eight at a time in one
// process, the largest first.

// floorTools returns the floors as tools; prepareFloor writes the files that their scripts read.
func floorTools() []tool {
	return []tool{
		{
			Name: "floor: fetch", Note: "every unique blob once, by curl -Z", archive: "none",
			save: `mkdir blobs && curl -sfZ --parallel-max 8 -K "$FETCH"`,
		},
		{Name: "floor: sha256sum", Note: "of all unique blobs, on all processors", archive: "none", save: `
ls "$BLOBS"/* | xargs -P "$(nproc)" -n 8 sha256sum >/dev/null`},
		{Name: "floor: cp", Note: "all unique blobs into one file, synced", archive: "none", save: `
cat "$BLOBS"/* >one && sync one`},
		{
			Name: "floor: push", Note: "every unique blob once into one repository, by curl -Z: all POSTs, then all PUTs",
			load: `curl -sfZ --parallel-max 8 -K "$POST" >locations
paste -d '\n' locations "$PUT" | awk 'NR % 2 { location = $0; next } {
	split($0, f, " ")
	printf "url = \"%s&digest=sha256:%s\"\nupload-file = \"%s\"\noutput = \"/dev/null\"\n", location, f[1], f[2]
}' >puts
curl -sfZ --parallel-max 8 -H "Content-Type: application/octet-stream" -H "Expect:" -K puts`,
		},
		{
			Name: "floor: pipe", Note: "every unique blob once into one repository: all POSTs, then xargs -P 8 of curl | curl -T -",
			copy: `curl -sfZ --parallel-max 8 -K "$POST" >locations
grep ^url "$FETCH" | cut -d '"' -f 2 | paste -d ' ' - locations >pipes
xargs -a pipes -P 8 -L 1 sh -c 'curl -sf "$0" |
	curl -sf -T - -H "Content-Type: application/octet-stream" -H "Expect:" "$1&digest=${0##*/}"'`,
		},
	}
}

// floorFiles are inputs of the scripts of the floor.
type floorFiles struct{ blobs, fetch, put string }

// prepareFloor links the unique blobs of the set into a folder and writes what curl is to do with them.
func prepareFloor(dir string, s set, src string) (floorFiles, error) {
	f := floorFiles{
		blobs: filepath.Join(dir, "floor"), fetch: filepath.Join(dir, "floor-fetch"), put: filepath.Join(dir, "floor-put"),
	}
	if err := os.MkdirAll(f.blobs, 0o755); err != nil {
		return f, err
	}
	ids := slices.SortedFunc(maps.Keys(s.Blobs), func(a, b digest.Digest) int {
		return cmp.Or(cmp.Compare(s.Blobs[b], s.Blobs[a]), cmp.Compare(a, b))
	})
	var fetch, put strings.Builder
	for _, id := range ids {
		file := filepath.Join(f.blobs, id.Encoded())
		if err := os.Symlink(s.Layout.Path(id), file); err != nil {
			return f, err
		}
		fmt.Fprintf(&fetch, "url = \"http://%s/v2/%s/blobs/%s\"\noutput = \"blobs/%s\"\n", src, s.Homes[id], id, id.Encoded())
		fmt.Fprintf(&put, "%s %s\n", id.Encoded(), file)
	}
	if err := os.WriteFile(f.fetch, []byte(fetch.String()), 0o644); err != nil {
		return f, err
	}
	return f, os.WriteFile(f.put, []byte(put.String()), 0o644)
}

// writePosts writes what curl is to do to open an upload for each blob at the registry host, and to print its location.
func (b *bench) writePosts(host string) error {
	one := fmt.Sprintf("url = \"http://%s/v2/floor/blobs/uploads/\"\noutput = \"/dev/null\"\n", host)
	text := "request = \"POST\"\nwrite-out = \"%header{location}\\n\"\n" + strings.Repeat(one, len(b.set.Blobs))
	return os.WriteFile(filepath.Join(b.work, "floor-post"), []byte(text), 0o644)
}
