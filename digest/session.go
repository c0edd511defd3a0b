package digest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/authtrip/authtrip/challenge"
)

// maxChallenge is how long what is echoed to the server may be. Servers' limits
// for a whole header begin at 8 KiB.
const maxChallenge = 4 << 10

// A session is one nonce, and everything else that a challenge said.
type session struct {
	algorithm     algorithm
	named         string // the algorithm as it was spelled; "" if it was not
	realm         string
	opaque        *string // nil if there is none
	nonce, cnonce string
	qop           string // "auth", "auth-int", or "" for RFC 2069
	userhash      bool
	utf8          bool // charset="UTF-8": the server knows RFC 7616

	// seed is nonce:cnonce of the challenge, which an algorithm with -sess
	// goes by even after nextnonce (RFC 7616 section 3.4.2). Others have none.
	seed string

	count *atomic.Uint64 // the nonce count last used
	login atomic.Pointer[login]
	// served is the user who answered the challenge and was accepted.
	served atomic.Pointer[login]
}

// An offer is a session that a challenge offers.
type offer struct {
	*session
	stale  bool   // the nonce of the last answer was
	domain string // where else it may be used
}

// A login is what a session has of one user, computed once.
type login struct {
	username, password string
	ha1                string // the hash of A1
	prefix             string // of the field, up to what differs between requests
}

// offerOf returns what c offers, nil if that cannot be done.
func offerOf(c challenge.Challenge) *offer {
	if !c.Is("Digest") {
		return nil
	}
	param := func(name string) string {
		value, _ := c.Param(name)
		return strings.Clone(value) // the field may be long
	}
	s := &session{
		named: param("algorithm"), realm: param("realm"), nonce: param("nonce"),
		userhash: strings.EqualFold(param("userhash"), "true"),
		utf8:     strings.EqualFold(param("charset"), "UTF-8"),
	}
	size := len(s.realm) + len(s.nonce)
	if _, ok := c.Param("opaque"); ok {
		s.opaque = new(param("opaque"))
		size += len(*s.opaque)
	}
	var sess, ok bool
	s.algorithm, sess = algorithmOf(s.named)
	s.qop, ok = quality(c)
	if s.algorithm == unknown || !ok || s.nonce == "" || size > maxChallenge {
		return nil
	}
	if s.qop != "" || sess {
		s.cnonce = rand.Text()
	}
	if sess {
		s.seed = ":" + s.nonce + ":" + s.cnonce
	}
	o := &offer{session: s, stale: strings.EqualFold(param("stale"), "true")}
	if domain := param("domain"); len(domain) <= maxChallenge {
		o.domain = domain
	}
	return o
}

// quality chooses from what the qop parameter offers. Integrity protection has
// a price, so it is not chosen if it need not be.
func quality(c challenge.Challenge) (qop string, ok bool) {
	offer, _ := c.Param("qop")
	if strings.Trim(offer, ", \t") == "" {
		return "", true
	}
	for option := range strings.FieldsFuncSeq(offer, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		switch {
		case strings.EqualFold(option, "auth"):
			return "auth", true
		case strings.EqualFold(option, "auth-int"):
			qop, ok = "auth-int", true
		}
	}
	return qop, ok
}

// strongest returns the best of what challenges offer, nil if there is none: the
// strongest hash decides, then whether there is any quality of protection, then
// the server's order.
func strongest(challenges []challenge.Challenge) *offer {
	var best *offer
	for _, c := range challenges {
		o := offerOf(c)
		if o != nil && (best == nil || o.strength() > best.strength()) {
			best = o
		}
	}
	return best
}

func (s *session) strength() int {
	strength := 2 * int(s.algorithm)
	if s.qop != "" {
		strength++
	}
	return strength
}

// next returns the session that goes on with the server's nextnonce.
func (s *session) next(nonce string) *session {
	n := &session{
		algorithm: s.algorithm, named: s.named, realm: s.realm, opaque: s.opaque,
		nonce: strings.Clone(nonce), cnonce: s.cnonce, qop: s.qop,
		userhash: s.userhash, utf8: s.utf8, seed: s.seed,
	}
	n.served.Store(s.served.Load())
	return n
}

// wrong reports whether the user name or the password is wrong, if o is the
// challenge that came in answer to a (RFC 7616 section 3.3). Some servers do not
// say that a nonce is stale; there is another reason to be seen if this user
// has been accepted with it, or if another realm is asked for.
func (a answer) wrong(o *offer) bool {
	if a.session == nil || o.stale || o.realm != a.realm {
		return false
	}
	l := a.served.Load()
	return l == nil || l.username != a.login.username || l.password != a.login.password
}

