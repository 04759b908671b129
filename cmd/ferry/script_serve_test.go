package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// serving is a `ferry serve` of a story.
type serving struct {
	cmd    *exec.Cmd
	stdout *os.File
	copied chan error // when all of stderr is in its file
}

// serve NAME ARG... starts `ferry serve ARG...` on a free port and sets $NAME to its address once it listens. Its output goes
// to the files NAME.stdout and NAME.stderr, which are whole after end.
func (s *story) serve(ts *testscript.TestScript, args []string) (err error) {
	name := args[0]
	p := &serving{cmd: exec.Command("ferry", append([]string{"serve", "--listen", "127.0.0.1:0"}, args[1:]...)...), copied: make(chan error, 1)}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = os.Environ()
	for _, key := range []string{"HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", raceExit[0]} {
		p.cmd.Env = append(p.cmd.Env, key+"="+ts.Getenv(key))
	}
	if p.stdout, err = os.Create(ts.MkAbs(name + ".stdout")); err != nil {
		return err
	}
	p.cmd.Stdout = p.stdout
	out, err := os.Create(ts.MkAbs(name + ".stderr"))
	if err != nil {
		return err
	}
	in, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	s.tb.Cleanup(func() { _ = p.cmd.Process.Kill() }) // of one that was not ended
	address, err := p.awaitAddress(io.TeeReader(in, out), out)
	if err != nil {
		return fmt.Errorf("ferry serve: %w", err)
	}
	s.serving[name] = p
	ts.Setenv(name, address)
	return nil
}

var servedAt = regexp.MustCompile(`https?://([^ /]+:[0-9]+)`)

// awaitAddress reads stderr until it says where the server listens, and goes on reading in the background.
func (p *serving) awaitAddress(stderr io.Reader, out *os.File) (string, error) {
	found := make(chan string, 1)
	go func() {
		var said []string
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			said = append(said, lines.Text())
			if m := servedAt.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default: // it was told before
				}
			}
		}
		p.copied <- errors.Join(lines.Err(), out.Close())
		select {
		case found <- "\n" + strings.Join(said, "\n"):
		default:
		}
	}()
	select {
	case address := <-found:
		if strings.HasPrefix(address, "\n") {
			return "", errors.Join(errors.New("it ended:"+address), p.cmd.Wait())
		}
		return address, nil
	case <-time.After(time.Minute):
		return "", errors.New("it does not say where it listens")
	}
}

// end NAME interrupts a `ferry serve`, which must end well.
func (s *story) end(_ *testscript.TestScript, args []string) error {
	p := s.serving[args[0]]
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return errors.Join(<-p.copied, p.cmd.Wait(), p.stdout.Close())
}

// fetch URL FILE keeps what a URL gives.
func (s *story) fetch(ts *testscript.TestScript, args []string) error {
	resp, err := http.Get(args[0])
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", args[0], resp.Status, body)
	}
	return os.WriteFile(ts.MkAbs(args[1]), body, 0o644)
}

// pair NAME writes NAME.cert and NAME.key for a server at 127.0.0.1, and NAME.ca with their authority.
func (s *story) pair(ts *testscript.TestScript, args []string) error {
	ca := registrytest.NewAuthority(s.tb, "authority of "+args[0])
	cert, key := ca.Issue("127.0.0.1")
	var errs []error
	for ending, raw := range map[string][]byte{".cert": cert, ".key": key, ".ca": ca.CAPEM()} {
		errs = append(errs, os.WriteFile(ts.MkAbs(args[0]+ending), raw, 0o600))
	}
	return errors.Join(errs...)
}
