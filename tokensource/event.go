package tokensource

import (
	"log/slog"
	"time"

	"golang.org/x/oauth2"
)

// An EventKind says what happened to a [Session] or a [FileSource].
type EventKind string

// The kinds of Event.
const (
	// EventRenewed: a new token was obtained and published.
	EventRenewed EventKind = "renewed"
	// EventAdopted: a newer token was found in the Store and published.
	EventAdopted EventKind = "adopted"
	// EventSet: Set published a token.
	EventSet EventKind = "set"
	// EventCleared: the Session was signed out, here or in another process.
	EventCleared EventKind = "cleared"
	// EventRenewalFailed: an exchange, or the Store before it, failed for now.
	EventRenewalFailed EventKind = "renewal_failed"
	// EventReauthRequired: the grant is dead; see [ErrReauthRequired].
	EventReauthRequired EventKind = "reauth_required"
	// EventRefreshExpiring: the authorization server has said when the refresh token
	// itself expires. Lifetime is the time until then. Sign in again before.
	EventRefreshExpiring EventKind = "refresh_expiring"
	// EventRenewalLimit: renewals were stopped; see [ErrRenewalLimit].
	EventRenewalLimit EventKind = "renewal_limit"
	// EventSaveFailed: the Store is behind; memory has the token.
	EventSaveFailed EventKind = "save_failed"
	// EventSaved: the Store has caught up after EventSaveFailed.
	EventSaved EventKind = "saved"
	// EventReread: a [FileSource] has read a token, or can read the file again.
	EventReread EventKind = "reread"
	// EventReadFailed: the file of a FileSource has no token; the last good one is in
	// use.
	EventReadFailed EventKind = "read_failed"
)

// An Event tells what a [Session] or a [FileSource] has done. It holds no secret.
type Event struct {
	Kind EventKind
	// Generation counts the tokens that the Session has published, from 1. It
	// is that of the token published, else that of the current one.
	Generation uint64
	// Duration is how long the renewal, or the call, took.
	Duration time.Duration
	// RetryIn is when it will be tried again at the earliest, for failures
	// that may pass.
	RetryIn time.Duration
	// Lifetime is how long the token published is good for, or with EventRefreshExpiring
	// the refresh token; 0 if not stated.
	Lifetime time.Duration
	// Err is the cause of a failure.
	Err error
}

// LogValue implements [slog.LogValuer]. It leaves out what is zero.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	if e.Generation != 0 {
		attrs = append(attrs, slog.Uint64("generation", e.Generation))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"duration", e.Duration}, {"retry_in", e.RetryIn}, {"lifetime", e.Lifetime}} {
		if d.d != 0 {
			attrs = append(attrs, slog.Duration(d.name, d.d))
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// refreshExpiring returns the event for the refresh token of st, if it is known when
// that expires, and old did not say the same.
func refreshExpiring(st *state, old *oauth2.Token, now time.Time) (e Event, ok bool) {
	at := BindingOf(st.token).RefreshExpiry
	if at.IsZero() || st.token.RefreshToken == "" || at.Equal(BindingOf(old).RefreshExpiry) {
		return e, false
	}
	return Event{Kind: EventRefreshExpiring, Generation: st.generation, Lifetime: at.Sub(now.Round(0))}, true
}
