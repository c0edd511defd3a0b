package hop

import (
	"context"
	"net/http"
	"sync"
)

// A Wait is a request's context that ends with the request's deprecated
// Cancel channel as well. http.Client sets that channel, beside the deadline, for
// every request under a Client.Timeout, so nothing is started until somebody
// has to wait. A nil *Wait has nothing to stop.
type Wait struct {
	context.Context
	cancel <-chan struct{}

	once   sync.Once // guards the fields below
	merged context.Context
	end    context.CancelFunc
}

// Waiting returns the context for whatever req has to wait for before it is
// sent. The attempts themselves carry the request's own context and channel.
func Waiting(req *http.Request) (context.Context, *Wait) {
	//lint:ignore SA1019 deprecated, and set by http.Client itself
	cancel := req.Cancel
	if cancel == nil {
		return req.Context(), nil
	}
	c := &Wait{Context: req.Context(), cancel: cancel}
	return c, c
}

func (c *Wait) merge() {
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

func (c *Wait) Done() <-chan struct{} {
	c.merge()
	return c.merged.Done()
}

func (c *Wait) Err() error {
	c.merge()
	return c.merged.Err()
}

func (c *Wait) Stop() {
	if c == nil {
		return
	}
	c.once.Do(func() { c.merged, c.end = ended, func() {} })
	c.end()
}

// ended is what a Wait is after Stop, if nobody has waited.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
