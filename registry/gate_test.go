package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestSlots(t *testing.T) {
	const patience = time.Minute
	f, ctx := newFakeClock(), context.Background()
	g := &gate{}
	enter := func() int {
		t.Helper()
		cuts, err := g.enter(ctx, f.clock(), patience)
		if err != nil {
			t.Fatal(err)
		}
		return cuts
	}
	for range 8 {
		enter()
	}
	// eight that were under way together say one thing
	for i, want := range []int{4, 0, 0, 0, 0, 0, 0, 0} {
		if got := g.fewer(0); got != want {
			t.Errorf("after refusal %d: limit %d, want %d", i, got, want)
		}
		g.leave()
	}
	for range 4 {
		if cuts := enter(); cuts != 1 {
			t.Errorf("entered after %d cuts, want 1", cuts)
		}
	}
	// the fifth waits until one leaves
	entered := make(chan struct{})
	go func() { enter(); close(entered) }()
	waitFor(t, func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.waiting) == 1 })
	g.leave()
	<-entered
	// and grows by one after each round that went well, until there is no limit
	for limit := 4; limit < 8; limit++ {
		if g.limit != limit {
			t.Errorf("limit %d, want %d", g.limit, limit)
		}
		for range limit {
			g.well()
		}
	}
	if g.limit != 0 {
		t.Errorf("limit %d at the end, want none", g.limit)
	}
	for range 3 { // down to one, and not below
		g.fewer(g.cuts)
	}
	if g.limit != 1 || g.busy != 4 {
		t.Errorf("limit %d with %d under way", g.limit, g.busy)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := g.enter(canceled, f.clock(), patience); err == nil || len(g.waiting) != 0 || g.busy != 4 {
		t.Errorf("after a cancel: error %v, %d waiting, %d under way", err, len(g.waiting), g.busy)
	}
}

// waitFor lets others work until ok.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for !ok() {
		if t.Context().Err() != nil {
			t.Fatal("it never came")
		}
		time.Sleep(time.Millisecond)
	}
}

// Who has a slot may wait for one who has none: where nothing moves at all, nobody waits for ever.
func TestSlotsDoNotLock(t *testing.T) {
	f, ctx := newFakeClock(), context.Background()
	g := &gate{slots: slots{busy: 1, limit: 1, ceiling: 8}}
	entered := make(chan struct{})
	go func() {
		if _, err := g.enter(ctx, f.clock(), time.Minute); err == nil {
			close(entered)
		}
	}()
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.running) == 1 })
	g.moved.Add(1) // something moves: it waits on
	f.expire()
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.running) == 1 })
	select {
	case <-entered:
		t.Error("it did not wait for one that moves")
	default:
	}
	f.expire()
	<-entered
}

// Of many transfers to a host that takes two of them half go on at once, whatever number of them was refused.
func TestFewerTransfersWhereTheyAreTooMany(t *testing.T) {
	const n, taken = 8, 2
	raw, d := content(1000)
	var arrived sync.WaitGroup
	arrived.Add(n)
	var count atomic.Int32
	srv := registrytest.New(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			number := count.Add(1)
			if number <= n { // all of them are under way
				arrived.Done()
				arrived.Wait()
			}
			if number > taken && number <= n {
				registrytest.TooManyRequests(1)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	srv.AddBlob("a", raw)
	var mu sync.Mutex
	var fewer []Event
	c, _ := newTestClient(t, srv, Options{Events: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == EventFewer {
			fewer = append(fewer, e)
		}
	}})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got, err := readAll(c, repoOf(srv, "a"), d); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("got %d bytes and error %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if len(fewer) != 1 || fewer[0].AtOnce < (n-taken)/2 || fewer[0].AtOnce > n/2 || fewer[0].Why == nil {
		t.Errorf("got events %v", fewer)
	}
	if g := c.gate(srv.Host()); g.busy != 0 || len(g.waiting) != 0 {
		t.Errorf("%d under way and %d waiting at the end", g.busy, len(g.waiting))
	}
}

// A blob that is read from the registry to which it is pushed needs no slot beside that of its upload.
func TestPushFromTheSameHostWithOneSlot(t *testing.T) {
	raw, d := content(huge)
	srv := registrytest.New(t, registrytest.Options{})
	srv.AddBlob("a", raw)
	c, _ := newTestClient(t, srv, Options{})
	c.gate(srv.Host()).slots = slots{limit: 1, ceiling: 8}
	from := func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return c.Open(ctx, repoOf(srv, "a"), d, offset)
	}
	checkErr(t, c.Push(context.Background(), repoOf(srv, "b"), d, from), nil)
}

// A HTTP/2 server that has enough of a client sends it away; the next connection gets what was asked for.
func TestGoAway(t *testing.T) {
	raw, d := content(1000)
	srv := registrytest.New(t, registrytest.Options{TLS: true})
	srv.AddBlob("a/b", raw)
	front := newGoAway(t, srv)
	var events []Event
	c, _ := newTestClient(t, srv, Options{Events: func(e Event) { events = append(events, e) }})
	dialOnly(t, c, srv.Host(), front)
	c.gate(srv.Host()).slots = slots{limit: 4, ceiling: 8}
	got, err := readAll(c, repoOf(srv, "a/b"), d)
	checkErr(t, err, nil)
	if !bytes.Equal(got, raw) {
		t.Errorf("got %d bytes that are not the blob's", len(got))
	}
	if len(events) != 2 || events[0].Kind != EventFewer || events[0].AtOnce != 2 || events[1].Kind != EventRetry {
		t.Errorf("got events %v", events)
	}
}

// newGoAway returns the address of a front of srv which answers the first request with GOAWAY, ENHANCE_YOUR_CALM.
func newGoAway(t *testing.T, srv *registrytest.Server) net.Addr {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: srv.Certificates(), NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for first := true; ; first = false {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if first {
				go sendAway(conn)
			} else {
				go pipeTo(conn, srv)
			}
		}
	}()
	return l.Addr()
}

// sendAway speaks as little HTTP/2 (RFC 9113) as it takes.
func sendAway(conn net.Conn) {
	defer conn.Close()
	conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS, none
	io.CopyN(io.Discard, conn, 24)                // the preface
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
		if head[3] == 1 { // HEADERS: the request, on stream 1, which was seen
			conn.Write([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 11})
			return
		}
	}
}

// pipeTo carries what comes in on conn to srv and back.
func pipeTo(conn net.Conn, srv *registrytest.Server) {
	defer conn.Close()
	back, err := tls.Dial("tcp", srv.Host(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return
	}
	defer back.Close()
	go io.Copy(back, conn)
	io.Copy(conn, back)
}
