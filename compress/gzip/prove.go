package gzip

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	// partSize is how many plain bytes a part has at least that is proven, and re-created, by itself.
	partSize = 4 << 20
	// maxAhead is how many plain bytes an encoder can see behind its part, to make the last blocks of it. It sees no more
	// when a part is proven, and no less when it is re-created.
	maxAhead = 512 << 10

	// maxLag and maxLagWeight are how many blocks, and bytes of them, a reader can be ahead of an encoder that fits.
	maxLag       = 1 << 10
	maxLagWeight = 48 << 20
	// maxCoders is how many encoders are kept, of about 2 MiB.
	maxCoders = 48
	// maxEarly is how many empty blocks an encoder can be ahead of a reader.
	maxEarly = 8

	queueUnits  = 256      // blocks that wait for a part
	queueWeight = 16 << 20 // bytes of them
)

var (
	errDone    = errors.New("all blocks of a part are there") // or nobody wants more
	errDiffers = errors.New("another block")
)

// prover compares the blocks of an encoder with those that were read.
type prover struct {
	*coder
	sides []*side // of the engines that the encoder has
}

// side is what an engine has given so far.
type side struct {
	number int             // of the engine
	queue  []*unit         // that it has not given yet
	early  []deflate.Block // empty ones that it gave before they were read
	lag    int64           // weight of queue
	left   int             // blocks of the part in queue, once units ahead of it come; before that less than 0
	done   bool            // it gave all of the part
	failed bool            // it gave another block, or none in time
}

// newProver returns a prover whose engines have numbers.
func newProver(c *coder, position int64, dict []byte, numbers ...int) *prover {
	p := &prover{coder: c}
	for _, n := range numbers {
		p.sides = append(p.sides, &side{number: n, left: -1})
	}
	c.begin(position, dict, p.sink(0))
	if len(p.sides) > 1 {
		c.twin = p.sink(1)
	}
	return p
}

func (p *prover) sink(i int) deflate.Emit {
	s := p.sides[i]
	return func(b *deflate.Block) error {
		if s.live() {
			s.compare(b)
		}
		if !p.live() {
			return errDone
		}
		return nil
	}
}

func (s *side) live() bool { return !s.done && !s.failed }

func (p *prover) live() bool { return slices.ContainsFunc(p.sides, (*side).live) }

// compare compares a block that the engine gives.
func (s *side) compare(b *deflate.Block) {
	switch {
	case len(s.queue) == 0 && len(b.Tokens)+len(b.Raw) == 0 && len(s.early) < maxEarly:
		early := *b
		early.Header.Lengths = slices.Clone(b.Header.Lengths)
		s.early = append(s.early, early)
		return
	case len(s.queue) == 0 || !b.Equal(&s.queue[0].block):
		s.failed = true
		return
	}
	s.lag -= s.queue[0].weight()
	s.queue = s.queue[1:]
	if s.left > 0 {
		s.left--
		s.done = s.left == 0
	}
}

// expect makes u the last block that the engine is to give.
func (s *side) expect(u *unit) {
	if u.ahead && s.left < 0 {
		if s.left = len(s.queue); s.left == 0 {
			s.done, s.failed = len(s.early) == 0, len(s.early) > 0
			return
		}
	}
	s.queue = append(s.queue, u)
	s.lag += u.weight()
	if len(s.early) > 0 {
		first := s.early[0]
		s.early = s.early[1:]
		s.compare(&first)
	}
}

// settle looks at what the engine has given of all up to u.
func (s *side) settle(u *unit) {
	if len(s.queue) > maxLag || s.lag > maxLagWeight && len(s.queue) > 2 {
		s.failed = true
	} else if u.block.Final {
		s.done = len(s.queue)+len(s.early) == 0
		s.failed = !s.done
	}
}

// take gives u to the encoder, and reports whether it wants more.
func (p *prover) take(u *unit) bool {
	p.each(func(s *side) { s.expect(u) })
	if !p.live() {
		return false
	}
	if err := p.encode(u); err != nil && !errors.Is(err, errDone) {
		p.each(func(s *side) { s.failed = true })
	}
	p.each(func(s *side) { s.settle(u) })
	return p.live()
}

