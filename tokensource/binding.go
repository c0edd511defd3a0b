package tokensource

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/authtrip/authtrip/internal/extra"
	"golang.org/x/oauth2"
)

// A Binding is what a [Grant] knows of a token beyond the server's answer. A
// [Record] keeps it. An empty field means unknown: on a renewal the previous token's
// value stays.
type Binding struct {
	// Issuer and ClientID name the authorization server and the client that the
	// refresh token belongs to. A Grant that knows its own, as RefreshToken knows the
	// client, does not send a refresh token of another.
	Issuer, ClientID string

	// Requested and Granted are scopes.
	Requested, Granted []string

	// Thumbprint is that of the key to which the token is bound (RFC 7638).
	Thumbprint string

	// RefreshExpiry is when the refresh token itself expires.
	RefreshExpiry time.Time
}

// Bind returns a copy of t with b attached, for a [Grant] to return. It does not
// merge: b replaces the Binding of t.
//
// The copy keeps t's extra fields. If t is from another package, which does not let
// them be listed, the copy keeps those that a [Session] knows by name.
func Bind(t *oauth2.Token, b Binding) *oauth2.Token {
	b.Requested, b.Granted = slices.Clone(b.Requested), slices.Clone(b.Granted)
	return extra.Attach(t, b, knownFields...)
}

// BindingOf returns the Binding of t. It is the zero Binding if t has none, or is
// nil. Its slices must not be modified.
func BindingOf(t *oauth2.Token) Binding {
	if t == nil {
		return Binding{}
	}
	b, _ := extra.Attached(t).(Binding)
	return b
}

// over returns b with the fields of old where b has none.
func (b Binding) over(old Binding) Binding {
	for _, s := range []struct{ to, from *string }{
		{&b.Issuer, &old.Issuer}, {&b.ClientID, &old.ClientID}, {&b.Thumbprint, &old.Thumbprint},
	} {
		if *s.to == "" {
			*s.to = *s.from
		}
	}
	if len(b.Requested) == 0 {
		b.Requested = old.Requested
	}
	if len(b.Granted) == 0 {
		b.Granted = old.Granted
	}
	if b.RefreshExpiry.IsZero() {
		b.RefreshExpiry = old.RefreshExpiry
	}
	return b
}

func (b Binding) isZero() bool {
	return b.Issuer == "" && b.ClientID == "" && b.Thumbprint == "" &&
		len(b.Requested) == 0 && len(b.Granted) == 0 && b.RefreshExpiry.IsZero()
}

// knownFields are extra fields that a Session keeps of tokens made by other
// packages. x/oauth2 cannot list the extra fields of a token.
var knownFields = []string{
	"id_token", "scope", "refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in",
	"ext_expires_in", "issued_token_type", "not-before-policy", "session_state", "sub", "user_id", "account_id",
	"instance_url", "id", "signature", "issued_at", "sfdc_community_url", "api_domain", "api_endpoint", "resource_server",
	"team", "authed_user", "bot_user_id", "app_id", "workspace_id", "bot_id", "owner", "open_id", "stripe_user_id",
}

// ownField reports whether a member of a record is not an extra field.
func ownField(name string) bool {
	switch name {
	case "access_token", "token_type", "refresh_token", "expiry", "expires_in", memberName:
		return true
	}
	return false
}

// dress returns a copy of t, with a new identity, that carries in a form that can be
// listed its extra fields and its Binding. Where they say nothing, those of old
// stay; old may be nil. now is when t was obtained.
func dress(t, old *oauth2.Token, names []string, now time.Time) *oauth2.Token {
	fresh := extra.Fields(t, append(slices.Clip(knownFields), names...)...)
	binding := BindingOf(t)
	if d := refreshLifetime(fresh); d > 0 && binding.RefreshExpiry.IsZero() {
		binding.RefreshExpiry = now.Round(0).Add(d)
	}
	fields := make(map[string]any)
	if old != nil {
		// invariant: extra fields outlive a renewal
		maps.Copy(fields, extra.Fields(old))
		binding = binding.over(BindingOf(old))
	}
	for name, v := range fresh {
		if !ownField(name) {
			fields[name] = v
		}
	}
	return clothe(t, fields, binding)
}

// clothe returns a copy of t with fields and b alone.
func clothe(t *oauth2.Token, fields map[string]any, b Binding) *oauth2.Token {
	t = t.WithExtra(nil)
	if len(fields) > 0 {
		t = extra.With(t, fields)
	}
	if !b.isZero() {
		t = extra.Attach(t, b)
	}
	return t
}

// refreshLifetime is what a response says of the refresh token's own lifetime, zero
// if it says nothing. Keycloak and GitHub, among others, do.
func refreshLifetime(fields map[string]any) time.Duration {
	for _, name := range []string{"refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"} {
		if d := lifetime(fields[name]); d > 0 {
			return d
		}
	}
	return 0
}

func scopeText(scopes []string) string { return strings.Join(scopes, " ") }
