package authtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// maxEcho bounds what the API reads and repeats.
const maxEcho = maxKept

func (s *Server) newEndpoints() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/token": s.serveToken, "/revoke": s.serveRevoke, "/introspect": s.serveIntrospect,
		"/login": s.serveLogin, "/logout": s.serveLogout,
	} {
		mux.HandleFunc(path, h)
	}
	for path, check := range map[string]func(*http.Request) verdict{
		"/bearer": s.checkBearer, "/basic": s.checkBasic, "/digest": s.checkDigest,
		"/apikey": s.checkAPIKey, "/session": s.checkSession, "/open": checkNothing,
	} {
		h := s.api(check)
		mux.Handle(path, h)
		mux.Handle(path+"/", h)
	}
	return mux
}

// A verdict is what the API makes of a request.
type verdict struct {
	status int
	header http.Header // of the answer
}

var accepted = verdict{status: http.StatusOK}

func unauthorized(challenges ...string) verdict {
	return verdict{http.StatusUnauthorized, http.Header{"Www-Authenticate": challenges}}
}

// api repeats the bodies of the requests that check lets through.
func (s *Server) api(check func(*http.Request) verdict) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEcho))
		if err != nil {
			status := http.StatusBadRequest
			if _, long := errors.AsType[*http.MaxBytesError](err); long {
				status = http.StatusRequestEntityTooLarge
			}
			w.WriteHeader(status)
			return
		}
		v := check(r)
		s.log.count(func(st *Stats) {
			switch v.status {
			case http.StatusOK:
				st.Accepted++
			case http.StatusUnauthorized:
				st.Unauthorized++
			case http.StatusForbidden:
				st.Forbidden++
			}
		})
		maps.Copy(w.Header(), v.header)
		if v.status != http.StatusOK {
			w.WriteHeader(v.status)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Type", "application/octet-stream")
		if t := r.Header.Get("Content-Type"); t != "" {
			w.Header().Set("Content-Type", t)
		}
		_, _ = w.Write(body)
	})
}

func checkNothing(*http.Request) verdict { return accepted }

// authorization returns the one Authorization field in two parts.
func authorization(r *http.Request, scheme string) (credentials string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	s, credentials := splitScheme(values[0])
	return credentials, strings.EqualFold(s, scheme)
}

// checkBearer is RFC 6750.
func (s *Server) checkBearer(r *http.Request) verdict {
	const challenge = `Bearer realm="authtest"`
	value, ok := authorization(r, "Bearer")
	if !ok || value == "" {
		return unauthorized(challenge) // section 3.1: without an error code
	}
	t := s.issuer.look(value)
	if !t.active || t.refresh {
		return unauthorized(fmt.Sprintf(`%s, error="invalid_token", error_description="%s"`, challenge, t.why))
	}
	return accepted
}

// checkBasic is RFC 7617.
func (s *Server) checkBasic(r *http.Request) verdict {
	const challenge = `Basic realm="authtest", charset="UTF-8"`
	user, password, ok := r.BasicAuth()
	if !ok || user != s.Username || password != s.Password {
		return unauthorized(challenge)
	}
	return accepted
}

func (s *Server) checkAPIKey(r *http.Request) verdict {
	for _, k := range apiKeys(r) {
		if k.value == s.APIKey {
			return accepted
		}
	}
	return unauthorized(`ApiKey realm="authtest"`)
}

type apiKey struct{ place, value string }

func apiKeys(r *http.Request) (keys []apiKey) {
	for _, v := range r.Header.Values("X-Api-Key") {
		keys = append(keys, apiKey{"header", v})
	}
	for _, v := range r.URL.Query()["api_key"] {
		keys = append(keys, apiKey{"query", v})
	}
	for _, c := range r.CookiesNamed("api_key") {
		keys = append(keys, apiKey{"cookie", c.Value})
	}
	return keys
}

// sessions are those of /login.
type sessions struct {
	mu   sync.Mutex
	n    int                // guarded by mu
	byID map[string]session // guarded by mu
}

type session struct {
	n    int
	xsrf string
}

func (s *sessions) begin() (id, xsrf string) {
	id, xsrf = "session-"+rand.Text(), "xsrf-"+rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[string]session)
	}
	s.n++
	s.byID[id] = session{s.n, xsrf}
	return id, xsrf
}

func (s *sessions) get(id string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[id]
	return found, ok
}

func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil || r.PostForm.Get("username") != s.Username || r.PostForm.Get("password") != s.Password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id, xsrf := s.sessions.begin()
	secure := r.TLS != nil
	http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode})
	http.SetCookie(w, &http.Cookie{Name: "XSRF-TOKEN", Value: xsrf, Path: "/", Secure: secure, SameSite: http.SameSiteLaxMode})
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) serveLogout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if c, err := r.Cookie("session"); err == nil {
		s.sessions.mu.Lock()
		delete(s.sessions.byID, c.Value)
		s.sessions.mu.Unlock()
	}
	for _, name := range []string{"session", "XSRF-TOKEN"} {
		http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1})
	}
	w.WriteHeader(http.StatusNoContent)
}

// EndSessions ends all sessions of /login.
func (s *Server) EndSessions() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	clear(s.sessions.byID)
}

func (s *Server) checkSession(r *http.Request) verdict {
	c, err := r.Cookie("session")
	if err != nil {
		return verdict{status: http.StatusUnauthorized}
	}
	found, ok := s.sessions.get(c.Value)
	if !ok {
		return verdict{status: http.StatusUnauthorized}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return accepted
	}
	if r.Header.Get("X-Xsrf-Token") != found.xsrf {
		return verdict{status: http.StatusForbidden}
	}
	return accepted
}
