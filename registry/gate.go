package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// gate is what the requests to one host pass: it holds them back while the host asked for a pause, lets no more through in
// a second than [Options.RequestsPerSecond], and fewer at once after the host said that they are too many.
type gate struct {
	addr  string       // host[:port]
	moved atomic.Int64 // grows with all that comes from the host or goes there
	pacer pacer

	mu       sync.Mutex
	until    time.Time
	answered bool // the host has answered at least once
	slots
	quota quotaState
}

// slots are the requests that may be under way at once. There is no limit until the host says that they are too many; then
// half of them go on, and one more after each round of requests that went well, until they are as many as at first.
type slots struct {
	busy    int
	limit   int // 0 is any number
	ceiling int // where the limit ends
	cuts    int // how often the limit was lowered
	good    int // answers since the limit changed
	waiting []chan struct{}
}

// gate returns that of addr, host[:port].
func (c *Client) gate(addr string) *gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gates[addr]
	if g == nil {
		g = &gate{addr: addr}
		c.gates[addr] = g
	}
	return g
}

// shut keeps all requests back for the pause that begins now, and returns by how much that is longer than before.
func (g *gate) shut(now time.Time, pause time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := now.Add(pause)
	if !until.After(g.until) {
		return 0
	}
	from := g.until
	if now.After(from) {
		from = now
	}
	g.until = until
	return until.Sub(from)
}

// pass waits until the host takes requests again.
func (g *gate) pass(ctx context.Context, c clock) error {
	for {
		g.mu.Lock()
		wait := g.until.Sub(c.now())
		g.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := c.sleep(ctx, wait+time.Duration(c.jitter()*float64(firstBackoff))); err != nil {
			return err
		}
	}
}

// pace waits for the turn of a request where a host gets only so many in a second.
func (g *gate) pace(ctx context.Context, c clock, perSecond float64) error {
	if perSecond <= 0 {
		return nil
	}
	begins, _ := g.pacer.take(c.now(), time.Duration(float64(time.Second)/perSecond))
	if begins <= 0 {
		return nil
	}
	return c.sleep(ctx, begins)
}

func (g *gate) setAnswered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered = true
}

func (g *gate) wasAnswered() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answered
}

// enter waits for a slot, and returns how often the limit had been lowered by then. Where nothing at all has moved at the
// host for as long as patience, nobody is waited for: those who have the slots may be waiting for this very request, as
// the upload to one of several targets does that all get the same blob.
func (g *gate) enter(ctx context.Context, c clock, patience time.Duration) (cuts int, err error) {
	turn, cuts := g.queue()
	if turn == nil {
		return cuts, nil
	}
	moved := g.moved.Load()
	var timer stopwatch
	started := make(chan struct{})
	timer = c.afterFunc(patience, func() {
		<-started
		if now := g.moved.Load(); now != moved {
			moved = now
			timer.Reset(patience)
		} else if g.unqueue(turn) {
			g.admit(turn)
		}
	})
	close(started)
	defer timer.Stop()
	select {
	case <-turn:
	case <-ctx.Done():
		if !g.unqueue(turn) { // it came at the same moment
			g.leave()
		}
		return 0, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cuts, nil
}

// queue takes a slot, or the last place of the queue for one: then turn is closed when there is one.
func (g *gate) queue() (turn chan struct{}, cuts int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 || g.busy < g.limit {
		g.busy++
		return nil, g.cuts
	}
	turn = make(chan struct{})
	g.waiting = append(g.waiting, turn)
	return turn, 0
}

// unqueue takes turn out of the queue, and reports whether it was there.
func (g *gate) unqueue(turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, turn)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

func (g *gate) admit(turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy++
	close(turn)
}

// leave gives a slot back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	g.admitNext()
}

