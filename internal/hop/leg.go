package hop

import (
	"io"
	"maps"
	"net/http"
	"net/url"
)

// maxFields is how many fields a Leg has room for. A copy is made early for more.
const maxFields = 6

// A Leg is a request on its way through a run of decorators, one of ours inside
// the other: the request that the outermost was given, which nobody modifies, and what they
// want to send beyond it. The copy that has both is made where the run ends,
// once, and a decorator that sends twice keeps a copy of the Leg. The zero value with a
// Request is that request as it is.
type Leg struct {
	Request *http.Request

	change change
	query  string
	names  *nameSet // those in Request's header, once somebody has asked
	n      int
	fields [maxFields]*Field
}

type change uint8

const (
	bare    change = 1 << iota // send a copy, whatever else there is
	queried                    // query replaces the URL's RawQuery
)

// A Field is a header field that is finished, and shared between requests. Name is
// in canonical spelling, and the capacity of Values is its length.
type Field struct {
	Name   string
	Values []string
}

// NewField returns a field with one value, in one allocation.
func NewField(name, value string) *Field {
	f := &struct {
		Field
		value [1]string
	}{Field{Name: name}, [1]string{value}}
	f.Values = f.value[:]
	return &f.Field
}

// Own reports whether the caller itself put a credential into the header field
// name, in canonical spelling: on this hop or on the first of its redirect chain. What
// a decorator has put there counts as the caller's own.
func (l *Leg) Own(name string) bool {
	if l.field(name) >= 0 {
		return true
	}
	var ignored string
	if l.Request.Response != nil && name == Authorization {
		ignored = userinfo(l.Request)
	}
	own := l.mayHave(name) && has(l.Request.Header, name, ignored)
	return own || l.Request.Response != nil && firstHas(l.Request, name)
}

// mayHave reports whether Request's header may have the field name.
func (l *Leg) mayHave(name string) bool {
	if l.names == nil {
		l.names = namesOf(l.Request.Header)
	}
	return l.names.mayHave(name)
}

// field returns the index of what a decorator has put into the field name, or -1.
func (l *Leg) field(name string) int {
	for i, f := range l.fields[:l.n] {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// Cookies returns the values of l's Cookie fields, which must not be modified.
func (l *Leg) Cookies() []string {
	if i := l.field(Cookie); i >= 0 {
		return l.fields[i].Values
	}
	if !l.mayHave(Cookie) {
		return nil
	}
	return Cookies(l.Request.Header)
}

// Query returns the RawQuery of l's URL, which is not nil.
func (l *Leg) Query() string {
	if l.change&queried != 0 {
		return l.query
	}
	return l.Request.URL.RawQuery
}

// Set puts f in the place of any field of that name, in any spelling.
func (l *Leg) Set(f *Field) {
	if l.n == 0 { // mostly, and so little is inlined
		l.fields[0], l.n = f, 1
		return
	}
	l.set(f)
}

func (l *Leg) set(f *Field) {
	if i := l.field(f.Name); i >= 0 {
		l.fields[i] = f
		return
	}
	if l.n == maxFields {
		*l = Leg{Request: l.Build()}
	}
	l.fields[l.n] = f
	l.n++
}

// SetQuery replaces the RawQuery of l's URL.
func (l *Leg) SetQuery(query string) { l.query, l.change = query, l.change|queried }

// SetBody replaces l's body.
func (l *Leg) SetBody(body io.ReadCloser) {
	// Bodies may be of a type that cannot be compared.
	if HasBody(l.Request) || body != nil && body != http.NoBody {
		r := *l.Request
		r.Body, l.Request = body, &r
	}
}

// Bare has l sent as a copy even if nothing is added.
func (l *Leg) Bare() { l.change |= bare }

// Build returns what is to be sent. Only the struct and the header map are new:
// Request.Clone would copy the Trailer too, and what the caller fills in while its
// body is read would be lost.
func (l *Leg) Build() *http.Request {
	if l.n == 0 && l.change == 0 {
		return l.Request
	}
	var r *http.Request
	if l.change&queried == 0 {
		r = new(http.Request)
		*r = *l.Request
	} else {
		r = withQuery(l.Request, l.query)
	}
	h := r.Header
	if l.n == 0 || h != nil && len(h)+l.n <= 8 { // any map's room
		h = maps.Clone(h)
	} else {
		h = roomy(h, l.n)
	}
	for _, f := range l.fields[:l.n] {
		if l.mayHave(f.Name) {
			remove(h, f.Name)
		}
		h[f.Name] = f.Values
	}
	r.Header = h
	return r
}

// remove deletes the field name from h, in any spelling.
func remove(h http.Header, name string) {
	for key := range h {
		if spells(key, name) {
			delete(h, key)
		}
	}
}

// roomy returns a copy of h that more fields fit into. maps.Clone is the fastest,
// but makes a map as full as h is; to grow costs more than to begin with room for all.
func roomy(h http.Header, more int) http.Header {
	room := 8
	for room < len(h) {
		room = max(14, 2*room-2)
	}
	if h != nil && len(h)+more <= room {
		return maps.Clone(h)
	}
	c := make(http.Header, len(h)+more)
	maps.Copy(c, h)
	return c
}

// withQuery returns a copy of req, and of its URL, which has another query.
func withQuery(req *http.Request, query string) *http.Request {
	c := &struct {
		r http.Request
		u url.URL
	}{*req, *req.URL} // one allocation for both
	c.u.RawQuery = query
	c.r.URL = &c.u
	return &c.r
}
