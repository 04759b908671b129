package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// What is under way when the server ends comes to its end; nothing new begins.
func TestServeEndsWell(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		if r.Context().Err() != nil {
			t.Error("the request was called off")
		}
		_, _ = io.WriteString(w, "whole")
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- (&listening{Listener: l}).serve(ctx, h, &stdio{Out: io.Discard, Err: io.Discard, Now: time.Now})
	}()
	got := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			got <- err.Error()
		}
		got <- string(raw)
	}()
	<-begun
	cancel()
	for refused := false; !refused && t.Context().Err() == nil; { // as soon as the server has heard of it
		c, err := net.Dial("tcp", l.Addr().String())
		if refused = err != nil; !refused {
			c.Close()
		}
	}
	close(goOn)
	if text := <-got; text != "whole" {
		t.Errorf("got %q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLimitedListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(inner, 1)
	defer l.Close()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan net.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		second <- c
	}()
	select {
	case <-second:
		t.Error("two connections, and one is the limit")
	default:
	}
	for range 2 { // closing twice makes place for one
		first.Close()
	}
	c := <-second
	if len(l.slots) != 1 {
		t.Errorf("%d connections are counted, want 1", len(l.slots))
	}
	c.Close()
}
