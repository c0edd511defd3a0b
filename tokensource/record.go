package tokensource

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/authtrip/authtrip/internal/extra"
	"golang.org/x/oauth2"
)

const (
	memberName    = "authtrip"
	recordVersion = 1

	// maxRecord bounds a record, ID token and the members of other programs included.
	maxRecord = 1 << 20

	// maxSerial is the largest integer that every JSON parser reads exactly.
	maxSerial = 1<<53 - 1

	// maxYear keeps times within what JSON can hold, with room to go above them.
	maxYear = 9000
)

var (
	// ErrUnreadable says that a [Store] holds something that is not a record: it is cut
	// off, or sealed by an unknown key. A Store whose Load wraps it lets
	// [Session.Set] and [Session.SignOut] replace what it holds. A renewal that
	// would spend a refresh token does not start.
	ErrUnreadable = errors.New("tokensource: the record cannot be read")

	errTooLarge     = fmt.Errorf("the record is larger than %d MiB", maxRecord>>20)
	errNewerVersion = errors.New("tokensource: a newer version of authtrip wrote the record: upgrade this program, or remove the record and sign in again")
)

// A Change says what a [Session] did when it wrote a [Record].
type Change string

// The changes. An empty Change means that another program wrote the record.
const (
	ChangeSignIn  Change = "sign_in"
	ChangeRenewal Change = "renewal"
	ChangeSignOut Change = "sign_out"
)

// A Record is what a [Store] keeps of a [Session]. [ParseRecord] makes it from the
// Store's bytes.
//
// Records have an order: Signed, then Serial, then At decide which of two is newer.
// A sign-in or a sign-out is therefore newer than each renewal of the record that it
// replaced.
//
// A Record must not be modified.
type Record struct {
	// Token has the extra fields and the [Binding] too. It is nil after a sign-out, and
	// where nobody has signed in.
	Token *oauth2.Token

	// Change is what wrote the record.
	Change Change

	// Signed is the time of the last sign-in or sign-out.
	Signed time.Time

	// Serial counts the renewals since Signed.
	Serial uint64

	// At is the time of this change.
	At time.Time

	lease *lease         // nil: none
	rest  map[string]any // members of the member authtrip that this version does not know
}

// A lease says that a process is signing in.
type lease struct {
	owner string
	until time.Time
}

// ParseRecord reads what a [Store] holds: what a Session has written, or the JSON of
// an [oauth2.Token] from any other program. No bytes, white space and null give the
// zero Record.
//
// It accepts what other languages write: a byte order mark, expires_in as text or as
// a fraction, and an expiry without a time zone, which is taken as UTC.
//
// The error wraps [ErrUnreadable], or says that a newer version of authtrip wrote
// the record. It holds nothing of what was read.
func ParseRecord(text []byte) (*Record, error) {
	if len(text) > maxRecord {
		return nil, fmt.Errorf("%w: it is larger than %d MiB", ErrUnreadable, maxRecord>>20)
	}
	text = document(text)
	switch {
	case len(text) == 0, string(text) == "null":
		return &Record{}, nil
	case isSealed(text):
		return nil, fmt.Errorf("%w: it is sealed: use Sealed with its key", ErrUnreadable)
	}
	members, err := extra.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not a JSON object", ErrUnreadable)
	}
	token, err := parseFields(members)
	if err != nil {
		return nil, fmt.Errorf("%w: it %w", ErrUnreadable, err)
	}
	r, binding, err := parseMember(members[memberName], token)
	if err != nil {
		return nil, err
	}
	if r.Change == ChangeSignOut || token.AccessToken == "" && token.RefreshToken == "" {
		return r, nil
	}
	maps.DeleteFunc(members, func(name string, _ any) bool { return ownField(name) })
	r.Token = clothe(token, members, binding)
	return r, nil
}

// parseFields reads x/oauth2's own fields. Its errors complete a sentence about what was
// read, and repeat nothing of it.
func parseFields(members map[string]any) (*oauth2.Token, error) {
	t := new(oauth2.Token)
	for _, f := range []struct {
		name string
		to   *string
	}{{"access_token", &t.AccessToken}, {"token_type", &t.TokenType}, {"refresh_token", &t.RefreshToken}} {
		switch v := members[f.name].(type) {
		case nil:
		case string:
			*f.to = v
		default:
			return nil, fmt.Errorf("has a member %s that is not a string", f.name)
		}
	}
	if err := wellFormed(t); err != nil {
		return nil, fmt.Errorf("has %w", err)
	}
	if text, ok := members["expiry"].(string); ok {
		t.Expiry = parseExpiry(text)
	}
	t.ExpiresIn = int64(lifetime(members["expires_in"]) / time.Second)
	return t, nil
}

