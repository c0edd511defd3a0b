package rows

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
)

// A Row puts a credential onto requests, in the way that its documentation shows.
type Row struct {
	Name   string
	Module string // for its version; empty if it is nobody's
	Ours   bool
	// Scheme comes before the token.
	Scheme string
	// Note is what it is beyond a RoundTripper.
	Note string
	// Mutates is whether it changes the caller's request, which saves it the copy.
	Mutates bool
	// Early is whether it can be told how long before its expiry a token is
	// to be renewed, without which lifetimes of less than minutes cannot be had.
	Early bool
	// Renews is whether it gets another token when one has expired or is rejected.
	Renews bool
	// Make returns what sends by base, with tokens of i. The API is at api.example.com.
	Make func(base http.RoundTripper, i *Issuer) Do
}

// Floor does what nobody can do without: a copy of the request and of its header,
// and an assignment.
var Floor = Row{Name: "floor: struct copy, maps.Clone, one assignment", Scheme: "Bearer ", Make: func(base http.RoundTripper, i *Issuer) Do {
	access, _, _ := i.Issue(context.Background())
	values := []string{"Bearer " + access}
	return func(req *http.Request) (*http.Response, error) {
		r := *req
		r.Header = maps.Clone(req.Header)
		r.Header["Authorization"] = values
		resp, err := base.RoundTrip(&r)
		if err == nil {
			resp.Request = req
		}
		return resp, err
	}
}}

// Looking does that, and first looks at each field's name, as whoever wants to know
// has to whether the caller has a credential of its own, in any spelling.
var Looking = Row{Name: "the floor, and a look at each field's name", Scheme: "Bearer ", Make: func(base http.RoundTripper, i *Issuer) Do {
	send := Floor.Make(base, i)
	return func(req *http.Request) (*http.Response, error) {
		for name := range req.Header {
			if len(name) == len("Authorization") && strings.EqualFold(name, "Authorization") {
				return base.RoundTrip(req)
			}
		}
		return send(req)
	}
}}

// Ours are the rows of authtrip.
var Ours = []Row{
	{Name: "authtrip transport.Refresh, Session", Ours: true, Scheme: "Bearer ", Early: true, Renews: true, Make: func(base http.RoundTripper, i *Issuer) Do {
		return (&transport.Refresh{Source: i.Session(), Base: base}).RoundTrip
	}},
	{Name: "authtrip transport.Bearer, Session", Ours: true, Scheme: "Bearer ", Early: true, Renews: true, Make: func(base http.RoundTripper, i *Issuer) Do {
		return (&transport.Bearer{Source: i.Session(), Base: base}).RoundTrip
	}},
	{Name: "authtrip transport.Bearer, Static", Ours: true, Scheme: "Bearer ", Make: func(base http.RoundTripper, i *Issuer) Do {
		access, _, _ := i.Issue(context.Background())
		return (&transport.Bearer{Source: tokensource.Static(access), Base: base}).RoundTrip
	}},
	{Name: "authtrip basic", Ours: true, Scheme: "Basic ", Make: func(base http.RoundTripper, _ *Issuer) Do {
		return (&basic.Transport{Username: "user", Password: "password", Base: base}).RoundTrip
	}},
	{Name: "authtrip apikey", Ours: true, Make: func(base http.RoundTripper, _ *Issuer) Do {
		return (&apikey.Transport{Key: "key", Base: base}).RoundTrip
	}},
}

// Alone are the rows that can be measured where no other module is.
func Alone() []Row { return append([]Row{Floor, Looking}, Ours...) }
