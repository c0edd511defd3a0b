package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

const (
	defaultMaxSessions = 10_000

	// maxKept bounds how many Sessions that have to stay one search for some to
	// drop looks at, and keptTimeout for how long at each.
	maxKept     = 8
	keptTimeout = 100 * time.Millisecond

	// maxPassed bounds for how many entries the search holds up everybody else.
	maxPassed = 64
)

// Sessions are many signed-in identities, such as the users of a server that calls
// an API for each of them. A key says which; what it is, is up to its user.
//
//	sessions := &tokensource.Sessions{New: func(userID string) *tokensource.Session {
//		return &tokensource.Session{Grant: grant, Store: &redisstore.Store{Client: client, Key: userID}}
//	}}
//	refresh := &transport.Refresh{Source: sessions.Source(userOf)}
//
// A Session is made when its key is first used. Idle, it costs what its token does:
// no goroutine and no timer. When there are more than Max, some that were not used
// for long are dropped from memory, and made again when they are used again. That
// loses nothing: a Session stays while it is in use, while its renewal is under way,
// and as long as the Store lacks its token. One without a Store stays while it has
// a refresh token, or an access token that is good. What is forgotten with a Session
// is how its last renewal has failed.
//
// Sessions must not be copied after first use. All methods are safe for concurrent
// use by multiple goroutines; fields must not be modified after the first call
// of one.
type Sessions struct {
	// New returns a new Session for key. It is required, and may be called more than
	// once for one key: the Session must not be used by others, and its Store must
	// be one for this key alone.
	New func(key string) *Session

	// Max is how many Sessions are kept in memory; zero means 10,000, negative any
	// number.
	Max int

	mu       sync.RWMutex // guards the fields below
	entries  map[string]*entry
	hand     *entry // where the search goes on, in a ring of all entries
	evicting bool
}

// An entry is one Session. Its links are guarded by Sessions.mu, and users goes up
// under that only.
type entry struct {
	key        string
	session    *Session
	next, prev *entry
	users      atomic.Int32
	used       atomic.Bool // since the search last came by
}

// Token returns the token of key's Session; see [Session.Token].
func (s *Sessions) Token(ctx context.Context, key string) (*oauth2.Token, error) {
	e, err := s.use(key)
	if err != nil {
		return nil, err
	}
	defer e.users.Add(-1)
	return e.session.Token(ctx)
}

// Renew replaces the token of key's Session; see [Session.Renew]. A token that came
// from that before it was dropped from memory is known by its text.
func (s *Sessions) Renew(ctx context.Context, key string, rejected *oauth2.Token) (*oauth2.Token, error) {
	e, err := s.use(key)
	if err != nil {
		return nil, err
	}
	defer e.users.Add(-1)
	if rejected != nil && e.session.Generation(rejected) == 0 {
		token, err := e.session.Token(ctx)
		if err != nil || token.AccessToken != rejected.AccessToken {
			return token, err
		}
		rejected = token
	}
	return e.session.Renew(ctx, rejected)
}

// Set signs key in; see [Session.Set].
func (s *Sessions) Set(ctx context.Context, key string, token *oauth2.Token) error {
	e, err := s.use(key)
	if err != nil {
		return err
	}
	defer e.users.Add(-1)
	return e.session.Set(ctx, token)
}

// Clear signs key out; see [Session.Clear].
func (s *Sessions) Clear(ctx context.Context, key string) error {
	e, err := s.use(key)
	if err != nil {
		return err
	}
	defer e.users.Add(-1)
	return e.session.Clear(ctx)
}

// SignIn signs key in by obtain, unless it is signed in; see [Session.SignIn].
func (s *Sessions) SignIn(ctx context.Context, key string, obtain Grant) error {
	e, err := s.use(key)
	if err != nil {
		return err
	}
	defer e.users.Add(-1)
	return e.session.SignIn(ctx, obtain)
}

// SignOut signs key out and has its tokens revoked; see [Session.SignOut].
func (s *Sessions) SignOut(ctx context.Context, key string, revoke func(context.Context, *oauth2.Token) error) error {
	e, err := s.use(key)
	if err != nil {
		return err
	}
	defer e.users.Add(-1)
	return e.session.SignOut(ctx, revoke)
}

// Source returns a Renewer, as for [transport.Refresh], whose identity is that of the
// context: key returns the key, and "" if nobody is signed in, which is
// [ErrNoToken]. Its errors are returned as they are.
//
// [transport.Refresh]: https://pkg.go.dev/github.com/authtrip/authtrip/transport#Refresh
func (s *Sessions) Source(key func(context.Context) (string, error)) Renewer {
	return keyed{s, key}
}

type keyed struct {
	sessions *Sessions
	key      func(context.Context) (string, error)
}

var errNilKey = errors.New("tokensource: Sessions.Source has a nil function")

func (k keyed) of(ctx context.Context) (string, error) {
	if k.key == nil {
		return "", errNilKey
	}
	key, err := k.key(ctx)
	if err == nil && key == "" {
		err = ErrNoToken
	}
	return key, err
}

