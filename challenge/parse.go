package challenge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/authtrip/authtrip/internal/field"
)

// The bounds of what is read.
const (
	maxBytes      = 128 << 10 // of all field values together
	maxChallenges = 64
	maxParams     = 64 // of one challenge, or of a list
)

var (
	errLong        = errors.New("the fields are too long")
	errMany        = errors.New("too many challenges")
	errNone        = errors.New("no challenge")
	errManyParams  = errors.New("too many parameters")
	errJunk        = errors.New("neither a scheme nor a parameter")
	errNoScheme    = errors.New("a parameter without a scheme")
	errScheme      = errors.New("a scheme is followed by neither a token68 nor parameters")
	errDuplicate   = errors.New("a parameter occurs twice")
	errNoValue     = errors.New("a parameter has no value")
	errUnquoted    = errors.New("a quoted-string has no end")
	errControl     = errors.New("a quoted-string has a control character")
	errAfterValue  = errors.New("a parameter is followed by something else than a comma")
	errAfterScheme = errors.New("a scheme is followed by something else than a space or comma")
)

// Parse reads the challenges in the values of WWW-Authenticate or
// Proxy-Authenticate fields, each of which may hold several. It returns all
// that are well-formed, in order, and an error that says what was wrong first
// and where, without repeating any of it.
//
// A challenge that is not well-formed is left out, up to where the next one
// begins: one with a parameter that occurs twice, that has no value, or whose
// quoted-string has no end. Parameters that follow a token68, or no scheme at
// all, are passed over. White space around = is accepted, as are empty elements
// of the list. A challenge begins and ends within one value. The error is not nil
// either if there are values but no challenge in them.
func Parse(values []string) ([]Challenge, error) {
	p := parser{}
	total := 0
	for i, s := range values {
		if total += len(s); total > maxBytes {
			p.fail(errLong)
			break
		}
		p.s, p.i, p.value = s, 0, i
		p.challenges()
	}
	if len(values) > 0 && len(p.found) == 0 {
		p.fail(errNone)
	}
	return p.found, p.err
}

// ParseParams reads the list of parameters in the values of Authentication-Info
// or Proxy-Authentication-Info fields (RFC 9110 section 11.6.3). All values
// together make one list. If it is not well-formed, there is an error and no
// list.
func ParseParams(values []string) ([]Param, error) {
	p := parser{}
	var params []Param
	total := 0
	for i, s := range values {
		if total += len(s); total > maxBytes {
			p.fail(errLong)
			return nil, p.err
		}
		p.s, p.i, p.value = s, 0, i
		for p.separators(); p.i < len(s); p.separators() {
			name := p.token()
			param, err := p.param(name)
			if err == nil {
				params, err = add(params, param)
			}
			if err != nil {
				p.fail(err)
				return nil, p.err
			}
		}
	}
	return params, nil
}

// A parser goes through one field value after the other, each byte of which it
// looks at a bounded number of times.
type parser struct {
	s     string
	i     int // what is left is s[i:]
	value int // the index of s

	found []Challenge
	err   error // the first
}

func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = fmt.Errorf("challenge: field value %d, byte %d: %w", p.value, p.i, err)
	}
}

// challenges reads a value to its end, or until there are enough.
func (p *parser) challenges() {
	for p.separators(); p.i < len(p.s); p.separators() {
		if len(p.found) == maxChallenges {
			p.fail(errMany)
			return
		}
		if err := p.challenge(); err != nil {
			p.fail(err)
			p.skip()
		}
	}
}

