package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Quota is what a registry says of the requests that it takes in a time, as Docker Hub does: there each GET of a manifest
// counts, and neither HEAD nor blobs do.
type Quota struct {
	Limit   int           // requests in a window; 0 when it was not said
	Left    int           // of them; -1 when it was not said
	Window  time.Duration // 0 when it was not said
	Counted int           // requests of this client that the registry counts
}

// String returns what is left, such as `37 of 100 left in 6h`; nothing where that is not known.
func (q Quota) String() string {
	if q.Left < 0 {
		return ""
	}
	s := fmt.Sprintf("%d left", q.Left)
	if q.Limit > 0 {
		s = fmt.Sprintf("%d of %d left", q.Left, q.Limit)
	}
	switch {
	case q.Window <= 0:
	case q.Window%time.Hour == 0:
		s += fmt.Sprintf(" in %dh", q.Window/time.Hour)
	case q.Window%time.Minute == 0:
		s += fmt.Sprintf(" in %dm", q.Window/time.Minute)
	default:
		s += fmt.Sprintf(" in %v", q.Window)
	}
	return s
}

// QuotaError comes back when a quota of a registry is used up, and from then on, without another request, for all that
// counts against it, see [Options.WaitQuota].
type QuotaError struct {
	Host string // as in Error
	Quota
	RetryAfter time.Duration // as the registry says; 0 when it does not
	Err        *Error        // its answer
}

func (e *QuotaError) Error() string {
	s := e.Host + ": the quota is used up"
	if e.Left >= 0 {
		s += fmt.Sprintf(" (%v)", e.Quota)
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(", and opens in %v", e.RetryAfter.Round(time.Second))
	}
	if e.Err.Message != "" {
		s += ": " + e.Err.Message
	}
	return s
}

func (e *QuotaError) Unwrap() error { return e.Err }

const (
	headerQuotaLimit = "Ratelimit-Limit"
	headerQuotaLeft  = "Ratelimit-Remaining"
	// quotaPoll is how long it is, at the most, until it is looked whether a quota has opened. Docker Hub does not say when
	// that will be: each of its pulls is forgotten when it is as old as the window.
	quotaPoll = 10 * time.Minute
)

// quotaState is what a gate knows of the quota of its host.
type quotaState struct {
	Quota
	told   int           // how often the host has said something
	spent  *QuotaError   // nothing that counts is sent while it is there
	until  time.Time     // and no longer
	opened chan struct{} // closed when the one who looks has found the quota open; nil when nobody looks
	opens  int           // how often that was so
}

// Quotas returns what is known of the quotas of the registries, by the names that references have for them: of those that
// have spoken of one, and of Docker Hub, once it was asked for a manifest.
func (c *Client) Quotas() map[string]Quota {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]Quota{}
	for name, h := range c.hosts {
		if g := c.gates[h.addr]; g != nil {
			if q, ok := g.quotaNow(); ok || h.addr == apiAddr("docker.io") && q.Counted > 0 {
				all[name] = q
			}
		}
	}
	return all
}

// quotaNow returns the quota, and whether the host has spoken of one.
func (g *gate) quotaNow() (Quota, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.quota.Quota
	if g.quota.told == 0 {
		q.Left = -1
	}
	return q, g.quota.told > 0
}

// isCounted reports whether a request counts against a quota for pulls.
func isCounted(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/manifests/")
}

// count notes what an answer says of the quota, to a request that was sent when the host had said something so often.
// Answers to requests that were under way together come in any order, and the lowest number is right.
func (g *gate) count(req *http.Request, resp *http.Response, before int) {
	limit, window, _ := parseQuota(resp.Header.Get(headerQuotaLimit))
	left, w, ok := parseQuota(resp.Header.Get(headerQuotaLeft))
	g.mu.Lock()
	defer g.mu.Unlock()
	q := &g.quota
	if isCounted(req) && resp.StatusCode == http.StatusOK {
		q.Counted++
	}
	if !ok {
		return
	}
	if q.told > before {
		left = min(left, q.Left)
	}
	q.told++
	q.Limit, q.Left, q.Window = limit, left, max(window, w)
}

// parseQuota reads `100;w=21600`: a number, and seconds.
func parseQuota(s string) (n int, window time.Duration, ok bool) {
	number, rest, _ := strings.Cut(s, ";")
	v, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
	if err != nil {
		return 0, 0, false
	}
	if text, found := strings.CutPrefix(strings.TrimSpace(rest), "w="); found {
		if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
			window = time.Duration(seconds) * time.Second
		}
	}
	return int(v), window, true
}

