// Package page is what people see who open a server of images in a browser: which images it has, with a search, their
// platforms and sizes, and the commands that pull them. [New] makes the page of some [Data].
//
// It is one document without any outside resource, and all of it works without JavaScript. A script of its own adds
// buttons that copy; nothing else may run or be loaded, by the Content-Security-Policy that goes with it. Whatever comes
// from a bundle is taken for hostile: it is shown as text, and never becomes markup, a link or a command that a shell
// would understand in another way.
package page

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Data is what the page tells of. It is not changed once the page was made.
type Data struct {
	Shelves []Shelf
	Images  []Image // in any order; one that is on several shelves is shown once

	// Damage returns what was found to be damaged up to now. It is called for each request, by several at once. Nil
	// means that nothing is looked at.
	Damage func() []Damage
	// Login says that the server asks for a user and a password.
	Login bool
	// OwnCA says that clients must be told of the authority of the server's certificate.
	OwnCA bool
}

// Shelf is a place where images come from: a bundle, a store or a layout.
type Shelf struct {
	Name      string
	ContentID string   // of a bundle
	Size      int64    // of the bundle's file or files, in bytes; 0 is not shown
	Notes     []string // what else is to be said of it, such as that its head is hurt
	Missing   []string // images that were asked for when it was packed and are not there, with the reason
}

// Image is an image that can be pulled.
type Image struct {
	Ref       oci.Reference // its name at its source
	Root      oci.Descriptor
	Platforms []string // as os/arch/variant
	Size      int64    // of all of its blobs, in bytes
	Shelf     int      // its place in Data.Shelves
}

// Damage is content that cannot be given.
type Damage struct {
	Text   string   // what is wrong, and where
	Images []string // the names of the images that need it, as [oci.Reference.Name] gives them
}

// Page is an http.Handler, for the path `/`.
type Page struct {
	data   Data
	images func() []entry // sorted by repository and name
}

// entry is an image, made ready to be looked for and shown.
type entry struct {
	Image
	repository string
	name       string   // with tag or digest
	pull       string   // the name that the server gives it, without the server's host
	shelves    []string // the names of those that have it
	text       string   // what search looks at, in lower case
}

// New makes a page. What it costs to prepare the data, some hundred bytes and microseconds for each image, is left to the
// first request.
func New(d Data) *Page {
	p := &Page{data: d}
	p.images = sync.OnceValue(p.entries)
	return p
}

// entries returns the images, each once.
func (p *Page) entries() []entry {
	type key struct {
		name string
		root digest.Digest
	}
	var list []entry
	known := map[key]int{} // to the place in the list
	means := newMeanings(p.data.Images)
	for _, img := range p.data.Images {
		k := key{img.Ref.Name(), img.Root.Digest}
		i, ok := known[k]
		if !ok {
			i = len(list)
			known[k] = i
			list = append(list, entry{Image: img, repository: img.Ref.Repository.String(), name: k.name, pull: pullName(img, means)})
		}
		list[i].shelves = append(list[i].shelves, p.shelfName(img))
	}
	for i := range list {
		e := &list[i]
		e.text = strings.ToLower(strings.Join(slices.Concat([]string{e.name, e.Root.Digest.String()}, e.Platforms, e.shelves), "\n"))
	}
	slices.SortStableFunc(list, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.repository, b.repository), strings.Compare(a.name, b.name))
	})
	return list
}

// shelfName returns the name of the shelf of an image.
func (p *Page) shelfName(img Image) string {
	if img.Shelf < 0 || img.Shelf >= len(p.data.Shelves) {
		return ""
	}
	return p.data.Shelves[img.Shelf].Name
}

// policy allows what stands in the document itself and nothing else. (The icon is an empty one, so that browsers do not
// ask for another.)
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; form-action 'self'; "+
	"base-uri 'none'; frame-ancestors 'none'", sourceHash(style), sourceHash(script))

// ServeHTTP answers GET and HEAD. The query has `q`, what is looked for, and `page`, from 1; what it has of nonsense is
// taken for nothing looked for and for the first page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this server is read-only", http.StatusMethodNotAllowed)
		return
	}
	var b bytes.Buffer
	if err := document.Execute(&b, p.view(r)); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", fmt.Sprint(b.Len()))
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	if r.Method == http.MethodGet {
		_, _ = w.Write(b.Bytes()) // the client's own loss
	}
}
