package cookiejar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A document is what Encode writes.
type document struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Cookies []saved   `json:"cookies"`
	Deleted []grave   `json:"deleted,omitempty"`
	Cleared []cleared `json:"cleared,omitempty"`
}

const (
	format  = "authtrip cookies"
	version = 1

	maxDocument = 64 << 20
)

// A saved cookie is one in a document.
type saved struct {
	identity
	Value    octets `json:"value"`
	Secure   bool   `json:"secure,omitempty"`
	HTTPOnly bool   `json:"http_only,omitempty"`
	SameSite string `json:"same_site,omitempty"`
	Expires  moment `json:"expires,omitzero"`
	Created  moment `json:"created"`
	Updated  moment `json:"updated"`
	Accessed moment `json:"accessed"`
}

// An identity is that of a cookie.
type identity struct {
	Name     octets `json:"name"`
	Domain   string `json:"domain"`
	HostOnly bool   `json:"host_only,omitempty"`
	Path     octets `json:"path"`
}

// A grave is where a cookie was, for processes that have it still.
type grave struct {
	identity
	At moment `json:"at"`
}

// A cleared scope is the same for many.
type cleared struct {
	Host    string `json:"host,omitempty"`
	Session bool   `json:"session,omitempty"`
	At      moment `json:"at"`
}

// A moment is a time in Unix nanoseconds, and in JSON as RFC 3339 has it.
type moment int64

func (m moment) MarshalText() ([]byte, error) {
	return time.Unix(0, int64(m)).UTC().AppendFormat(nil, time.RFC3339Nano), nil
}

func (m *moment) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return errors.New("cookiejar: a time is not one of RFC 3339, or of no cookie")
	}
	*m = moment(t.UnixNano())
	return nil
}

// Octets are a string in JSON if they are UTF-8, as they need not be.
type octets string

type base64Octets struct {
	Base64 []byte `json:"base64"`
}

func (o octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(base64Octets{[]byte(o)})
}

func (o *octets) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		var b base64Octets
		err := json.Unmarshal(text, &b)
		*o = octets(b.Base64)
		return err
	}
	return json.Unmarshal(text, (*string)(o))
}

var sameSites = map[string]http.SameSite{
	"": http.SameSiteDefaultMode, "none": http.SameSiteNoneMode, "lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode,
}

func sameSiteName(s http.SameSite) string {
	for name, mode := range sameSites {
		if mode == s {
			return name
		}
	}
	return ""
}

func identityOf(e *entry) identity {
	return identity{Name: octets(e.name), Domain: e.domain, HostOnly: e.hostOnly, Path: octets(e.path)}
}

func (e *entry) saved() saved {
	s := saved{
		identity: identityOf(e), Value: octets(e.value()), Secure: e.secure, HTTPOnly: e.httpOnly, SameSite: sameSiteName(e.sameSite),
		Created: moment(e.created), Updated: moment(e.updated), Accessed: moment(e.accessed.Load()),
	}
	if !e.session() {
		s.Expires = moment(e.expires)
	}
	return s
}

// entry returns the cookie that s is.
func (s *saved) entry() *entry {
	e := &entry{
		key: key{name: string(s.Name), path: string(s.Path), hostOnly: s.HostOnly}, domain: s.Domain,
		secure: s.Secure, httpOnly: s.HTTPOnly, sameSite: sameSites[strings.ToLower(s.SameSite)],
		expires: never, created: int64(s.Created), updated: int64(s.Updated),
	}
	if e.sameSite == 0 {
		e.sameSite = http.SameSiteDefaultMode
	}
	e.setValue(string(s.Value))
	if s.Expires != 0 {
		e.expires = int64(s.Expires)
	}
	e.accessed.Store(int64(s.Accessed))
	return e
}

