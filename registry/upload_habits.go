package registry

import "sync"

// habits are what uploads to a host have found out, so that not each blob is refused once more.
type habits struct {
	mu       sync.Mutex
	tooLarge int64 // bytes of the smallest body that it refused; 0 is none
	chunk    int64 // bytes that it took then
	apart    bool  // see push
}

// tell begins p as the host wants it, as far as that is known.
func (h *habits) tell(p *push) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.apart = h.apart
	if h.tooLarge > 0 && p.d.Size >= h.tooLarge {
		p.chunk = h.chunk
	}
}

// learn takes in what made p succeed.
func (h *habits) learn(p *push) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.apart = h.apart || p.apart
	if p.tooLarge > 0 && (h.tooLarge == 0 || p.tooLarge <= h.tooLarge) {
		h.tooLarge, h.chunk = p.tooLarge, p.chunk
	}
}
