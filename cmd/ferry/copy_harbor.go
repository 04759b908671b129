package main

import (
	"context"
	"strings"

	"github.com/ferry-oci/ferry/registry/harbor"
)

// visibilities remembers which projects of sources that are Harbors are public.
type visibilities struct {
	clients  map[string]*harbor.Client // by host; nil is no Harbor
	projects map[string]bool           // by host/project
}

// wasPublic reports whether everybody can pull the image from its source, as far as that is a Harbor and tells.
func (c *copying) wasPublic(ctx context.Context, img *deliverable) bool {
	host := img.ref.Host
	project, _, _ := strings.Cut(img.ref.Path, "/")
	v := &c.visible
	if v.clients == nil {
		v.clients, v.projects = map[string]*harbor.Client{}, map[string]bool{}
	}
	client, asked := v.clients[host]
	if !asked {
		client, _ = harbor.Find(ctx, c.from.Client, host) // what cannot be asked is not public
		v.clients[host] = client
	}
	if client == nil {
		return false
	}
	public, asked := v.projects[host+"/"+project]
	if !asked {
		p, err := client.Project(ctx, project)
		public = err == nil && p.Public()
		v.projects[host+"/"+project] = public
	}
	return public
}
