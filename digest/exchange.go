package digest

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
)

// ErrServerAuth says that a response's rspauth (RFC 7616 section 3.5) was not
// made by somebody who knows the password. The response is not returned.
var ErrServerAuth = errors.New("digest: the server does not know the password: its rspauth is wrong")

// ErrIntegrity says that a server wants the body protected by qop=auth-int, for
// which the request needs GetBody: the body's hash is sent ahead of the body.
var ErrIntegrity = errors.New("digest: the server asks for qop=auth-int, and the request has a body but no GetBody")

// A party is who asks for authentication.
type party struct {
	status      int
	credentials string // the field to answer in
	info        string // the field by which the party proves itself
	absolute    bool   // the request-target has absolute-form
}

var (
	server = party{http.StatusUnauthorized, hop.Authorization, "Authentication-Info", false}
	proxy  = party{http.StatusProxyAuthRequired, "Proxy-Authorization", "Proxy-Authentication-Info", true}
)

// An exchange is what it takes to have one request of the caller's accepted.
type exchange struct {
	party
	hop.Leg                          // as it came
	origin             origin.Origin // of the party
	path               string        // which tells the party's spaces apart
	username, password string
}

// run sends the request: at once with credentials if its space is known, and
// again if it is challenged. There are at most two attempts.
func (x *exchange) run(next *hop.Next, base http.RoundTripper, spaces *space.Memory[known]) (*http.Response, error) {
	k := spaces.Find(x.origin, x.path)
	first, used, err := x.first(k)
	if err != nil {
		hop.CloseBody(x.Request)
		return nil, err
	}
	resp, err := next.Send(base, &first, x.Request)
	if err != nil {
		if used.own {
			k.offered(used.session)
		}
		return nil, err
	}
	if resp.StatusCode != x.status {
		return x.accepted(resp, used, k)
	}
	o := strongest(challenge.FromResponse(resp))
	if o == nil {
		k.refused(used.session)
		return resp, nil
	}
	if used.own && used.realm != o.realm {
		k.offered(used.session) // it was not for this space
	} else {
		k.refused(used.session)
	}
	k = x.learn(spaces, o)
	if used.wrong(o) {
		// The nonce may serve those that come after.
		k.offered(o.session)
		return resp, nil
	}
	second, used, err := x.second(o.session)
	if err != nil {
		k.offered(o.session)
		return resp, nil
	}
	hop.Discard(x.Request, resp)
	if resp, err = next.Send(base, &second, x.Request); err != nil {
		k.offered(used.session)
		return nil, err
	}
	if resp.StatusCode != x.status {
		used.served.Store(used.login)
		return x.accepted(resp, used, k)
	}
	if o = strongest(challenge.FromResponse(resp)); o != nil {
		x.learn(spaces, o).offered(o.session)
	}
	return resp, nil
}

// first returns the first attempt. Without a session it is a bare copy, and the
// answer has none either.
func (x *exchange) first(k *known) (hop.Leg, answer, error) {
	if s, own := k.take(hop.Replayable(x.Request)); s != nil {
		l, used, err := x.authorize(s, own)
		if err != nil && own {
			k.offered(s)
		}
		if used.session != nil || err != nil {
			return l, used, err
		}
	}
	l := x.Leg
	l.Bare()
	return l, answer{}, nil
}

// second returns the attempt that answers a challenge. After an error the
// session has not been used.
func (x *exchange) second(s *session) (hop.Leg, answer, error) {
	body, err := hop.Replay(x.Request)
	if err != nil {
		return hop.Leg{}, answer{}, err
	}
	l, used, err := x.authorize(s, true)
	if err == nil && used.session == nil {
		err = errUsedUp
	}
	if err != nil {
		if body != nil {
			body.Close()
		}
		return l, used, err
	}
	l.SetBody(body)
	return l, used, nil
}

// authorize returns the request with an answer by s, which is none if s is used up.
func (x *exchange) authorize(s *session, own bool) (hop.Leg, answer, error) {
	var buffer [256]byte
	m := message{method: x.Request.Method, uri: appendURI(buffer[:0], &x.Leg, x.absolute)}
	if m.method == "" {
		m.method = http.MethodGet
	}
	if s.qop == "auth-int" {
		var err error
		if m.body, err = s.algorithm.body(x.Request); err != nil {
			return x.Leg, answer{}, err
		}
	}
	used, value, ok := s.answer(own, x.username, x.password, m)
	if !ok {
		return x.Leg, answer{}, nil
	}
	l := x.Leg
	l.Set(hop.NewField(x.credentials, value))
	return l, used, nil
}

var errUsedUp = errors.New("digest: the nonce has been used as often as can be")

// body returns the hash of req's body in hexadecimal.
func (a algorithm) body(req *http.Request) ([]byte, error) {
	h := a.new()
	if hop.HasBody(req) {
		if req.GetBody == nil {
			return nil, ErrIntegrity
		}
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		defer body.Close()
		if _, err := io.Copy(h, body); err != nil {
			return nil, err
		}
	}
	return hex.AppendEncode(nil, h.Sum(nil)), nil
}

// learn makes o fit for use, and returns what is known of the space that it is
// for (RFC 7616 section 3.3: the domain, or else all of the server). A domain may
// name other servers; what they may be sent is not for this one to say.
func (x *exchange) learn(spaces *space.Memory[known], o *offer) *known {
	paths := []string{space.Directory(x.path)}
	domain := strings.Fields(o.domain)
	if len(domain) == 0 {
		paths = append(paths, "/")
	}
	for _, uri := range domain[:min(len(domain), 8)] {
		u, _ := x.Request.URL.Parse(uri)
		if to, _ := origin.Of(u); to == x.origin { // no URL has no origin
			paths = append(paths, path(u))
		}
	}
	k := spaces.Learn(x.origin, o.realm, paths...)
	k.begin(o.session)
	return k
}

// accepted returns resp, the answer to a request that the party did not
// challenge. If there were credentials it may have more to say to them.
func (x *exchange) accepted(resp *http.Response, used answer, k *known) (*http.Response, error) {
	if used.session == nil {
		return resp, nil
	}
	proof, proves, next := x.read(resp.Header, used)
	if proves && !used.verify(proof, appendURI(nil, &x.Leg, x.absolute)) {
		k.refused(used.session)
		hop.CloseResponse(resp)
		return nil, ErrServerAuth
	}
	k.accepted(used, next)
	return resp, nil
}

// read returns what a response to used says of itself: the proof that its
// sender knows the password, if there is one that can be checked, and the session
// to go on with, nil if there is none. With auth-int the proof is of the
// response's body too, which is the caller's to read.
func (p party) read(h http.Header, used answer) (proof string, proves bool, next *session) {
	values := h[p.info]
	if len(values) == 0 {
		return "", false, nil
	}
	info, _ := challenge.ParseParams(values)
	qop, ok := challenge.Find(info, "qop")
	if used.qop != "auth-int" && (!ok || strings.EqualFold(qop, used.qop)) {
		proof, proves = challenge.Find(info, "rspauth")
	}
	if nonce, _ := challenge.Find(info, "nextnonce"); nonce != "" && len(nonce) <= maxChallenge {
		next = used.next(nonce)
	}
	return proof, proves, next
}