// Encode writes all cookies of the Jar to w, session cookies too, as JSON. What it
// writes are credentials.
func (j *Jar) Encode(w io.Writer) error {
	d := document{Cookies: []saved{}}
	for _, e := range j.entries() {
		d.Cookies = append(d.Cookies, e.saved())
	}
	return d.write(w)
}

func (d *document) write(w io.Writer) error {
	d.Format, d.Version = format, version
	// A cookie a line: a document can be looked at, and a difference too.
	text, err := json.MarshalIndent(d, "", "\t")
	if err != nil {
		return fmt.Errorf("cookiejar: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// Decode adds to the Jar the cookies that Encode has written. Of two of one
// identity it keeps the one that was updated last. An error means that nothing was
// added. A cookie that the Jar would not have accepted from a server is
// rejected by itself.
func (j *Jar) Decode(r io.Reader) error {
	d, err := readDocument(r)
	if err != nil {
		return err
	}
	c := change{loud: j.o.OnEvent != nil}
	j.mu.Lock()
	j.load(d.Cookies, &c)
	book := j.book
	j.mu.Unlock()
	c.done(j, book)
	return nil
}

var (
	errFormat = errors.New("cookiejar: not a document that Encode has written")
	errLarge  = errors.New("cookiejar: the document is larger than 64 MiB")
)

func readDocument(r io.Reader) (*document, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cookiejar: reading: %w", err)
	case len(text) > maxDocument:
		return nil, errLarge
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		// The decoder's own words may repeat what it has read.
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("%w: at byte %d", errFormat, syntax.Offset)
		}
		return nil, errFormat
	}
	switch {
	case d.Format != format:
		return nil, errFormat
	case d.Version != version:
		return nil, fmt.Errorf("cookiejar: the document is of version %d, and known is %d", d.Version, version)
	}
	return &d, nil
}

// load adds what was saved elsewhere. j.mu is held.
func (j *Jar) load(all []saved, c *change) {
	for i := range all {
		e := all[i].entry()
		switch reason := j.readmit(e); reason {
		case "":
		case ReasonExpired:
			continue
		default:
			c.note(EventRejected, e, reason)
			continue
		}
		d := j.domains[e.domain]
		at := slices.IndexFunc(d, func(o *entry) bool { return o.key == e.key })
		if at >= 0 && d[at].updated >= e.updated {
			// The older of two may have been used later.
			d[at].accessed.Store(max(d[at].accessed.Load(), e.accessed.Load()))
			continue
		}
		j.put(e, always, c)
	}
}

// readmit reports why e would not have been accepted from a server. j.mu is held.
func (j *Jar) readmit(e *entry) Reason {
	now := time.Now()
	at := now.UnixNano()
	switch host, ok := hostIn(e.domain); {
	case hasControl(e.name + e.value()), strings.ContainsAny(e.name, "=;"), strings.Contains(e.value(), ";"), hasControl(e.path):
		return ReasonControl
	case e.pair == "":
		return ReasonEmpty
	case e.name == "" && j.o.RFC6265:
		return ReasonNameless
	case len(e.name)+len(e.value()) > maxPair || len(e.path) > maxAttribute:
		return ReasonSize
	case !ok || host != e.domain || !strings.HasPrefix(e.path, "/"):
		return ReasonURL
	case !e.hostOnly && isIP(host):
		return ReasonDomain
	case !e.hostOnly && j.isPublicSuffix(host):
		return ReasonPublicSuffix
	case e.sameSite == http.SameSiteNoneMode && !e.secure:
		return ReasonSameSite
	case !keepsPromise(e, true):
		return ReasonPrefix
	case e.expires <= at:
		return ReasonExpired
	}
	if !e.session() {
		e.expires = min(e.expires, now.Add(maxAge).UnixNano())
	}
	e.created = min(e.created, e.updated)
	e.accessed.Store(min(e.accessed.Load(), at))
	j.clock = max(j.clock, e.updated) // what is set from now on is newer, whatever the clocks say
	return ""
}
