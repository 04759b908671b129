package main

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/registry/server"
	"github.com/ferry-oci/ferry/registry/server/page"
)

// maxDamages is how many damages the page has at most.
const maxDamages = 1000

// damageLog gathers what turns out to be damaged while it is served.
type damageLog struct {
	mu   sync.Mutex
	list []page.Damage
	seen map[string]bool // the texts
}

// add takes the damage that a request has found, and reports whether it is new.
func (l *damageLog) add(r server.Request) bool {
	d := page.Damage{Text: r.Err.Error()}
	if damage := (*bundle.DamageError)(nil); errors.As(r.Err, &damage) {
		d.Images = damage.Images
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[d.Text] {
		return false
	}
	if len(l.list) == maxDamages {
		return true
	}
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	l.seen[d.Text] = true
	l.list = append(l.list, d)
	return true
}

// all returns the damages so far.
func (l *damageLog) all() []page.Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list[:len(l.list):len(l.list)]
}

// page makes the page for people; ownCA tells that the certificate was made on the spot. Paths of this machine are nothing to
// tell others.
func (s *shelves) page(damage *damageLog, login, ownCA bool) *page.Page {
	d := page.Data{Damage: damage.all, Login: login, OwnCA: ownCA}
	for i, shelf := range s.list {
		info := s.info[i]
		info.Name = filepath.Base(shelf.Name)
		d.Shelves = append(d.Shelves, info)
		for _, img := range shelf.Images {
			d.Images = append(d.Images, page.Image{Ref: img.Ref, Root: img.Root, Platforms: img.Platforms, Size: img.Size, Shelf: i})
		}
	}
	return page.New(d)
}

// bundleInfo is what the page tells of a bundle beside its images.
func bundleInfo(b *bundle.Bundle, set *bundle.Set) page.Shelf {
	info := page.Shelf{ContentID: b.ContentID(), Size: set.Size()}
	if err := set.MissingError(); err != nil {
		info.Notes = append(info.Notes, err.Error())
	}
	for _, d := range b.Damage() {
		info.Notes = append(info.Notes, "damaged: "+d.String())
	}
	for _, m := range b.Head().Missing {
		info.Missing = append(info.Missing, m.Name+": "+m.Reason)
	}
	return info
}
