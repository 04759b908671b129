package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/term"
)

// stdio is where a command reads and writes. It may be used by several goroutines at once.
type stdio struct {
	In  io.Reader
	Out io.Writer // results only
	Err io.Writer // everything for the eye; written to through the methods below, which keep out of a bar's way

	Terminal bool // Err is a terminal
	Quiet    bool // -q
	Verbose  bool // -v

	Now    func() time.Time
	Getenv func(string) string

	taken string // who reads In

	mu    sync.Mutex
	above io.Writer // while a bar is drawn: writes above it
}

// newStdio returns the standard streams of the process.
func newStdio() *stdio {
	return &stdio{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())),
		Now:      time.Now,
		Getenv:   os.Getenv,
	}
}

// takeInput returns In for the flag or the argument by. What one of them reads another cannot read.
func (std *stdio) takeInput(by string) (io.Reader, error) {
	if std.taken != "" {
		return nil, usagef("%s: stdin is read by %s already", by, std.taken)
	}
	std.taken = by
	return std.In, nil
}

// takeOutput returns Out for what the flag or the argument by writes there in place of results, which go to Err from then on.
// A terminal is refused. When the program that reads it ends, writing fails, and ferry is not ended by a signal.
func (std *stdio) takeOutput(by string) (io.Writer, error) {
	out := std.Out
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, usagef("%s: stdout is a terminal; send it to a program or a file, as in `... | docker load`", by)
	}
	std.Out = std.Err
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return stdoutWriter{out}, nil
}

// stdoutWriter is stdout for what is no text.
type stdoutWriter struct{ w io.Writer }

func (o stdoutWriter) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = &stdoutError{bareError(err)}
	}
	return n, err
}

// stdoutError is why stdout takes no more.
type stdoutError struct{ err error }

func (e *stdoutError) Error() string { return "stdout: " + e.err.Error() }
func (e *stdoutError) Unwrap() error { return e.err }

// say prints a line for the eye, unless -q.
func (std *stdio) say(format string, args ...any) {
	if !std.Quiet {
		std.complain(fmt.Sprintf(format, args...))
	}
}

// detail prints a line with -v only.
func (std *stdio) detail(format string, args ...any) {
	if std.Verbose {
		std.complain(fmt.Sprintf(format, args...))
	}
}

// warn prints a line that must be seen, -q or not.
func (std *stdio) warn(format string, args ...any) {
	std.complain("ferry: warning: " + fmt.Sprintf(format, args...))
}

// complain prints a line to Err in any case.
func (std *stdio) complain(line string) {
	std.mu.Lock()
	defer std.mu.Unlock()
	w := std.Err
	if std.above != nil {
		w = std.above
	}
	fmt.Fprintln(w, printable(line)) // nobody is left to be told when stderr is gone
}

// printable returns s without the control characters by which a bundle or a registry could move the cursor or fake other
// output; line feeds and tabs stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// plural returns the count with its noun: "1 image", "3 images", "2 repositories".
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok {
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// oneLine returns s as text that fits into one line of output.
func oneLine(s string) string { return strings.ReplaceAll(printable(s), "\n", " ") }
