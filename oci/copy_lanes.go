package oci

import (
	"context"
	"sync"
)

// A task is one request to the sink, or one transfer. Tasks never wait for one another: what has to be done first is
// known by counts, see step, and a task is queued when its counts have come to zero. So the workers cannot block each
// other, and the copy is over when no task is queued and none is under way. (Only those who read one blob together wait
// for each other a little, see fan.)
type task func(context.Context)

// Tasks that finish something go before those that begin something.
const (
	classManifest = iota // and tags
	classMount
	classPush
	classAsk
	classes
)

// lanes are the tasks by the host of the sink that they speak to. Each host has workers of its own, so that one that is
// slow, or does not answer at all, keeps no other from its share. They are guarded by the mutex of their copier.
type lanes struct {
	byHost  map[string]*lane
	queued  int // tasks in all lanes
	running int
}

type lane struct {
	queue   [classes][]task
	changed *sync.Cond // a task was queued, or the last one of all lanes ended
	lost    error      // why the host is not spoken to any more, see CopyOptions.Lost
}

// add makes a lane for the host, unless there is one.
func (l *lanes) add(c *copier, host string) {
	if l.byHost == nil {
		l.byHost = map[string]*lane{}
	}
	if l.byHost[host] == nil {
		l.byHost[host] = &lane{changed: sync.NewCond(&c.mu)}
	}
}

func (l *lanes) wake() {
	for _, lane := range l.byHost {
		lane.changed.Broadcast()
	}
}

// add queues a task that speaks to the repository to. The caller holds c.mu, as for all functions below that say so.
func (c *copier) add(class int, to Repository, t task) {
	lane := c.lanes.byHost[to.Host]
	lane.queue[class] = append(lane.queue[class], t)
	c.lanes.queued++
	lane.changed.Signal()
}

// work runs the queued tasks, and those that they queue, until none is left or ctx ends.
func (c *copier) work(ctx context.Context) {
	wake := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lanes.wake()
	})
	defer wake()
	var workers sync.WaitGroup
	for _, lane := range c.lanes.byHost {
		for range c.o.Transfers {
			workers.Go(func() {
				for t := c.take(ctx, lane); t != nil; t = c.take(ctx, lane) {
					t(ctx)
					c.ended()
				}
			})
		}
	}
	workers.Wait()
}

// take returns the next task of a lane, or nil when the work is over.
func (c *copier) take(ctx context.Context, lane *lane) task {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ctx.Err() == nil {
		for class, tasks := range lane.queue {
			if len(tasks) > 0 {
				lane.queue[class] = tasks[1:]
				c.lanes.queued--
				c.lanes.running++
				return tasks[0]
			}
		}
		if c.lanes.running == 0 && c.lanes.queued == 0 {
			return nil
		}
		lane.changed.Wait()
	}
	return nil
}

func (c *copier) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes.running--
	if c.lanes.running == 0 && c.lanes.queued == 0 {
		c.lanes.wake()
	}
}
