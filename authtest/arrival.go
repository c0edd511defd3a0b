package authtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authtrip/authtrip/challenge"
)

// maxKept bounds what is kept of a body before something is done with the rest.
const maxKept = 16 << 20

// arrive reads the body of r, up to n bytes, and puts it back. What waits with a
// request does this first: only with the body read does net/http notice
// that a client has gone.
func arrive(r *http.Request, n int64) (begin []byte) {
	begin, err := io.ReadAll(io.LimitReader(r.Body, n))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failing{err}
	}
	r.Body = replaced{io.MultiReader(bytes.NewReader(begin), rest), r.Body}
	return begin
}

// A replaced body closes the one that it stands for.
type replaced struct {
	io.Reader
	io.Closer
}

// A failing reader goes on failing.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// readForm returns the form in the body of a request to an OAuth endpoint, or
// nil.
func readForm(r *http.Request) url.Values {
	if !slices.Contains([]string{"/token", "/revoke", "/introspect"}, r.URL.Path) {
		return nil
	}
	form, err := url.ParseQuery(string(arrive(r, maxForm+1)))
	if err != nil {
		return nil
	}
	return form
}

// credentials names all that a request has, wherever it goes: nothing of its
// text is in the names.
func (s *Server) credentials(r *http.Request, form url.Values) string {
	var names []string
	name := func(kind string, right bool, as string) {
		if !right {
			as = "unknown"
		}
		names = append(names, strings.TrimSpace(kind+" "+as))
	}
	for _, value := range r.Header.Values("Authorization") {
		scheme, rest := splitScheme(value)
		switch strings.ToLower(scheme) {
		case "bearer":
			t := s.issuer.look(rest)
			name("", t.label != "", t.label)
		case "basic":
			user, password, _ := (&http.Request{Header: http.Header{"Authorization": {value}}}).BasicAuth()
			if s.isClient(user, password) {
				name("client", true, s.ClientID)
			} else {
				name("basic", user == s.Username && password == s.Password, s.Username)
			}
		case "digest":
			params, _ := challenge.ParseParams([]string{rest})
			name("digest", slices.ContainsFunc(params, func(p challenge.Param) bool {
				return strings.EqualFold(p.Name, "username") && p.Value == s.Username
			}), s.Username)
		default:
			name("authorization", false, "")
		}
	}
	for _, k := range apiKeys(r) {
		name("api key", k.value == s.APIKey, "in the "+k.place)
	}
	if c, err := r.Cookie("session"); err == nil {
		found, ok := s.sessions.get(c.Value)
		name("session", ok, fmt.Sprint(found.n))
		if v := r.Header.Get("X-Xsrf-Token"); v != "" {
			name("xsrf", ok && v == found.xsrf, fmt.Sprint(found.n))
		}
	}
	if id := form.Get("client_id"); id != "" {
		name("client", id == s.ClientID && form.Get("client_secret") == s.ClientSecret, s.ClientID)
	}
	for _, field := range []string{"refresh_token", "token"} {
		if value := form.Get(field); value != "" {
			t := s.issuer.look(value)
			name("", t.label != "", t.label)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// isClient reports whether Basic's user and password are the client's: by RFC 6749
// section 2.3.1, they were form-urlencoded before.
func (s *Server) isClient(user, password string) bool {
	id, err := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	return err == nil && err2 == nil && id == s.ClientID && secret == s.ClientSecret
}

// splitScheme parts an Authorization field (RFC 9110 section 11.4).
func splitScheme(authorization string) (scheme, rest string) {
	scheme, rest, _ = strings.Cut(authorization, " ")
	return scheme, strings.TrimLeft(rest, " ")
}
