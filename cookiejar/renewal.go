package cookiejar

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/authtrip/authtrip/internal/carry"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// A renewal does for what is in cookies what transport.Refresh and
// tokensource.Session do for a bearer token, by having them do it. To them a
// session that cookies hold is a token like others, of which only the identity
// counts; how it gets onto a request is the carrier's.
type renewal struct {
	once    sync.Once // makes the others ready
	session tokensource.Session
	refresh transport.Refresh
	inner   hop.Next // to refresh
}

// send sends l by way of refresh.
func (r *renewal) send(l *hop.Leg) (*http.Response, error) {
	return r.inner.Send(&r.refresh, l, l.Request)
}

// source is the Session with another way to carry its tokens.
type source struct {
	*tokensource.Session
	carry func(carry.Attempt) hop.Leg
}

func (s source) Carry(a carry.Attempt) hop.Leg { return s.carry(a) }

var _ interface {
	tokensource.Renewer
	carry.Carrier
} = source{}

// start has the Session begin with what the cookies may hold already.
func (r *renewal) start(by func(carry.Attempt) hop.Leg) {
	r.refresh.Source = source{&r.session, by}
	_ = r.session.Set(context.Background(), held()) // without a Store it does not fail
}

// held returns a new generation of what cookies hold.
func held() *oauth2.Token { return &oauth2.Token{AccessToken: placeholder} }

const placeholder = "authtrip: in cookies"

// clientFor returns a client for what is done in the service of a renewal, whose
// context ctx is. Its requests are known as that, and end in time, also those whose
// context is another: few would think of that when they write client.PostForm.
func clientFor(ctx context.Context, base http.RoundTripper, jar http.CookieJar) *http.Client {
	client := &http.Client{Jar: jar, Transport: transport.Func(func(req *http.Request) (*http.Response, error) {
		return hop.Send(base, req.WithContext(marks.Join(req.Context(), ctx)), req)
	})}
	if deadline, ok := ctx.Deadline(); ok {
		client.Timeout = time.Until(deadline)
	}
	return client
}
