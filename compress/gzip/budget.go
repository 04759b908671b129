package gzip

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// Budget bounds how many encoders run at once in all calls of [Find] and [Recreate] that share it: one large blob has
// them all, and several share them.
//
// No call waits for its first encoder, whatever else runs: a call that waits for its bytes, or for its writer, stops no
// other. Further encoders are given while there are fewer than the budget has, to the calls that want them in turn. So
// the encoders that run are no more than the budget has, or one for each call; where calls begin while one call has all,
// they are as many as both together until that one ends a part.
type Budget struct {
	mu      sync.Mutex
	size    int
	used    int
	waiting []*share // each once, the one that waits longest first
}

// NewBudget returns a budget of so many encoders; less than 1 is one more than there are processors, as one encoder is
// often at its end and waits for others.
func NewBudget(encoders int) *Budget {
	if encoders < 1 {
		encoders = runtime.GOMAXPROCS(0) + 1
	}
	return &Budget{size: encoders}
}

// share is what a call has of a budget. One goroutine acquires, others release.
type share struct {
	budget  *Budget
	limit   int // of the call
	held    int
	granted chan struct{} // has room for one
}

// newShare returns a share for a call with so many encoders at once, and one that waits for others to end; 0 is as many as
// b has. Without b the call has a budget of its own.
func newShare(b *Budget, parallel int) *share {
	limit := 0
	if parallel > 0 {
		limit = parallel + 1
	}
	if b == nil {
		b = NewBudget(limit)
	}
	if limit == 0 {
		limit = b.size
	}
	return &share{budget: b, limit: limit, granted: make(chan struct{}, 1)}
}

// acquire waits until the call can have a further encoder.
func (s *share) acquire(ctx context.Context) error {
	b := s.budget
	b.mu.Lock()
	b.waiting = append(b.waiting, s)
	b.grant()
	b.mu.Unlock()
	select {
	case <-s.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	i := slices.Index(b.waiting, s)
	if i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	b.mu.Unlock()
	if i < 0 { // it was granted meanwhile
		<-s.granted
		s.release()
	}
	return ctx.Err()
}

// release gives an encoder back.
func (s *share) release() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.held--
	s.budget.used--
	s.budget.grant()
}

// releaseAll gives back what the call still has when it ends.
func (s *share) releaseAll() {
	for s.held > 0 {
		s.release()
	}
}

// grant gives encoders to those that wait.
func (b *Budget) grant() {
	b.waiting = slices.DeleteFunc(b.waiting, func(s *share) bool {
		if s.held > 0 && (s.held >= s.limit || b.used >= b.size) {
			return false
		}
		s.held++
		b.used++
		s.granted <- struct{}{}
		return true
	})
}