// admitNext gives free slots to those who wait. The caller holds g.mu.
func (g *gate) admitNext() {
	for len(g.waiting) > 0 && (g.limit == 0 || g.busy < g.limit) {
		g.busy++
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}

// fewer halves the slots because of a request that entered when the limit had been lowered so often; what was under way
// together with it says the same, and says it once. It returns the new limit, 0 when it stays.
func (g *gate) fewer(cuts int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cuts != g.cuts {
		return 0
	}
	g.cuts++
	g.good = 0
	if g.limit == 0 && g.busy > 1 {
		g.limit, g.ceiling = g.busy, g.busy
	}
	if g.limit <= 1 {
		return 0
	}
	g.limit /= 2
	return g.limit
}

// well notes an answer that is none of a host which has too much to do.
func (g *gate) well() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 {
		return
	}
	if g.good++; g.good < g.limit {
		return
	}
	g.limit, g.good = g.limit+1, 0
	if g.limit >= g.ceiling {
		g.limit = 0
	}
	g.admitNext()
}

// slotKey marks the context of requests that are made for the sake of another one of the same client, whose value it is:
// they need no slot of their own, because that one would wait for itself.
type slotKey struct{}

func nested(ctx context.Context, c *Client) context.Context {
	return context.WithValue(ctx, slotKey{}, c)
}

// doorman is a transport by which requests pass the gate of their host.
type doorman struct {
	c    *Client
	next http.RoundTripper
}

func (t *doorman) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, g := req.Context(), t.c.gate(req.URL.Host)
	opens, told, err := g.refuse(req, t.c.clock.now())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	p := &passage{c: t.c, gate: g, opens: opens, told: told}
	if err := p.begin(ctx); err != nil {
		closeBody(req)
		return nil, err
	}
	sent := *req
	if req.Body != nil && req.Body != http.NoBody {
		sent.Body = &flow{ReadCloser: req.Body, ctx: ctx, line: &t.c.line, gate: g}
	}
	resp, err := t.next.RoundTrip(&sent)
	if err != nil {
		p.end(err)
		return nil, err
	}
	if err := p.answered(req, resp); err != nil {
		p.end(nil)
		return nil, err
	}
	if resp.Body == http.NoBody {
		p.end(nil)
		return resp, nil
	}
	resp.Body = &flow{ReadCloser: resp.Body, ctx: ctx, line: &t.c.line, gate: g, over: p.end}
	return resp, nil
}

// passage is the way of one request through its gate.
type passage struct {
	c    *Client
	gate *gate

	cuts  int  // how often the slots had been made fewer when it began
	opens int  // how often a quota had been found open
	told  int  // how often the host had spoken of it
	free  bool // it has no slot
	once  sync.Once
}

func (p *passage) begin(ctx context.Context) (err error) {
	if p.free = ctx.Value(slotKey{}) == p.c; !p.free {
		if p.cuts, err = p.gate.enter(ctx, p.c.clock, p.c.opts.StallTimeout); err != nil {
			return err
		}
	}
	if err = p.gate.pass(ctx, p.c.clock); err == nil {
		err = p.gate.pace(ctx, p.c.clock, p.c.opts.RequestsPerSecond)
	}
	if err != nil {
		p.end(nil)
	}
	return err
}

// answered notes what an answer says of the host. It is a [*QuotaError] when it says that a quota is used up; resp is
// closed then.
func (p *passage) answered(req *http.Request, resp *http.Response) error {
	p.gate.setAnswered()
	p.gate.count(req, resp, p.told)
	now := p.c.clock.now()
	switch {
	case isQuota(resp, now):
		return p.gate.spend(resp, p.opens, now)
	case resp.StatusCode == http.StatusTooManyRequests:
		p.slower(errors.New(resp.Status))
	case resp.StatusCode/100 != 5:
		p.gate.well()
	}
	return nil
}

// end gives the slot back, once.
func (p *passage) end(err error) {
	p.once.Do(func() {
		if err != nil && isGoAway(err) {
			p.slower(err)
		}
		if !p.free {
			p.gate.leave()
		}
	})
}

// slower makes the requests to the host fewer.
func (p *passage) slower(why error) {
	if p.free {
		return
	}
	if n := p.gate.fewer(p.cuts); n > 0 {
		p.c.event(Event{Kind: EventFewer, Host: p.gate.addr, AtOnce: n, Why: cleanText(why)})
	}
}

// isGoAway reports whether a HTTP/2 server sent a request away because it has too many. Such errors of net/http have no
// type of their own.
func isGoAway(err error) bool {
	text := err.Error()
	return strings.Contains(text, "GOAWAY") || strings.Contains(text, "ENHANCE_YOUR_CALM") || strings.Contains(text, "REFUSED_STREAM")
}