// as returns s's login for a user.
func (s *session) as(username, password string) *login {
	if l := s.login.Load(); l != nil && l.username == username && l.password == password {
		return l
	}
	l := &login{username: username, password: password}
	l.ha1 = s.algorithm.sum(username + ":" + s.realm + ":" + password)
	if s.seed != "" {
		l.ha1 = s.algorithm.sum(l.ha1 + s.seed)
	}
	b := []byte("Digest ")
	switch {
	case s.userhash:
		b = quoted(b, "username", s.algorithm.sum(username+":"+s.realm))
	case s.utf8 && !isASCII(username):
		b = append(b, "username*=UTF-8''"+extValue(username)...)
	default:
		b = quoted(b, "username", username)
	}
	b = quoted(append(b, ", "...), "realm", s.realm)
	b = quoted(append(b, ", "...), "nonce", s.nonce)
	if s.named != "" {
		b = append(b, ", algorithm="+s.named...)
	}
	if s.opaque != nil {
		b = quoted(append(b, ", "...), "opaque", *s.opaque)
	}
	if s.cnonce != "" {
		b = quoted(append(b, ", "...), "cnonce", s.cnonce)
	}
	if s.qop != "" {
		b = append(b, ", qop="+s.qop...)
	}
	if s.userhash {
		b = append(b, ", userhash=true"...)
	}
	l.prefix = string(b)
	s.login.Store(l)
	return l
}

func quoted(b []byte, name, value string) []byte {
	return challenge.AppendQuoted(append(append(b, name...), '='), value)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// extValue encodes s as the value-chars of RFC 8187 section 3.2.1.
func extValue(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// A message is what a digest is about: a request, and by its body's hash what
// auth-int adds.
type message struct {
	method string
	uri    []byte
	body   []byte // the hash of the body in hexadecimal, for auth-int
}

// An answer is one use of a session.
type answer struct {
	*session
	own   bool // no other request has the session
	login *login
	nc    uint32
}

// answer takes the next nonce count and returns what authenticates m, and the
// value of the field. ok is false if the nonce has been used as often as can
// be.
func (s *session) answer(own bool, username, password string, m message) (a answer, value string, ok bool) {
	nc := s.count.Add(1)
	if nc > math.MaxUint32 {
		return a, "", false
	}
	a = answer{s, own, s.as(username, password), uint32(nc)}
	var buffer [1024]byte
	b := append(buffer[:0], a.login.prefix...)
	b = append(b, `, uri="`...)
	for _, c := range m.uri {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	b = append(b, '"')
	if s.qop != "" {
		b = append(b, ", nc="...)
		b = appendCount(b, a.nc)
	}
	b = append(b, `, response="`...)
	b = a.append(b, m)
	b = append(b, '"')
	return a, string(b), true
}

// append appends the response to b (RFC 7616 section 3.4.1); with the empty
// method that is rspauth (section 3.5).
func (a answer) append(b []byte, m message) []byte {
	var buffer [512]byte
	d := append(buffer[:0], m.method...)
	d = append(d, ':')
	d = append(d, m.uri...)
	if a.qop == "auth-int" {
		d = append(d, ':')
		d = append(d, m.body...)
	}
	var hash [64]byte
	ha2 := a.algorithm.append(hash[:0], d)
	d = append(buffer[:0], a.login.ha1...)
	d = append(d, ':')
	d = append(d, a.nonce...)
	d = append(d, ':')
	if a.qop != "" {
		d = appendCount(d, a.nc)
		d = append(d, ':')
		d = append(d, a.cnonce...)
		d = append(d, ':')
		d = append(d, a.qop...)
		d = append(d, ':')
	}
	d = append(d, ha2...)
	return a.algorithm.append(b, d)
}

// appendCount appends a nonce count, eight hexadecimal digits.
func appendCount(b []byte, nc uint32) []byte {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], nc)
	return hex.AppendEncode(b, n[:])
}

// verify reports whether rspauth proves that the server knows the password.
func (a answer) verify(rspauth string, uri []byte) bool {
	want := a.append(nil, message{uri: uri})
	return subtle.ConstantTimeCompare(want, []byte(strings.ToLower(rspauth))) == 1
}
