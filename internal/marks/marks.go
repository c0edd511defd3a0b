// Package marks keeps what authtrip's packages tell each other through a
// context: that a request is to pass without credentials, that a renewal is under
// way in whose service the request is made, and that there are newer cookies than
// it came with.
package marks

import (
	"context"
	"sync/atomic"
)

type key struct{}

// Marks is a list, newest first, of the marks on a context. The nil *Marks has
// none. One key holds them all, so that a decorator asks the context once.
type Marks struct {
	renewal any         // nil: the mark turns credentials off, if it is not another
	ended   atomic.Bool // the renewal has
	cookies bool        // the mark is WithNewCookies
	older   *Marks
}

// Of returns the marks on ctx.
func Of(ctx context.Context) *Marks {
	m, _ := ctx.Value(key{}).(*Marks)
	return m
}

// WithoutCredentials marks ctx for requests that no decorator may touch.
func WithoutCredentials(ctx context.Context) context.Context {
	return context.WithValue(ctx, key{}, &Marks{older: Of(ctx)})
}

// WithRenewal marks ctx as belonging to a renewal by owner, a pointer, until
// end is called: the context may live on.
func WithRenewal(ctx context.Context, owner any) (marked context.Context, end func()) {
	m := &Marks{renewal: owner, older: Of(ctx)}
	return context.WithValue(ctx, key{}, m), func() { m.ended.Store(true) }
}

// WithNewCookies marks ctx for a request that is sent again since there are newer
// cookies than it had.
func WithNewCookies(ctx context.Context) context.Context {
	return context.WithValue(ctx, key{}, &Marks{cookies: true, older: Of(ctx)})
}

// NewCookies reports whether WithNewCookies was used.
func (m *Marks) NewCookies() bool {
	for ; m != nil; m = m.older {
		if m.cookies {
			return true
		}
	}
	return false
}

type signOutKey struct{}

// WithSignOut marks ctx for a Store that is to save the record of a sign-out. The record
// may be sealed, and a Store that keeps it for a while only has to know.
func WithSignOut(ctx context.Context) context.Context {
	return context.WithValue(ctx, signOutKey{}, true)
}

// SignOut reports whether WithSignOut was used.
func SignOut(ctx context.Context) bool { return ctx.Value(signOutKey{}) != nil }

// Join returns ctx with the marks of another context, if it has none.
func Join(ctx, other context.Context) context.Context {
	if m := Of(other); m != nil && Of(ctx) == nil {
		return context.WithValue(ctx, key{}, m)
	}
	return ctx
}

// Off reports whether WithoutCredentials was used, and not only before a
// renewal: whoever has started it, its own requests are another matter.
func (m *Marks) Off() bool {
	for m != nil && m.cookies {
		m = m.older
	}
	return m != nil && m.renewal == nil
}

// Renewal reports whether owner's renewal is under way. A request that owner
// should credential and that owner's renewal itself makes would wait for
// itself.
func (m *Marks) Renewal(owner any) bool {
	for ; m != nil; m = m.older {
		// Only pointers are ever marked, so an owner of an uncomparable type
		// differs in type before its value is looked at.
		if m.renewal != nil && m.renewal == owner && !m.ended.Load() {
			return true
		}
	}
	return false
}

// Renewing reports whether anybody's renewal is under way.
func (m *Marks) Renewing() bool {
	for ; m != nil; m = m.older {
		if m.renewal != nil && !m.ended.Load() {
			return true
		}
	}
	return false
}