// each does f with the engines that want more.
func (p *prover) each(f func(*side)) {
	for _, s := range p.sides {
		if s.live() {
			f(s)
		}
	}
}

func (p *prover) encode(u *unit) error {
	if u.marker() && p.engines[0].flushes() {
		return p.Flush()
	}
	if len(u.plain) > 0 {
		if err := p.Write(u.plain); err != nil {
			return err
		}
	}
	if u.block.Final {
		return p.Close()
	}
	return nil
}

// coders keeps encoders that can be used again, at most maxCoders. They are large.
type coders struct {
	mu    sync.Mutex
	free  map[[2]Engine][]*coder
	count int
}

// take returns an encoder of e, and of a twin if that is an engine.
func (s *coders) take(e, twin Engine) (*coder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]Engine{e, twin}
	if free := s.free[key]; len(free) > 0 {
		s.free[key] = free[:len(free)-1]
		s.count--
		return free[len(free)-1], nil
	}
	if twin.ID != Verbatim {
		return newTwins(e, twin)
	}
	return newCoder(e)
}

func (s *coders) put(c *coder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == nil {
		s.free = make(map[[2]Engine][]*coder)
	}
	if s.count < maxCoders {
		s.free[c.engines] = append(s.free[c.engines], c)
		s.count++
	}
}

// part is a stretch of a member that is proven by itself.
type part struct {
	in      chan unit
	weights *semaphore.Weighted // of in
	start   int64
	dict    []byte
	blocks  int64
	provers []*prover
}

// proof is the work of proving a member.
type proof struct {
	*finder
	member  *Member
	engines []Engine
	group   *errgroup.Group
	now     *part
	pending []unit // of now, which begins its work when before has all that it can see
	before  *part
	ahead   int // plain bytes that it got

	mu     sync.Mutex
	failed []bool // of engines
}