// parseExpiry reads an expiry, and returns the zero time if it cannot: an unknown
// expiry does no harm, because a server rejects a token that has expired.
func parseExpiry(text string) time.Time {
	text = strings.Replace(strings.TrimSpace(text), " ", "T", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700"} {
		// A fraction needs no place in a layout.
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 1 && t.Year() < maxYear {
			return t.UTC()
		}
	}
	return time.Time{}
}

// parseMember reads the member authtrip. A member that does not belong to the token,
// or makes no sense, counts as none: then another program has written the record.
func parseMember(v any, token *oauth2.Token) (*Record, Binding, error) {
	m, _ := v.(map[string]any)
	if m == nil {
		return &Record{}, Binding{}, nil
	}
	if version, ok := number(m["version"]); !ok || version < recordVersion {
		return &Record{}, Binding{}, nil
	} else if version > recordVersion {
		return nil, Binding{}, errNewerVersion
	}
	if m["of"] != of(token) {
		return &Record{}, Binding{}, nil
	}
	r, binding, ok := readMember(m)
	if !ok {
		return &Record{}, Binding{}, nil
	}
	return r, binding, nil
}

func readMember(m map[string]any) (*Record, Binding, bool) {
	d := memberReader{m, true}
	r := &Record{
		Change: Change(d.text("change")), Signed: d.time("signed"), Serial: d.serial(), At: d.time("at"),
	}
	b := Binding{
		Issuer: d.text("issuer"), ClientID: d.text("client_id"), Thumbprint: d.text("jkt"),
		Requested: d.scopes("requested_scope"), Granted: d.scopes("scope"),
		RefreshExpiry: d.time("refresh_expiry"),
	}
	if l, ok := m["lease"].(map[string]any); ok {
		d := memberReader{l, true}
		r.lease = &lease{d.text("owner"), d.time("until")}
	}
	switch r.Change {
	case ChangeSignIn, ChangeRenewal, ChangeSignOut:
	case "": // nobody has signed in yet, and somebody may be about to
		d.ok = d.ok && r.Signed.IsZero() && r.lease != nil
	default:
		d.ok = false
	}
	for _, name := range []string{
		"version", "of", "change", "signed", "serial", "at", "issuer", "client_id", "jkt",
		"requested_scope", "scope", "refresh_expiry", "lease",
	} {
		delete(m, name)
	}
	if len(m) > 0 {
		r.rest = m
	}
	return r, b, d.ok
}

// A memberReader reads members of a type that is known. ok is false once one had
// another.
type memberReader struct {
	m  map[string]any
	ok bool
}

func (d *memberReader) text(name string) string {
	s, ok := d.m[name].(string)
	d.ok = d.ok && (ok || d.m[name] == nil)
	return s
}

func (d *memberReader) scopes(name string) []string {
	if text := d.text(name); text != "" {
		return strings.Fields(text)
	}
	return nil
}

func (d *memberReader) time(name string) time.Time {
	s := d.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	d.ok = d.ok && err == nil && t.Year() < maxYear
	return t.UTC()
}

func (d *memberReader) serial() uint64 {
	if d.m["serial"] == nil {
		return 0
	}
	n, ok := number(d.m["serial"])
	d.ok = d.ok && ok && n >= 0 && n <= maxSerial && n == float64(uint64(n))
	if !d.ok {
		return 0
	}
	return uint64(n)
}

// number returns a JSON number. One that is too large for a float64 is infinite.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case json.Number:
		f, err := strconv.ParseFloat(v.String(), 64)
		return f, err == nil || errors.Is(err, strconv.ErrRange)
	}
	return 0, false
}

// of tells whether the member authtrip belongs to the token beside it. t may be nil.
func of(t *oauth2.Token) string { return fmt.Sprintf("%016x", mark(t)) }

// mark is of as a number.
func mark(t *oauth2.Token) uint64 {
	if t == nil {
		t = new(oauth2.Token)
	}
	sum := sha256.Sum256([]byte(t.AccessToken + "\x00" + t.RefreshToken))
	return binary.BigEndian.Uint64(sum[:])
}

// NewRecord returns a record of a sign-in now, to seed a [Store] with token. A nil token
// gives no bytes, which count as no record. An extra field that JSON cannot hold is left
// out, together with the others.
func NewRecord(token *oauth2.Token) []byte {
	if token == nil {
		return nil
	}
	now := time.Now()
	r := &Record{Token: dress(token, nil, nil, now), Change: ChangeSignIn, Signed: utc(now), At: utc(now)}
	text, err := r.bytes()
	if err != nil {
		r.Token = clothe(token, nil, BindingOf(token))
		text, _ = r.bytes()
	}
	return text
}

