// Command registry runs the CNCF distribution registry until SIGTERM or Ctrl-C, for tests and measurements that want it
// in a process of its own.
//
//	registry [--root DIR] [--addr 127.0.0.1:0] [--port-file FILE]
//
// It prints the address that it listens on. What it was asked for is at [distribution.CountsPath].
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

func main() {
	var opts distribution.Options
	flag.StringVar(&opts.Root, "root", "", "keep content in this `folder`; in memory when empty")
	flag.StringVar(&opts.Addr, "addr", "127.0.0.1:0", "listen on this `host:port`")
	portFile := flag.String("port-file", "", "write the port to this `file`, once it can be used")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts, *portFile); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts distribution.Options, portFile string) (err error) {
	server, err := distribution.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	fmt.Println(server.Host())
	if portFile != "" {
		if err := writePort(portFile, server.Host()); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// writePort makes the file appear whole, so that a reader who finds it can use it.
func writePort(file, host string) error {
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", []byte(port+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