// prove compares all blocks of a member, of which begin was read, with those of the engines of run, and returns those that
// fit.
func (f *finder) prove(parent context.Context, begin []unit, m *Member) ([]Engine, error) {
	engines := slices.DeleteFunc(slices.Clone(f.run), func(e Engine) bool {
		return e.resumes() != f.run[0].resumes() || e.Chunk != f.run[0].Chunk || e.flushes() != f.run[0].flushes()
	})
	engines = engines[:min(len(engines), maxSurvivors)]
	group, ctx := errgroup.WithContext(parent)
	p := &proof{
		finder: f, member: m, engines: engines, failed: make([]bool, len(engines)), group: group,
	}
	err := p.read(ctx, begin)
	p.end(&p.before)
	p.end(&p.now)
	differs := group.Wait()
	switch {
	case parent.Err() != nil:
		return nil, parent.Err()
	case differs != nil && (err == nil || errors.Is(err, context.Canceled)):
		return nil, p.differs()
	case err != nil:
		return nil, err
	}
	var fit []Engine
	for i, e := range engines {
		if !p.failed[i] {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 {
		return nil, p.differs()
	}
	return fit, nil
}

func (p *proof) differs() error { return p.fail(Differs, "%v at first", p.engines[0]) }

// read gives all blocks of the member to the parts.
func (p *proof) read(ctx context.Context, begin []unit) error {
	if err := p.begin(ctx, 0, nil); err != nil {
		return err
	}
	for _, u := range begin {
		if err := p.give(ctx, u); err != nil {
			return err
		}
	}
	for last := begin[len(begin)-1]; !last.block.Final; {
		u, err := p.next(ctx, &last)
		if err != nil {
			return err
		}
		p.flushed(p.member, &u)
		if p.divides(&u) {
			if err := p.begin(ctx, u.start, p.reader.Window()); err != nil {
				return err
			}
			p.member.Checkpoints = append(p.member.Checkpoints, Checkpoint{Plain: u.start, Blocks: p.before.blocks, Bits: u.bits})
		}
		if err := p.give(ctx, u); err != nil {
			return err
		}
		last = u
	}
	if p.before != nil {
		return p.start(ctx)
	}
	return nil
}

// divides reports whether a part begins with u.
func (p *proof) divides(u *unit) bool {
	if u.start-p.now.start < partSize || len(u.plain) == 0 {
		return false
	}
	e := p.engines[0]
	if e.resumes() {
		return u.match && len(p.member.Flushes) == 0
	}
	return e.restarts(Checkpoint{Plain: u.start, Bits: u.bits})
}

// begin begins a part.
func (p *proof) begin(ctx context.Context, start int64, dict []byte) error {
	p.before, p.ahead = p.now, 0
	p.now = &part{
		in: make(chan unit, queueUnits), weights: semaphore.NewWeighted(queueWeight), start: start, dict: slices.Clone(dict),
	}
	if p.before == nil {
		return p.start(ctx)
	}
	return nil
}

// start makes the part begin its work. The one before has all that it can see: so it ends, whether or not there is an
// encoder for this one.
func (p *proof) start(ctx context.Context) error {
	p.end(&p.before)
	if err := p.share.acquire(ctx); err != nil {
		return err
	}
	part := p.now
	if err := p.provers(part); err != nil {
		p.share.release()
		return err
	}
	p.group.Go(func() error {
		defer p.share.release()
		return p.work(part)
	})
	pending := p.pending
	p.pending = nil
	for _, u := range pending {
		if err := send(ctx, part, u); err != nil {
			return err
		}
	}
	return nil
}

// provers makes the provers of all engines, with one encoder for two of them where they are twins.
func (p *proof) provers(part *part) error {
	paired := make([]bool, len(p.engines))
	for i, e := range p.engines {
		if paired[i] {
			continue
		}
		numbers, twin := []int{i}, Engine{}
		if j := slices.IndexFunc(p.engines, e.twins); j > i {
			numbers, twin = append(numbers, j), p.engines[j]
			paired[j] = true
		}
		c, err := p.coders.take(e, twin)
		if err != nil {
			return err
		}
		part.provers = append(part.provers, newProver(c, part.start, part.dict, numbers...))
	}
	return nil
}

// give gives u to the part that it belongs to, and to the one before as long as that can see more.
func (p *proof) give(ctx context.Context, u unit) error {
	p.now.blocks++
	if p.before == nil {
		return send(ctx, p.now, u)
	}
	p.pending = append(p.pending, u)
	left := maxAhead - p.ahead
	ahead := u
	ahead.ahead = true
	if len(u.plain) > left {
		ahead.plain, ahead.block.Final = u.plain[:left], false
	}
	if err := send(ctx, p.before, ahead); err != nil {
		return err
	}
	if p.ahead += len(ahead.plain); p.ahead == maxAhead || len(p.pending) == maxLag {
		return p.start(ctx)
	}
	return nil
}

func send(ctx context.Context, to *part, u unit) error {
	if err := to.weights.Acquire(ctx, min(u.weight(), queueWeight)); err != nil {
		return err
	}
	select {
	case to.in <- u:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end tells a part, if there is one, that nothing comes any more.
func (p *proof) end(part **part) {
	if *part != nil {
		close((*part).in)
		*part = nil
	}
}

// work proves a part. An error says that no engine fits it, and ends the proof.
func (p *proof) work(part *part) error {
	wanted := true
	for u := range part.in {
		part.weights.Release(min(u.weight(), queueWeight))
		if !wanted {
			continue
		}
		wanted = false
		for _, prover := range part.provers {
			if prover.live() && prover.take(&u) {
				wanted = true
			}
		}
		if !wanted {
			if err := p.result(part); err != nil {
				return err
			}
		}
	}
	if wanted {
		return p.result(part)
	}
	return nil
}

// result notes which engines do not fit a part.
func (p *proof) result(part *part) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, prover := range part.provers {
		p.coders.put(prover.coder)
		for _, s := range prover.sides {
			if !s.done {
				p.failed[s.number] = true
			}
		}
	}
	if !slices.Contains(p.failed, false) {
		return errDiffers
	}
	return nil
}
