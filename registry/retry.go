package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 30 * time.Second
	toldBackoff  = 5 * time.Second // the last one where the host asks for shorter pauses
	// maxWait is the longest that one request waits because a registry says so, all its waits together.
	maxWait = 10 * time.Minute

	// A host that never answered is more likely misspelt than restarting.
	retriesUnreached = 2
	// Where another place has the same, it is asked soon.
	retriesMirror = 1
	// 500 is more often a registry that cannot than one that cannot now.
	retriesInternal = 3
)

// clock is how the client waits; tests put in their own.
type clock struct {
	now       func() time.Time
	sleep     func(context.Context, time.Duration) error
	afterFunc func(time.Duration, func()) stopwatch
	jitter    func() float64 // in [0, 1)
}

// stopwatch is what is needed of a [time.Timer].
type stopwatch interface {
	Reset(time.Duration) bool
	Stop() bool
}

func systemClock() clock {
	after := func(d time.Duration, f func()) stopwatch { return time.AfterFunc(d, f) }
	return clock{now: time.Now, sleep: sleep, afterFunc: after, jitter: rand.Float64}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// backoff returns the pause before repetition number n, 1 for the first: it doubles each time and is shortened by up
// to a half at random, so that parallel transfers do not come back all at once.
func (c clock) backoff(n int) time.Duration {
	d := lastBackoff
	if n < 8 { // no overflow
		d = min(d, firstBackoff<<(n-1))
	}
	return d - time.Duration(c.jitter()*float64(d)/2)
}

type onceKey struct{}

// sendOnce returns a context whose requests the transport does not repeat, because the caller does, or wants to know.
func sendOnce(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

type retriesKey struct{}

// withRetries returns a context whose requests are repeated n times at the most, pauses that a host asks for not counted.
func withRetries(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, retriesKey{}, n)
}

// retrier is a transport that repeats requests which can be repeated, and keeps the pauses that hosts ask for.
type retrier struct {
	c    *Client
	next http.RoundTripper
}

func (t *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	g := t.c.gate(req.URL.Host)
	limit := t.c.opts.Retries
	if n, ok := ctx.Value(retriesKey{}).(int); ok {
		limit = min(limit, n)
	}
	try := attempt{clock: t.c.clock, stats: &t.c.stats, limit: limit, once: ctx.Value(onceKey{}) != nil || !canRewind(req)}
	for {
		resp, err := t.next.RoundTrip(req)
		if err == nil {
			redact(req, resp)
		}
		wait, told, again := try.judge(ctx, g, resp, err)
		if !again {
			return resp, err
		}
		why := err
		if err == nil {
			why = statusError(resp)
		}
		if req, err = rewind(req); err != nil {
			return nil, err
		}
		kind := EventRetry
		if told {
			kind = EventWaiting
		}
		t.c.event(Event{Kind: kind, Host: req.URL.Host, Attempt: try.n, Wait: wait, Why: cleanText(why)})
		if !told && !isBusy(why) { // else the gate waits
			if err := t.c.clock.sleep(ctx, wait); err != nil {
				closeBody(req)
				return nil, err
			}
		}
	}
}

// attempt counts the repetitions of one request.
type attempt struct {
	clock  clock
	stats  *counters
	limit  int
	once   bool
	n      int           // repetitions so far
	failed int           // those of them that no one asked for
	waited time.Duration // in pauses that the host asked for
}

// judge decides whether the request is sent again and after which pause; told says that the host asked for the pause,
// and that its gate is shut.
func (a *attempt) judge(ctx context.Context, g *gate, resp *http.Response, err error) (wait time.Duration, told, again bool) {
	if ctx.Err() != nil {
		return 0, false, false
	}
	limit := a.limit
	if err != nil {
		switch {
		case isPermanent(err), isUnknownHost(err) && !g.wasAnswered():
			return 0, false, false
		case isDial(err) && !g.wasAnswered():
			limit = min(limit, retriesUnreached)
		}
	} else {
		switch resp.StatusCode {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if wait, ok := retryAfter(resp, a.clock.now()); ok {
				return a.told(g, wait)
			}
		case http.StatusInternalServerError:
			limit = min(limit, retriesInternal)
		case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
		default:
			return 0, false, false
		}
	}
	wait = a.clock.backoff(a.failed + 1)
	if err == nil && tooMuch(resp.StatusCode) { // for all of them, whoever is to repeat this one
		g.shut(a.clock.now(), wait)
	}
	if a.once || a.failed >= limit {
		return 0, false, false
	}
	a.n++
	a.failed++
	return wait, false, true
}

// tooMuch reports whether status says that the host has too much to do.
func tooMuch(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// isBusy reports whether err is such an answer.
func isBusy(err error) bool {
	var status *Error
	return errors.As(err, &status) && tooMuch(status.Status)
}

// told shuts the gate for the pause that a host asked for. Such pauses are not counted but added up: where many
// transfers share a host that lets one in at a time, the last one is sent away often.
func (a *attempt) told(g *gate, wait time.Duration) (time.Duration, bool, bool) {
	wait = max(wait, min(toldBackoff, a.clock.backoff(a.n+1))) // a host that says `at once` is not believed each time
	if a.waited+wait > maxWait {
		return 0, false, false
	}
	a.stats.waited(g.addr, g.shut(a.clock.now(), wait))
	if a.once || a.limit == 0 {
		return 0, false, false
	}
	a.n++
	a.waited += wait
	return wait, true, true
}

// retryAfter reads the pause that resp asks for: seconds, or a date, which gives zero when it is past. The date is by the
// clock of the server, where that is known.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(text); err == nil {
		if sent, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			now = sent
		}
		return max(0, date.Sub(now)), true
	}
	return 0, false
}

// isPermanent reports whether a transport's error would come again: the two sides do not agree on TLS, or a quota
// is used up.
func isPermanent(err error) bool {
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var refused *ProxyError
	var op *net.OpError
	var quota *QuotaError
	if errors.As(err, &refused) {
		return refused.Status/100 == 4 // such as 407; 5xx is that of the host behind it
	}
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &quota) ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") // TLS alerts
}

// isDial reports whether err came before there was a connection, to the host or to the proxy before it.
func isDial(err error) bool {
	var op *net.OpError
	var refused *ProxyError
	return errors.As(err, &refused) || errors.As(err, &op) && slices.Contains([]string{"dial", "proxyconnect", "socks connect"}, op.Op)
}

// isUnknownHost reports whether err says that there is no host of that name.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func canRewind(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// rewind returns req with its body at the start again.
func rewind(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := *req
	again.Body = body
	return &again, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
