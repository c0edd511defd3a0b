package hop

import (
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
)

// ours has what takes a Leg to each type of decorator, by exactly that type: one
// that embeds a decorator, and may have a RoundTrip of its own, is a stranger. It
// is filled while packages are initialised, when requests may be under way already.
var ours sync.Map // from reflect.Type to func(http.RoundTripper) roundTrip

type roundTrip = func(Leg) (*http.Response, error)

// Register says how a Leg is taken to a T, which is a pointer. The Leg is passed by
// value, since what is pointed to by an argument of a function that the compiler
// does not know is moved to the heap.
func Register[T http.RoundTripper](take func(T, Leg) (*http.Response, error)) struct{} {
	ours.Store(reflect.TypeFor[T](), func(rt http.RoundTripper) roundTrip {
		t := rt.(T)
		return func(l Leg) (*http.Response, error) { return take(t, l) }
	})
	return struct{}{}
}

// A Next is where a decorator sends to. It finds out once whether that is another
// of ours, to which it can take a Leg as it is.
type Next struct {
	take atomic.Pointer[roundTrip]
}

var stranger roundTrip // nil

// Send makes one attempt, on behalf of the decorator that was given caller, by base,
// which must be the same each time. Whatever base does, the result is a response or
// an error, and the response names caller.
func (n *Next) Send(base http.RoundTripper, l *Leg, caller *http.Request) (*http.Response, error) {
	take := n.take.Load()
	if take == nil {
		take = n.find(base)
	}
	if *take == nil {
		return Send(base, l.Build(), caller)
	}
	resp, err := (*take)(*l)
	if resp != nil {
		resp.Request = caller
	}
	return resp, err
}

func (n *Next) find(base http.RoundTripper) *roundTrip {
	take := &stranger // http.DefaultTransport may change
	if base != nil {
		if bind, ok := ours.Load(reflect.TypeOf(base)); ok {
			bound := bind.(func(http.RoundTripper) roundTrip)(base)
			take = &bound
		}
	}
	n.take.Store(take)
	return take
}