func (k keyed) Token(ctx context.Context) (*oauth2.Token, error) {
	key, err := k.of(ctx)
	if err != nil {
		return nil, err
	}
	return k.sessions.Token(ctx, key)
}

func (k keyed) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	key, err := k.of(ctx)
	if err != nil {
		return nil, err
	}
	return k.sessions.Renew(ctx, key, rejected)
}

// Format implements [fmt.Formatter], for every verb without keys and tokens.
func (k keyed) Format(f fmt.State, _ rune) { io.WriteString(f, k.sessions.text()) }

// Wait waits for all Sessions, before a program exits; see [Session.Wait]. The
// error is the first of theirs, or that of ctx.
func (s *Sessions) Wait(ctx context.Context) error {
	s.mu.RLock()
	all := make([]*Session, 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e.session)
	}
	s.mu.RUnlock()
	var first error
	for _, session := range all {
		if err := session.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Len returns how many Sessions are in memory.
func (s *Sessions) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries)
}

// Format implements [fmt.Formatter], for every verb without keys and tokens.
func (s *Sessions) Format(f fmt.State, _ rune) { io.WriteString(f, s.text()) }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (s *Sessions) MarshalText() ([]byte, error) { return []byte(s.text()), nil }

func (s *Sessions) text() string { return fmt.Sprintf("tokensource.Sessions(%d)", s.Len()) }

// use returns key's entry, which stays until its users are down to 0 again.
func (s *Sessions) use(key string) (*entry, error) {
	s.mu.RLock()
	e := s.entries[key]
	if e != nil {
		e.users.Add(1)
	}
	s.mu.RUnlock()
	if e == nil {
		var err error
		if e, err = s.add(key); err != nil {
			return nil, err
		}
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e, nil
}

// add makes key's entry, unless another has.
func (s *Sessions) add(key string) (*entry, error) {
	if s.New == nil {
		return nil, errors.New("tokensource: Sessions.New is nil")
	}
	var session *Session
	if err := rescue.Do("tokensource: Sessions.New", func() error { session = s.New(key); return nil }); err != nil {
		return nil, err
	}
	if session == nil {
		return nil, errors.New("tokensource: Sessions.New returned no Session")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		e = &entry{key: key, session: session}
		s.link(e)
	}
	e.users.Add(1)
	if limit := s.limit(); limit >= 0 && len(s.entries) > limit && !s.evicting {
		s.evicting = true
		go s.evict(limit)
	}
	return e, nil
}

func (s *Sessions) limit() int {
	if s.Max == 0 {
		return defaultMaxSessions
	}
	return s.Max
}

// link has the search come by e last. s.mu is held.
func (s *Sessions) link(e *entry) {
	if s.entries == nil {
		s.entries = make(map[string]*entry)
	}
	s.entries[e.key] = e
	if s.hand == nil {
		e.next, e.prev, s.hand = e, e, e
		return
	}
	e.next, e.prev = s.hand, s.hand.prev
	e.prev.next, e.next.prev = e, e
}

// unlink drops e. s.mu is held.
func (s *Sessions) unlink(e *entry) {
	delete(s.entries, e.key)
	if e.next == e {
		s.hand = nil
		return
	}
	if s.hand == e {
		s.hand = e.next
	}
	e.prev.next, e.next.prev = e.next, e.prev
}

// evict drops entries until there are no more than limit, or too many that have to
// stay. An entry that was used since the search last came by is passed over once.
func (s *Sessions) evict(limit int) {
	for kept, passed := 0, 0; ; {
		e, n := s.candidate(limit, kept, passed)
		passed += n
		switch {
		case n == 0:
			return
		case e == nil:
			continue
		case !e.session.dispensable():
			kept++
			continue
		}
		s.mu.Lock()
		// Whoever has used it meanwhile may have started a renewal.
		if s.entries[e.key] == e && e.users.Load() == 0 && !e.used.Load() {
			s.unlink(e)
		} else {
			kept++
		}
		s.mu.Unlock()
	}
}

// candidate passes over up to maxPassed entries, n, in search of one that was not
// used for a round. n is 0 when the search is over.
func (s *Sessions) candidate(limit, kept, passed int) (e *entry, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) <= limit || kept >= maxKept || passed > 2*len(s.entries) {
		s.evicting = false
		return nil, 0
	}
	for n = range maxPassed {
		e := s.hand
		s.hand = e.next
		if !e.used.Swap(false) && e.users.Load() == 0 {
			return e, n + 1
		}
	}
	return nil, maxPassed
}

// dispensable reports whether nothing is lost with s.
func (s *Session) dispensable() bool {
	st, now := s.load(), time.Now().UnixNano()
	switch {
	case s.Store == nil && st.token != nil && (st.token.RefreshToken != "" || now < st.usable):
		return false
	case st.unsaved && now < st.saving: // so it is not to be tried yet
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), keptTimeout)
	defer cancel()
	return s.Wait(ctx) == nil && !s.load().unsaved
}
