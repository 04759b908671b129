// Package link is a line that is slow: a TCP proxy on loopback that lets so many bytes a second pass in each direction,
// each a while later than it came.
//
// [Start] gives the address to connect to in place of the target's. All connections share the rate, as they share a
// line; a new one waits for a round trip before its first byte, as its handshake would.
package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a line is like. The zero value is as fast as loopback.
type Options struct {
	Delay time.Duration // in each direction; a round trip takes twice as long
	Rate  int64         // bytes a second in each direction; 0 is no limit
}

// piece is how much is read at once, in bytes. It is small, so that connections which share the rate take turns.
const piece = 16 << 10

// Link is a line that carries.
type Link struct {
	opts     Options
	target   string
	listener net.Listener
	up, down *direction
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// direction is one of both: the rate is its own.
type direction struct {
	bucket bucket
	passed atomic.Int64
}

// Start starts a line to target, host:port. It ends with Close, not with ctx.
func Start(ctx context.Context, target string, opts Options) (*Link, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{opts: opts, target: target, listener: listener, up: newDirection(opts), down: newDirection(opts)}
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.running.Go(l.accept)
	return l, nil
}

func newDirection(opts Options) *direction {
	return &direction{bucket: bucket{rate: opts.Rate}}
}

// Host returns the host and port of the near end.
func (l *Link) Host() string { return l.listener.Addr().String() }

// Passed returns the bytes that went to the target and came from it.
func (l *Link) Passed() (up, down int64) { return l.up.passed.Load(), l.down.passed.Load() }

// Close cuts the line with all its connections.
func (l *Link) Close() error {
	l.stop()
	err := l.listener.Close()
	l.running.Wait()
	return err
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		l.running.Go(func() { l.carry(near) })
	}
}

// carry connects the near end of a connection with the target until both sides have ended.
func (l *Link) carry(near net.Conn) {
	defer near.Close()
	if !l.wait(time.Now().Add(2 * l.opts.Delay)) {
		return
	}
	far, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	release := context.AfterFunc(l.ctx, func() { near.Close(); far.Close() })
	defer release()
	var both sync.WaitGroup
	both.Go(func() { l.pipe(far, near, l.up) })
	both.Go(func() { l.pipe(near, far, l.down) })
	both.Wait()
}

// parcel is on its way.
type parcel struct {
	content []byte
	arrives time.Time
}

// pipe carries one direction of a connection. What is on its way waits in a queue that holds what a line of this rate
// and delay holds, and as much again, as in the buffers of a router.
func (l *Link) pipe(to, from net.Conn, d *direction) {
	queue := make(chan parcel, l.opts.held()/piece+2)
	var sender sync.WaitGroup
	sender.Go(func() { l.deliver(to, from, queue) })
	for {
		content := make([]byte, piece)
		n, err := from.Read(content)
		if n > 0 {
			gone := d.bucket.take(time.Now(), n)
			d.passed.Add(int64(n))
			if !l.wait(gone) {
				break
			}
			queue <- parcel{content[:n], gone.Add(l.opts.Delay)}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	sender.Wait()
}

// deliver writes each parcel when its time has come, and passes on the end. When nobody takes them, it makes the other
// side stop sending.
func (l *Link) deliver(to, from net.Conn, queue <-chan parcel) {
	var failed error
	for p := range queue {
		if failed != nil {
			continue
		}
		if !l.wait(p.arrives) {
			failed = l.ctx.Err()
		} else if _, failed = to.Write(p.content); failed != nil {
			from.Close()
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok && failed == nil {
		_ = half.CloseWrite()
	}
}

// held returns how many bytes are on their way at once.
func (o Options) held() int64 { return max(piece, 4*int64(o.Delay.Seconds()*float64(o.Rate))) }

// wait waits until t; false means that the line was cut.
func (l *Link) wait(t time.Time) bool {
	pause := time.Until(t)
	if pause <= 0 {
		return l.ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-l.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bucket shares out a rate: who takes bytes is told when the last of them has left.
type bucket struct {
	rate int64 // bytes a second; 0 is no limit
	mu   sync.Mutex
	free time.Time // when all that was taken has left
}

// burst is how far the bucket lags behind its rate and still makes up for it: timers are late by about as much.
const burst = 20 * time.Millisecond

// take takes n bytes at the time now.
func (b *bucket) take(now time.Time, n int) (gone time.Time) {
	if b.rate == 0 {
		return now
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if earliest := now.Add(-burst); b.free.Before(earliest) {
		b.free = earliest
	}
	b.free = b.free.Add(time.Duration(int64(n) * int64(time.Second) / b.rate))
	return b.free
}
