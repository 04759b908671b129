package main

import (
	"errors"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// remote is the registry client of one end of a copy.
type remote struct {
	*registry.Client
	side side
	who  *identity
}

// newRemote returns the client that the flags f and t describe. Credentials come from f, else from the files of docker and
// podman. Close the client when done.
func newRemote(f *registryFlags, t *transferFlags, std *stdio) (*remote, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	way, err := newReach(f, std)
	if err != nil {
		return nil, err
	}
	who, err := newIdentity(f, std)
	if err != nil {
		return nil, err
	}
	o := registry.Options{
		Host:      func(name string) registry.HostOptions { return way.options(name, who) },
		UserAgent: "ferry/" + ferryVersion(),
		Proxy:     way.proxy,
		Events:    func(e registry.Event) { showEvent(std, e) },
	}
	if err := t.apply(&o, std); err != nil {
		return nil, err
	}
	return &remote{Client: registry.NewClient(o), side: f.side, who: who}, nil
}

// explain adds to an error of this end what the hints need to know.
func (r *remote) explain(err error) error {
	if errors.Is(err, oci.ErrDenied) {
		err = r.who.denied(err)
	}
	return r.side.at(err)
}

// showEvent tells with -v what the client got over by itself. A pause that a registry asked for is told in any case,
// because nothing seems to move meanwhile.
func showEvent(std *stdio, e registry.Event) {
	var quota *registry.QuotaError
	switch e.Kind {
	case registry.EventWaiting:
		if errors.As(e.Why, &quota) {
			std.say("waiting, and looking again in %s: %v", formatDuration(e.Wait), quota)
			return
		}
		std.say("%s asks to wait %s: %v", e.Host, formatDuration(e.Wait), e.Why)
	case registry.EventNotListed:
		std.detail("%s: does not list what belongs to its images, so signatures that only a list tells of are left out: %v",
			e.Host, e.Why)
	case registry.EventForeign:
		std.detail("%s: a foreign layer is read from here: %v", e.Host, e.Why)
	case registry.EventAway:
		std.warn("%s cannot be reached; what belongs to its images is what its mirrors tell", e.Host)
	case registry.EventFewer:
		std.detail("%s: %s at once from now on, until it goes well: %v", e.Host, plural(e.AtOnce, "request"), e.Why)
	case registry.EventResumed:
		std.detail("%s: the transfer goes on where it was cut: %v", e.Host, e.Why)
	case registry.EventMirrorPassed:
		std.detail("%s: the mirror is passed over: %v", e.Host, e.Why)
	case registry.EventMirrorOff:
		std.warn("the mirror %s is not asked any more: %v", e.Host, e.Why)
	default:
		std.detail("%s: attempt %d in %s: %v", e.Host, e.Attempt+1, formatDuration(e.Wait), e.Why)
	}
}