// bytes returns r as JSON on one line.
func (r *Record) bytes() ([]byte, error) {
	members := make(map[string]any)
	token := r.Token
	if token != nil {
		maps.Copy(members, extra.Fields(token))
		members["access_token"] = token.AccessToken
		put(members, "token_type", token.TokenType)
		put(members, "refresh_token", token.RefreshToken)
		if !token.Expiry.IsZero() && token.Expiry.Year() < maxYear {
			members["expiry"] = token.Expiry.Round(0)
		}
		put(members, "expires_in", token.ExpiresIn)
	}
	members[memberName] = r.member()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(members); err != nil {
		return nil, fmt.Errorf("the token cannot be written as JSON: %w", err)
	}
	if text.Len() > maxRecord {
		return nil, errTooLarge
	}
	return text.Bytes(), nil
}

func (r *Record) member() map[string]any {
	m := make(map[string]any)
	maps.Copy(m, r.rest)
	m["version"], m["of"] = recordVersion, of(r.Token)
	put(m, "change", r.Change)
	put(m, "serial", r.Serial)
	b := BindingOf(r.Token)
	if b.RefreshExpiry.Year() >= maxYear {
		b.RefreshExpiry = time.Time{} // some servers mean "never" by a time that nobody reads
	}
	put(m, "issuer", b.Issuer)
	put(m, "client_id", b.ClientID)
	put(m, "jkt", b.Thumbprint)
	put(m, "requested_scope", scopeText(b.Requested))
	put(m, "scope", scopeText(b.Granted))
	for name, t := range map[string]time.Time{"signed": r.Signed, "at": r.At, "refresh_expiry": b.RefreshExpiry} {
		if !t.IsZero() {
			m[name] = utc(t).Format(time.RFC3339Nano)
		}
	}
	if r.lease != nil {
		m["lease"] = map[string]any{"owner": r.lease.owner, "until": utc(r.lease.until).Format(time.RFC3339Nano)}
	}
	return m
}

// put adds a member unless its value is zero.
func put[T comparable](members map[string]any, name string, v T) {
	if v != *new(T) {
		members[name] = v
	}
}

func utc(t time.Time) time.Time { return t.Round(0).UTC() }

// none reports whether r says nothing of who is signed in. r may be nil.
func (r *Record) none() bool { return r == nil || r.Token == nil && r.Change != ChangeSignOut }

// foreign reports whether another program wrote r.
func (r *Record) foreign() bool { return r.Change == "" && r.Token != nil }

// compare orders records: it is positive if r is newer than old.
func (r *Record) compare(old *Record) int {
	return cmp.Or(
		// invariant: a sign-in or sign-out is newer than every renewal before it
		r.Signed.Compare(old.Signed),
		cmp.Compare(r.Serial, old.Serial),
		// invariant: of two renewals of one record, the later one is newer
		r.At.Compare(old.At),
		cmp.Compare(mark(r.Token), mark(old.Token)),
	)
}

// above returns a time for a record: now, or just after old if the clock is behind
// that.
func above(old, now time.Time) time.Time {
	if now = utc(now); now.After(old) {
		return now
	}
	return old.Add(1)
}

// signed returns the record of a sign-in with token, or of a sign-out if that is nil.
// It is above each of those seen, which may be nil.
func signed(token *oauth2.Token, now time.Time, seen ...*Record) *Record {
	r := &Record{Token: token, Change: ChangeSignIn, Signed: utc(now)}
	if token == nil {
		// invariant: a sign-out keeps nothing of the record before
		r.Change = ChangeSignOut
	}
	for _, old := range seen {
		if old != nil {
			// invariant: a sign-in is newer than each record seen, whatever the clock says
			r.Signed = above(old.Signed, r.Signed)
		}
	}
	r.At = r.Signed
	return r
}

// placed returns the record by which a token of another program, which r is, gets its
// place in the order. It is no sign-in: a refresh token that was refused stays dead.
func (r *Record) placed(now time.Time) *Record {
	p := signed(r.Token, now, r)
	p.Change, p.rest = ChangeRenewal, r.rest
	return p
}

// renewed returns the record of a renewal of r, which may be nil, that began at start.
// A renewal of a record of another program, or of none, ranks like a sign-in: nobody
// knows what renewals went before.
func (r *Record) renewed(token *oauth2.Token, start time.Time) *Record {
	switch {
	case r.none():
		return &Record{Token: token, Change: ChangeRenewal, Signed: utc(start), At: utc(start)}
	case r.foreign() || r.Serial >= maxSerial:
		signed := above(r.Signed, start)
		return &Record{Token: token, Change: ChangeRenewal, Signed: signed, At: signed, rest: r.rest}
	}
	// invariant: a renewal keeps Signed and raises Serial
	return &Record{
		Token: token, Change: ChangeRenewal, Signed: r.Signed, Serial: r.Serial + 1, At: above(r.At, start), rest: r.rest,
	}
}

// String says what r is, without its token.
func (r Record) String() string {
	return fmt.Sprintf("tokensource.Record(%s, signed %s, serial %d)", cmp.Or(r.Change, "foreign"), r.Signed.Format(time.RFC3339), r.Serial)
}

// Format implements [fmt.Formatter], for every verb without the token.
func (r Record) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