// challenge reads what should be a challenge and adds it to those found. After
// an error, p is somewhere in an element of the list that is to be skipped.
func (p *parser) challenge() error {
	c := Challenge{Scheme: p.token()}
	if c.Scheme == "" {
		return errJunk
	}
	end := p.i
	p.space()
	switch {
	case p.at('='):
		return errNoScheme
	case p.delimited() && (p.i == end || p.i == len(p.s)):
		p.found = append(p.found, c)
		return nil
	case p.i == end:
		return errAfterScheme
	}
	if c.Token68 = p.token68(); c.Token68 != "" {
		p.found = append(p.found, c)
		return nil
	}
	// The list of parameters ends where the next challenge begins, or something
	// that is neither. That is the caller's to read: c is complete.
	for first := !p.at(','); ; first = false {
		p.separators()
		start := p.i
		name := p.token()
		p.space()
		if name == "" || !p.at('=') {
			if first {
				return errScheme
			}
			p.i = start
			p.found = append(p.found, c)
			return nil
		}
		param, err := p.param(name)
		if err == nil {
			c.Params, err = add(c.Params, param)
		}
		if err != nil {
			return err
		}
	}
}

func add(params []Param, param Param) ([]Param, error) {
	if _, ok := Find(params, param.Name); ok {
		return nil, errDuplicate
	}
	if len(params) == maxParams {
		return nil, errManyParams
	}
	return append(params, param), nil
}

// param reads the rest of a parameter whose name has been read, and what must
// follow it.
func (p *parser) param(name string) (Param, error) {
	p.space()
	if name == "" || !p.at('=') {
		return Param{}, errJunk
	}
	p.i++
	p.space()
	var value string
	if p.at('"') {
		var err error
		if value, err = p.quoted(); err != nil {
			return Param{}, err
		}
	} else if value = p.token(); value == "" {
		return Param{}, errNoValue
	}
	p.space()
	if !p.delimited() {
		return Param{}, errAfterValue
	}
	return Param{name, value}, nil
}

func (p *parser) at(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }

// delimited reports whether an element of the list may end here.
func (p *parser) delimited() bool { return p.i == len(p.s) || p.s[p.i] == ',' }

func (p *parser) space() {
	for p.at(' ') || p.at('\t') {
		p.i++
	}
}

// separators passes over commas and white space.
func (p *parser) separators() {
	for p.at(' ') || p.at('\t') || p.at(',') {
		p.i++
	}
}

// token reads a token (RFC 9110 section 5.6.2), "" if there is none.
func (p *parser) token() string {
	start := p.i
	for p.i < len(p.s) && field.IsTokenByte(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

// token68 reads a token68 (RFC 9110 section 11.2) if that is what the element,
// which does not begin with =, consists of, and returns "" otherwise.
func (p *parser) token68() string {
	start := p.i
	for p.i < len(p.s) && isToken68(p.s[p.i]) {
		p.i++
	}
	for p.at('=') {
		p.i++
	}
	value := p.s[start:p.i]
	if p.space(); p.delimited() {
		return value
	}
	p.i = start
	return ""
}

func isToken68(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/", c) >= 0
}

// quoted reads a quoted-string (RFC 9110 section 5.6.4) and undoes its escapes.
// If it has no end, nothing is left of the value.
func (p *parser) quoted() (string, error) {
	p.i++
	start, escapes, control := p.i, 0, false
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			text := p.s[start:p.i]
			p.i++
			if control {
				return "", errControl
			}
			return unescape(text, escapes), nil
		case c == '\\':
			escapes++
			if p.i++; p.i < len(p.s) {
				control = control || isControl(p.s[p.i])
			}
		default:
			control = control || isControl(c)
		}
	}
	p.i = len(p.s)
	return "", errUnquoted
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func unescape(s string, escapes int) string {
	if escapes == 0 {
		return s
	}
	b := make([]byte, 0, len(s)-escapes)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// skip passes over the rest of an element that makes no sense. A comma within
// quotes does not end it: what a server quotes is no challenge.
func (p *parser) skip() {
	for p.i < len(p.s) && p.s[p.i] != ',' {
		if p.s[p.i] == '"' {
			_, _ = p.quoted()
			continue
		}
		p.i++
	}
}
