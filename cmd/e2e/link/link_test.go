package link

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	start := time.Unix(1000, 0)
	b := bucket{rate: 1000}
	for i, test := range []struct {
		at, gone time.Duration
		n        int
	}{
		{0, 100*time.Millisecond - burst, 100}, // a bucket at rest lags behind by a burst
		{0, 300*time.Millisecond - burst, 200}, // after the first
		{time.Second, 1500*time.Millisecond - burst, 500},
		{time.Second, 1600*time.Millisecond - burst, 100},
	} {
		if got := b.take(start.Add(test.at), test.n); !got.Equal(start.Add(test.gone)) {
			t.Errorf("%d: %d bytes at %s leave at %s, want %s", i, test.n, test.at, got.Sub(start), test.gone)
		}
	}
	free := bucket{}
	if got := free.take(start, 1<<30); !got.Equal(start) {
		t.Errorf("without a rate: %s late", got.Sub(start))
	}
}

// echo listens and sends back what comes until the other side ends.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				if _, err := io.Copy(conn, conn); err == nil {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	return listener.Addr().String()
}

func start(t *testing.T, opts Options) *Link {
	t.Helper()
	l, err := Start(t.Context(), echo(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Whatever the line is like, all that goes in comes out, in its order, and the end as well.
func TestWhatGoesInComesOut(t *testing.T) {
	for name, opts := range map[string]Options{
		"free": {}, "delayed": {Delay: time.Millisecond}, "slow": {Rate: 8 << 20}, "both": {Delay: time.Millisecond, Rate: 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, opts)
			random := rand.NewChaCha8([32]byte{1})
			sent := make([]byte, 300_001)
			_, _ = random.Read(sent)
			conn, err := net.Dial("tcp", l.Host())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes and %v, want the %d that were sent", len(got), err, len(sent))
			}
			if up, down := l.Passed(); up != int64(len(sent)) || down != up {
				t.Errorf("%d bytes up and %d down, want %d each", up, down, len(sent))
			}
		})
	}
}

// A line is never faster than it is said to be, and never earlier.
func TestNeverFaster(t *testing.T) {
	const size, rate, delay = 200_000, 1_000_000, 10 * time.Millisecond
	l := start(t, Options{Delay: delay, Rate: rate})
	began := time.Now()
	conn, err := net.Dial("tcp", l.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	if _, err := io.ReadFull(conn, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	// The handshake, the way there and back; the last byte is sent back at once, so the rate counts once.
	least := 4*delay + size*time.Second/rate - 2*burst
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes came back after %s, want at least %s", size, took, least)
	}
}

func TestTargetThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	l, err := Start(t.Context(), addr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes and %v from nobody", n, err)
	}
}
