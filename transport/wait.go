package transport

import (
	"context"
	"net/http"
	"sync"
)

// A waitContext is a request's context that ends with the request's deprecated
// Cancel channel as well. http.Client sets that channel, beside the deadline, for
// every request under a Client.Timeout, so nothing is started until somebody
// has to wait. A nil *waitContext has nothing to stop.
type waitContext struct {
	context.Context
	cancel <-chan struct{}

	once   sync.Once // guards the fields below
	merged context.Context
	end    context.CancelFunc
}

// waiting returns the context for whatever req has to wait for before it is
// sent. The attempts themselves carry the request's own context and channel.
func waiting(req *http.Request) (context.Context, *waitContext) {
	//lint:ignore SA1019 deprecated, and set by http.Client itself
	cancel := req.Cancel
	if cancel == nil {
		return req.Context(), nil
	}
	c := &waitContext{Context: req.Context(), cancel: cancel}
	return c, c
}

func (c *waitContext) merge() {
	c.once.Do(func() {
		merged, end := context.WithCancel(c.Context)
		c.merged, c.end = merged, end
		select {
		case <-c.cancel:
			end()
			return
		default:
		}
		go func() {
			select {
			case <-c.cancel:
				end()
			case <-merged.Done():
			}
		}()
	})
}

func (c *waitContext) Done() <-chan struct{} {
	c.merge()
	return c.merged.Done()
}

func (c *waitContext) Err() error {
	c.merge()
	return c.merged.Err()
}

func (c *waitContext) stop() {
	if c == nil {
		return
	}
	c.once.Do(func() { c.merged, c.end = ended, func() {} })
	c.end()
}

// ended is what a waitContext is after stop, if nobody has waited.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
