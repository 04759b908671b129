package main

import (
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progressInterval is the time between two lines where no bar can be drawn.
const progressInterval = 10 * time.Second

// progress shows how far long work is: a bar on a terminal, elsewhere a line now and then, nothing with -q. The nil
// *progress shows nothing. It may be used by several goroutines at once.
type progress struct {
	std  *stdio
	what string

	mu       sync.Mutex
	meter    meter
	lastLine time.Time

	bars *mpb.Progress // nil where no bar is drawn
	bar  *mpb.Bar
}

// progress begins to show work on total bytes; what names it, as in "unpack". End must be called.
func (std *stdio) progress(what string, total int64) *progress {
	if std.Quiet {
		return nil
	}
	p := &progress{std: std, what: what, meter: meter{total: total}, lastLine: std.Now()}
	p.meter.add(0, p.lastLine)
	if std.Terminal {
		p.bars = mpb.New(mpb.WithOutput(std.Err), mpb.WithWidth(barWidth))
		p.bar = p.bars.AddBar(max(total, 1), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(what+" ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text() })))
		std.mu.Lock()
		std.above = p.bars
		std.mu.Unlock()
	}
	return p
}

// barWidth is the width of the bar itself, in columns.
const barWidth = 40

// add counts n bytes as done.
func (p *progress) add(n int64) {
	if p == nil {
		return
	}
	now := p.std.Now()
	p.mu.Lock()
	p.meter.add(n, now)
	line := ""
	if p.bars == nil && now.Sub(p.lastLine) >= progressInterval {
		p.lastLine = now
		line = p.what + ": " + p.meter.text(now)
	}
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.IncrInt64(n)
	}
	if line != "" {
		p.std.say("%s", line)
	}
}

// setTotal changes the number of bytes that there are to do.
func (p *progress) setTotal(total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.meter.total = total
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetTotal(max(total, 1), false)
	}
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.meter.text(p.std.Now())
}

// end takes the bar away. It may be called more than once.
func (p *progress) end() {
	if p == nil || p.bars == nil {
		return
	}
	p.bar.Abort(true)
	p.std.mu.Lock() // no line is lost to a bar that is going away
	defer p.std.mu.Unlock()
	p.bars.Wait()
	p.std.above = nil
}
