package cookiejar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authtrip/authtrip/internal/carry"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// Login signs in again when a session that cookies hold has ended. It goes
// around a [Transport], which has the cookies:
//
//	transport.Chain(login.Wrap, cookies.Wrap)
//
// When a response says that the session has ended, the function Login runs, once
// for all requests that find out together, and each of them is sent again, once.
// This is [transport.Refresh] with another kind of token: the rules for bodies
// that cannot be sent again, for failures, which are a [*transport.RenewalError],
// and for redirects are the same, and so are the promises of
// [tokensource.Session] on callers that leave, on late answers to requests of an
// older session, and on waiting after failures.
//
// A cookie that a login has set is not replaced by the response to a request that
// was sent before: a server that answers requests without a session by an empty
// one would end what has just begun. The [Jar] sees to that.
//
// The first request is sent as it is, since the jar may hold a session from
// before; SignIn signs in ahead of it. Login must not be copied; it is safe for
// concurrent use by multiple goroutines, and its fields must not be modified
// after the first RoundTrip.
type Login struct {
	// Login signs in by client, which has the cookies, follows redirects, ends with
	// ctx, and never comes back to this Login. It is required. It has to return an error
	// unless it has signed in. An error is taken for one that may pass, and is
	// given to whoever needs a session until the next attempt is due; one that
	// wraps tokensource.ErrReauthRequired is final, until SignIn. Its context
	// ends by Timeout, not with a request.
	Login func(ctx context.Context, client *http.Client) error

	// Ended reports whether a response says that the session has ended; nil
	// means status 401. It must not read or close the body. See RedirectsTo and
	// [transport.RejectedIf].
	Ended func(*http.Response) bool

	// Timeout bounds one run of Login; zero means 30 seconds.
	Timeout time.Duration

	// MaxLogins is how many sessions may end within 30 seconds before requests
	// get tokensource.ErrRenewalLimit instead of another one; zero means 5,
	// negative any number.
	MaxLogins int

	// ReplayBuffer is that of transport.Refresh: up to how many bytes a body
	// without GetBody is kept in memory.
	ReplayBuffer int64

	// OnEvent, if not nil, is told what becomes of requests, and OnSession of
	// sessions, the generations of which are counted from 1. Panics in them are
	// recovered and ignored.
	OnEvent   func(context.Context, transport.Event)
	OnSession func(context.Context, tokensource.Event)

	// Audience is whose responses can say that the session has ended; nil means
	// the origin of the first request of each redirect chain.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	renewal
}

var errNoLogin = errors.New("cookiejar: Login.Login is nil")

// RoundTrip implements [http.RoundTripper].
func (t *Login) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Login, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Login) roundTrip(l *hop.Leg) (*http.Response, error) {
	if t.Login == nil {
		hop.CloseBody(l.Request)
		return nil, errNoLogin
	}
	t.once.Do(t.begin)
	return t.send(l)
}

// SignIn signs in now, whatever the jar holds, or joins those who do. Its errors
// are those of [tokensource.Session.Renew].
func (t *Login) SignIn(ctx context.Context) error {
	if t.Login == nil {
		return errNoLogin
	}
	t.once.Do(t.begin)
	token, err := t.session.Token(ctx)
	if errors.Is(err, tokensource.ErrReauthRequired) {
		_ = t.session.Set(ctx, held()) // without a Store it does not fail
		token, err = t.session.Token(ctx)
	}
	if err != nil {
		return err
	}
	_, err = t.session.Renew(ctx, token)
	return err
}

func (t *Login) begin() {
	t.session.Grant = func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
		if err := t.Login(ctx, clientFor(ctx, t.Base, nil)); err != nil {
			return nil, fmt.Errorf("cookiejar: signing in: %w", err)
		}
		return held(), nil
	}
	t.session.Timeout, t.session.MaxForced, t.session.OnEvent = t.Timeout, t.MaxLogins, t.OnSession
	t.refresh.Rejected, t.refresh.ReplayBuffer, t.refresh.OnEvent = t.Ended, t.ReplayBuffer, t.OnEvent
	t.refresh.Audience, t.refresh.Base = t.Audience, t.Base
	t.start(func(a carry.Attempt) hop.Leg {
		if a.Again {
			a.Request = a.Request.WithContext(marks.WithNewCookies(a.Request.Context()))
		}
		a.Bare()
		return a.Leg
	})
}

// RedirectsTo returns a function for [Login.Ended]: it reports whether a
// response redirects to one of targets, which are paths on the same host, or URLs
// with another. The query does not count, nor does a slash at the end.
//
//	cookiejar.RedirectsTo("/accounts/login/", "https://sso.example.com/")
func RedirectsTo(targets ...string) func(*http.Response) bool {
	type target struct{ host, path string }
	of := func(u *url.URL) target {
		return target{strings.ToLower(u.Host), strings.TrimSuffix(u.Path, "/")}
	}
	known := make(map[target]bool)
	for _, t := range targets {
		if u, err := url.Parse(t); err == nil {
			known[of(u)] = true
		}
	}
	return func(resp *http.Response) bool {
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return false
		}
		location, err := resp.Location()
		if err != nil {
			return false
		}
		to := of(location)
		if known[to] {
			return true
		}
		local := resp.Request != nil && resp.Request.URL != nil && to.host == strings.ToLower(resp.Request.URL.Host)
		return local && known[target{"", to.path}]
	}
}

// Wrap returns a Login like t around base, with sessions of its own; it is a
// [transport.Middleware].
func (t *Login) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Login{
		Login: t.Login, Ended: t.Ended, Timeout: t.Timeout, MaxLogins: t.MaxLogins, ReplayBuffer: t.ReplayBuffer,
		OnEvent: t.OnEvent, OnSession: t.OnSession, Audience: t.Audience, Base: base,
	}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Login) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Login) CloseIdleConnections() { hop.CloseIdle(t.Base) }

// Format implements [fmt.Formatter], for every verb without what is in it.
func (t *Login) Format(f fmt.State, _ rune) { io.WriteString(f, "cookiejar.Login") }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (t *Login) MarshalText() ([]byte, error) { return []byte("cookiejar.Login"), nil }
