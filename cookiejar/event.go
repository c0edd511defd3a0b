package cookiejar

import (
	"log/slog"
	"net/url"
)

// An EventKind says what happened to a cookie.
type EventKind string

// The kinds of Event.
const (
	// EventSet: a cookie of a new identity is in the Jar.
	EventSet EventKind = "set"
	// EventReplaced: it has taken the place of an older one.
	EventReplaced EventKind = "replaced"
	// EventRemoved: a cookie has gone.
	EventRemoved EventKind = "removed"
	// EventRejected: what was received did not get in.
	EventRejected EventKind = "rejected"
)

// A Reason is why a cookie was rejected or removed.
type Reason string

// Reasons to reject what was received. The sections are those of RFC 6265bis.
const (
	// ReasonURL: the response's URL is none of http or https, or has no host.
	ReasonURL Reason = "the URL has no cookies"
	// ReasonControl: there is a control character in the field (5.6), or in one
	// made by hand what would end the name or the value.
	ReasonControl Reason = "control character"
	// ReasonEmpty: neither a name nor a value (5.7).
	ReasonEmpty Reason = "neither name nor value"
	// ReasonNameless: there is no name, and Options.RFC6265 is set.
	ReasonNameless Reason = "no name"
	// ReasonSize: name and value are longer than 4096 octets (5.6).
	ReasonSize Reason = "too large"
	// ReasonDomain: the Domain attribute does not include the host (5.7).
	ReasonDomain Reason = "domain is not the host's"
	// ReasonPublicSuffix: the Domain attribute is one under which everybody can
	// have a host (5.7).
	ReasonPublicSuffix Reason = "domain is a public suffix"
	// ReasonInsecure: Secure is not for what comes over plain http (5.7).
	ReasonInsecure Reason = "Secure over plain http"
	// ReasonOverwrite: over plain http, a Secure cookie is not replaced (5.7).
	ReasonOverwrite Reason = "a Secure cookie would be overwritten"
	// ReasonSameSite: SameSite=None is for Secure cookies (5.7).
	ReasonSameSite Reason = "SameSite=None without Secure"
	// ReasonOvertaken: the request was sent by a [Transport] before a [Login] whose
	// cookie this would replace.
	ReasonOvertaken Reason = "a login has set it since"
	// ReasonPrefix: the name begins with __Secure-, __Host-, __Http- or
	// __Host-Http-, or the value of a nameless cookie does, and the cookie is not
	// what that promises (5.4).
	ReasonPrefix Reason = "attributes do not fit the name's prefix"
)

// Reasons to remove a cookie, some of which are also reasons to reject.
const (
	// ReasonExpired: by time, or since the server said so.
	ReasonExpired Reason = "expired"
	// ReasonEvicted: there were too many.
	ReasonEvicted Reason = "evicted"
	// ReasonDeleted: by Delete.
	ReasonDeleted Reason = "deleted"
	// ReasonCleared: by Clear, ClearHost or ClearSession, perhaps while the
	// response was on its way.
	ReasonCleared Reason = "cleared"
)

// An Event tells what has happened to a cookie. It prints without the
// cookie's value.
type Event struct {
	Kind EventKind
	// Cookie is the cookie, or of a rejected one what could be read.
	Cookie Cookie
	// Host is the one whose response it was; empty if it was none.
	Host string
	// Reason is why, for EventRemoved and EventRejected.
	Reason Reason
}

// LogValue implements [slog.LogValuer]. It leaves out what is empty.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind)), slog.String("cookie", e.Cookie.describe())}
	if e.Host != "" {
		attrs = append(attrs, slog.String("host", e.Host))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", string(e.Reason)))
	}
	return slog.GroupValue(attrs...)
}

// emit tells OnEvent, with no lock held.
func (j *Jar) emit(events []Event) {
	for _, e := range events {
		func() {
			defer func() { _ = recover() }()
			j.o.OnEvent(e)
		}()
	}
}

// hostOf is for events.
func hostOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Hostname()
}
