package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

const (
	// maxConnections is how many clients are connected at once; others wait.
	maxConnections = 1000
	// headerTime is how long a client may take for a request, idleTime how long it may keep a connection for the next one.
	headerTime, idleTime = 20 * time.Second, 2 * time.Minute
	// maxRequestHeader is the size in bytes of the largest header of a request that is taken.
	maxRequestHeader = 64 << 10
	// endTime is how long requests that are under way have when the server ends.
	endTime = 10 * time.Second
)

// listenOptions are the flags that say where a server listens, and how it is spoken to.
type listenOptions struct {
	tlsOptions
	Listen string // [HOST]:PORT
}

// add defines the flags.
func (o *listenOptions) add(set *pflag.FlagSet) {
	set.StringVar(&o.Listen, "listen", "127.0.0.1:5000", "listen at this `ADDRESS`; :5000 is port 5000 of all interfaces")
	o.tlsOptions.add(set)
}

// check finds what is wrong with the flags alone.
func (o *listenOptions) check() error {
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return usagef("--listen %q: an address such as 127.0.0.1:5000 or :5000 is needed", o.Listen)
	}
	return o.tlsOptions.check()
}

// listening is a server's listener.
type listening struct {
	net.Listener
	tls *tls.Config // nil: plain http
}

// listen opens the listener.
func (o *listenOptions) listen(std *stdio) (*listening, error) {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", o.Listen, bareListenError(err))
	}
	host, _, _ := net.SplitHostPort(o.Listen) // check has read it
	config, err := o.config(host, std)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &listening{Listener: l, tls: config}, nil
}

// bareListenError returns err without the address, and with what to do about it.
func bareListenError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens there: choose another port, such as --listen 127.0.0.1:5001", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 are for root: choose a higher one, such as --listen :5000", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; no interface here has this address: --listen :5000 listens on all", err)
	}
	return err
}

// address returns host:port by which clients reach the server.
func (l *listening) address() string {
	a := l.Addr().(*net.TCPAddr)
	return net.JoinHostPort(reachableHost(a), strconv.Itoa(a.Port))
}

// url returns where the server is.
func (l *listening) url() string {
	scheme := "http"
	if l.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + l.address()
}

// isLocal reports whether only this machine reaches the server.
func (l *listening) isLocal() bool { return l.Addr().(*net.TCPAddr).IP.IsLoopback() }

// serve serves until ctx ends, and then lets requests that are under way come to their end.
func (l *listening) serve(ctx context.Context, h http.Handler, std *stdio) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxRequestHeader,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    log.New(detailWriter{std}, "", 0),
		TLSConfig:   l.tls,
	}
	ended := make(chan error, 1)
	go func() {
		limited := newLimited(l.Listener, maxConnections)
		if l.tls == nil {
			ended <- srv.Serve(limited)
		} else {
			ended <- srv.ServeTLS(limited, "", "")
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	std.say("ending: requests under way have %s", endTime)
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if err := srv.Shutdown(wait); err != nil {
		return srv.Close() // what still runs is cut
	}
	return nil
}

// detailWriter prints what the http server has to say, with -v.
type detailWriter struct{ std *stdio }

func (w detailWriter) Write(p []byte) (int, error) {
	w.std.detail("%s", oneLine(strings.TrimSpace(string(p))))
	return len(p), nil
}

// limited is a listener that has so many connections at once.
type limited struct {
	net.Listener
	slots chan struct{}
}

func newLimited(l net.Listener, most int) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, most)}
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{TCPConn: c.(*net.TCPConn), release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	*net.TCPConn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
