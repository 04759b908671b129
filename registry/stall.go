package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// errStalled is the end of a transfer that stood still for too long.
var errStalled = errors.New("no data for too long")

// commitFactor is how many stall timeouts a registry may take to answer after it got the whole body of a request: it
// hashes the blob then and moves it, perhaps to another machine.
const commitFactor = 10

// watcher is a transport that cuts what stands still: an answer that does not begin, a body that does not go on, in
// either direction. It measures the network alone: neither a slow reader of an answer nor a slow source of an upload
// makes a transfer stall.
type watcher struct {
	stall time.Duration
	clock clock
	next  http.RoundTripper
}

func (w *watcher) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := w.clock.afterFunc(w.stall, func() { cancel(errStalled) })
	sent := req.WithContext(ctx)
	var up *watchedUpload
	if req.Body != nil && req.Body != http.NoBody {
		up = &watchedUpload{ReadCloser: req.Body, stall: w.stall, timer: timer}
		sent.Body = up
	}
	resp, err := w.next.RoundTrip(sent)
	if up != nil {
		up.answered.Store(true)
	}
	timer.Stop()
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, stall: w.stall, timer: timer, cancel: cancel}
	return resp, nil
}

// watchedBody is the body of an answer; the timer runs while a read waits.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context // of this request, to tell why a read failed
	stall  time.Duration
	timer  stopwatch
	cancel context.CancelCauseFunc
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// watchedUpload is the body of a request; the timer runs between two reads, while the bytes are on their way.
type watchedUpload struct {
	io.ReadCloser
	stall    time.Duration
	timer    stopwatch
	answered atomic.Bool // then the timer belongs to the answer
}

func (u *watchedUpload) Read(p []byte) (int, error) {
	if !u.answered.Load() {
		u.timer.Stop()
	}
	n, err := u.ReadCloser.Read(p)
	if !u.answered.Load() {
		if err == nil {
			u.timer.Reset(u.stall)
		} else {
			u.timer.Reset(commitFactor * u.stall)
		}
	}
	return n, err
}
