package transport

import (
	"log/slog"
	"time"
)

// An EventKind says what happened to a request.
type EventKind string

// The kinds of Event.
const (
	// EventWithheld: the Audience does not include the request, which goes on
	// without the token.
	EventWithheld EventKind = "withheld"
	// EventRejected: the token was rejected and a renewal is asked for.
	EventRejected EventKind = "rejected"
	// EventStepUp: the token does not go far enough and OnStepUp is asked.
	EventStepUp EventKind = "step-up"
	// EventReplayed: the request was sent again with a new token.
	EventReplayed EventKind = "replayed"
	// EventNotReplayable: the token was rejected, but the request's body cannot
	// be sent again. The rejection is returned; the next request renews.
	EventNotReplayable EventKind = "not replayable"
	// EventUnchanged: the Source has nothing newer. The rejection is returned.
	EventUnchanged EventKind = "unchanged"
	// EventRenewalFailed: the caller gets a RenewalError.
	EventRenewalFailed EventKind = "renewal failed"
)

// An Event tells what a [Refresh] has done with one request. It holds no
// secret.
type Event struct {
	Kind EventKind
	// StatusCode is that of the rejection; for EventReplayed, of the answer to
	// the second attempt, 0 if that has failed.
	StatusCode int
	// Generation is the number of the token that was rejected, or sent again
	// with, if the Source numbers them as tokensource.Session does.
	Generation uint64
	// Duration is how long the request waited for the renewal.
	Duration time.Duration
	// Err is why there is no new token, or no second answer.
	Err error
}

// LogValue implements [slog.LogValuer]. It leaves out what is zero.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	if e.StatusCode != 0 {
		attrs = append(attrs, slog.Int("status", e.StatusCode))
	}
	if e.Generation != 0 {
		attrs = append(attrs, slog.Uint64("generation", e.Generation))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", e.Duration))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}