// isQuota reports whether resp says that a quota for hours is used up, as Docker Hub does, or asks for a pause that nobody
// waits for, and not that requests come too fast. It leaves the body whole.
func isQuota(resp *http.Response, now time.Time) bool {
	if resp.StatusCode != http.StatusTooManyRequests {
		return false
	}
	wait, told := retryAfter(resp, now)
	left, _, counts := parseQuota(resp.Header.Get(headerQuotaLeft))
	if told && wait > maxWait || !told && counts && left == 0 {
		return true
	}
	head, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	text := strings.ToLower(string(head))
	return strings.Contains(text, "toomanyrequests") && strings.Contains(text, "you have reached your")
}

// spend notes that resp, which it reads, says that the quota is used up. It was asked for when the quota had been found
// open so often.
func (g *gate) spend(resp *http.Response, opens int, now time.Time) *QuotaError {
	e := &QuotaError{Host: g.addr}
	if wait, ok := retryAfter(resp, now); ok {
		e.RetryAfter = wait
	}
	errors.As(statusError(resp), &e.Err)
	e.Quota, _ = g.quotaNow()
	g.mu.Lock()
	defer g.mu.Unlock()
	if opens == g.quota.opens {
		g.quota.spent, g.quota.until = e, now.Add(e.closed())
	}
	return e
}

// closed returns how long it makes no sense to ask for what counts.
func (e *QuotaError) closed() time.Duration {
	if e.RetryAfter > 0 {
		return e.RetryAfter
	}
	return max(e.Window, quotaPoll)
}

// refuse returns an error for a request that would only be counted once more, else how often the quota has opened and the
// host has spoken of it.
func (g *gate) refuse(req *http.Request, now time.Time) (opens, told int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if isCounted(req) && g.quota.spent != nil && now.Before(g.quota.until) {
		return 0, 0, g.quota.spent
	}
	return g.quota.opens, g.quota.told, nil
}

// sendWaiting is sendTo that waits for a quota, where that is wanted.
func (c *Client) sendWaiting(ctx context.Context, h *host, k call) (*http.Response, error) {
	for {
		resp, err := c.sendTo(ctx, h, k)
		var quota *QuotaError
		if !c.opts.WaitQuota || !errors.As(err, &quota) {
			return resp, err
		}
		if err := c.awaitQuota(ctx, h, k, quota); err != nil {
			return nil, err
		}
	}
}

// awaitQuota waits until a quota has opened again, for the sake of k. One of those who wait looks, by HEAD, which does not
// count, and with a token that is new where the old one has run out meanwhile.
func (c *Client) awaitQuota(ctx context.Context, h *host, k call, e *QuotaError) error {
	g := c.gate(e.Host)
	opened, looks := g.closeQuota()
	switch {
	case opened == nil:
		return nil
	case !looks:
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer g.openQuota()
	for n := 1; ; n++ {
		wait := quotaPoll
		if e.Window > 0 {
			wait = min(wait, e.Window)
		}
		if e.RetryAfter > 0 {
			wait = e.RetryAfter
		}
		c.stats.waited(g.addr, wait)
		c.event(Event{Kind: EventWaiting, Host: g.addr, Attempt: n, Wait: wait, Why: e})
		if err := c.clock.sleep(ctx, wait); err != nil {
			return err
		}
		k.method, k.body = http.MethodHead, nil
		open, err := c.isQuotaOpen(ctx, h, k)
		if open || err != nil {
			return err
		}
	}
}

// isQuotaOpen reports whether the host takes k again, as far as its answer tells. What else is wrong with k, the request
// itself will tell.
func (c *Client) isQuotaOpen(ctx context.Context, h *host, k call) (bool, error) {
	resp, err := c.sendTo(ctx, h, k)
	var status *Error
	if errors.As(err, &status) {
		return status.Status != http.StatusTooManyRequests, nil
	}
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	left, _, told := parseQuota(resp.Header.Get(headerQuotaLeft))
	return !told || left > 0, nil
}

// closeQuota returns a channel that is closed when the quota has opened, and whether it is the caller who has to find
// that out. The channel is nil when it has opened meanwhile.
func (g *gate) closeQuota() (opened <-chan struct{}, looks bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quota.spent == nil {
		return nil, false
	}
	looks = g.quota.opened == nil
	if looks {
		g.quota.opened = make(chan struct{})
	}
	return g.quota.opened, looks
}

// openQuota lets those go on who wait.
func (g *gate) openQuota() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.quota.opened)
	g.quota.opens++
	g.quota.opened, g.quota.spent = nil, nil
}
