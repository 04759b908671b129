package page

import (
	"crypto/sha256"
	_ "embed" // the document and what is in it
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a page shows.
const (
	perPage      = 100
	maxQuery     = 200 // bytes
	maxHost      = 300 // bytes, a name of 253 and a port
	maxPlatforms = 24  // of an image
	maxLines     = 100 // of damage, notes and missing images, of each kind
)

var (
	//go:embed page.html
	markup string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// document gets style and script as finished elements: what they hold must be, byte by byte, what its hash is of.
var document = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":  func() template.HTML { return template.HTML("<style>" + style + "</style>") },
	"script": func() template.HTML { return template.HTML("<script>" + script + "</script>") },
}).Parse(markup))

// sourceHash names an inline style or script in a Content-Security-Policy.
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// view is what the document is made from.
type view struct {
	Title   string
	Shelves []shelfView
	Several string // how many shelves there are, if not one
	Hurt    bool   // something is to be said of one of them
	Damage  lines
	Advice  []string
	Query   string
	Total   string
	Found   string // of the total, where something was looked for
	Images  []imageView
	Pages   pager
}

type shelfView struct {
	Name, ContentID, Size string
	Notes, Missing        lines
	Lacks                 string // how many are missing
}

// lines are some lines of many.
type lines struct {
	Lines []string
	More  int // that are not shown
}

type imageView struct {
	Host, Path, Version string // of its name
	Digest, MediaType   string
	Size, Shelves       string
	Platforms           []string
	MorePlatforms       int
	Damaged             bool
	Commands            []command
}

// pager leads to the other pages; a link that is empty is none.
type pager struct {
	Number, Last   int
	Previous, Next string
}

func (p *Page) view(r *http.Request) view {
	query := cleanQuery(r.URL.Query().Get("q"))
	found := p.find(query)
	host, loopback := hostOf(r)
	v := view{
		Title:  p.title(),
		Query:  query,
		Total:  plural(len(p.images()), "image"),
		Advice: p.advice(host, r.TLS != nil, loopback),
		Pages:  newPager(query, r.URL.Query().Get("page"), len(found)),
	}
	if query != "" {
		v.Found = fmt.Sprintf("%d of %s", len(found), v.Total)
	}
	for _, s := range p.data.Shelves {
		v.Shelves = append(v.Shelves, shelfView{
			Name: clean(s.Name), ContentID: clean(s.ContentID), Size: formatSize(s.Size),
			Notes: firstOf(s.Notes), Missing: firstOf(s.Missing), Lacks: plural(len(s.Missing), "image"),
		})
		v.Hurt = v.Hurt || len(s.Notes) > 0
	}
	if len(v.Shelves) > 1 {
		v.Several = fmt.Sprintf("images of %d places", len(v.Shelves))
	}
	texts, damaged := p.damage()
	v.Damage = firstOf(texts)
	start := (v.Pages.Number - 1) * perPage
	for _, e := range found[start:min(start+perPage, len(found))] {
		img := p.imageView(e)
		img.Damaged = damaged[e.name]
		img.Commands = commands(host, e.pull, r.TLS != nil, loopback)
		v.Images = append(v.Images, img)
	}
	return v
}

func (p *Page) imageView(e *entry) imageView {
	version := strings.TrimPrefix(e.name, e.repository)
	v := imageView{
		Host: clean(e.Ref.Host) + "/", Path: clean(e.Ref.Path), Version: clean(version),
		Digest: clean(e.Root.Digest.String()), MediaType: clean(e.Root.MediaType), Size: formatSize(e.Size),
	}
	if len(p.data.Shelves) > 1 {
		v.Shelves = clean(strings.Join(e.shelves[:min(len(e.shelves), maxLines)], ", "))
	}
	for i, platform := range e.Platforms {
		if i == maxPlatforms {
			v.MorePlatforms = len(e.Platforms) - i
			break
		}
		v.Platforms = append(v.Platforms, clean(platform))
	}
	return v
}

// title names the shelves.
func (p *Page) title() string {
	switch n := len(p.data.Shelves); n {
	case 0:
		return "ferry"
	case 1:
		return clean(p.data.Shelves[0].Name)
	default:
		return fmt.Sprintf("%s and %d more", clean(p.data.Shelves[0].Name), n-1)
	}
}

// advice returns what has to be done before the commands work.
func (p *Page) advice(host string, tls, loopback bool) []string {
	var advice []string
	if !tls && !loopback {
		advice = append(advice, fmt.Sprintf("This server speaks plain HTTP. Docker pulls from it when its daemon.json has "+
			`"insecure-registries": ["%s"].`, host))
	}
	if tls && p.data.OwnCA {
		advice = append(advice, fmt.Sprintf("Clients must know the authority of this server's certificate: docker, podman and "+
			"skopeo look for it in /etc/docker/certs.d/%s/ca.crt, ctr takes --tlscacert FILE.", host))
	}
	if p.data.Login {
		advice = append(advice, fmt.Sprintf("This server asks for a password: docker login %s, and podman, skopeo and crane auth "+
			"alike; ctr takes --user NAME.", host))
	}
	return advice
}

// damage returns what is damaged, and the names of the images that need it.
func (p *Page) damage() (texts []string, images map[string]bool) {
	if p.data.Damage == nil {
		return nil, nil
	}
	images = map[string]bool{}
	for _, d := range p.data.Damage() {
		texts = append(texts, d.Text)
		for _, name := range d.Images {
			images[name] = true
		}
	}
	return texts, images
}

// find returns the images whose name, digest, platforms or shelf have all words of a query.
func (p *Page) find(query string) []*entry {
	words := strings.Fields(strings.ToLower(query))
	var found []*entry
	images := p.images()
	for i := range images {
		e := &images[i]
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e.text, word) }) {
			found = append(found, e)
		}
	}
	return found
}

// newPager finds the page that is asked for, which is one that there is.
func newPager(query, number string, found int) pager {
	last := max(1, (found+perPage-1)/perPage)
	n, _ := strconv.Atoi(number) // what is no number is 0
	n = min(max(n, 1), last)
	link := func(page int) string {
		if page < 1 || page > last {
			return ""
		}
		values := url.Values{"page": {strconv.Itoa(page)}}
		if query != "" {
			values.Set("q", query)
		}
		return "/?" + values.Encode()
	}
	return pager{Number: n, Last: last, Previous: link(n - 1), Next: link(n + 1)}
}

// cleanQuery returns what is looked for as it is shown again, with at most maxQuery bytes.
func cleanQuery(q string) string {
	q = strings.Join(strings.Fields(clean(q)), " ")
	for len(q) > maxQuery {
		_, size := utf8.DecodeLastRuneInString(q)
		q = q[:len(q)-size]
	}
	return q
}

// clean returns s without characters that are not seen or that change how others are: controls, and those that turn the
// direction of writing round.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c == ' ' || unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// firstOf returns the first maxLines lines.
func firstOf(all []string) lines {
	var l lines
	for _, line := range all[:min(len(all), maxLines)] {
		l.Lines = append(l.Lines, clean(line))
	}
	l.More = len(all) - len(l.Lines)
	return l
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// formatSize returns n bytes in powers of 1000, and nothing for none.
func formatSize(n int64) string {
	if n <= 0 {
		return ""
	}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	const units = "kMGTPE"
	size, unit := float64(n)/1000, 0
	for size >= 999.95 && unit < len(units)-1 { // what would be printed as 1000.0
		size /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", size, units[unit])
}
