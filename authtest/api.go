package authtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxEcho bounds what the API reads and repeats.
const maxEcho = 16 << 20

func (s *Server) newEndpoints() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/token": s.serveToken, "/revoke": s.serveRevoke, "/introspect": s.serveIntrospect,
		"/login": s.serveLogin, "/logout": s.serveLogout,
	} {
		mux.HandleFunc(path, h)
	}
	for path, check := range map[string]func(*http.Request, []byte) verdict{
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
	status     int
	credential string      // its name, for the Record
	header     http.Header // of the answer
}

func accepted(credential string) verdict {
	return verdict{status: http.StatusOK, credential: credential}
}

func unauthorized(credential string, challenges ...string) verdict {
	return verdict{http.StatusUnauthorized, credential, http.Header{"Www-Authenticate": challenges}}
}

// api repeats the bodies of the requests that check lets through.
func (s *Server) api(check func(r *http.Request, body []byte) verdict) http.Handler {
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
		v := check(r, body)
		note(r, func(rec *Record) { rec.Credential = v.credential })
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
		for name, values := range v.header {
			w.Header()[name] = values
		}
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

func checkNothing(*http.Request, []byte) verdict { return accepted("none") }

// authorization returns the one Authorization field in two parts.
func authorization(r *http.Request, scheme string) (credentials string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	s, credentials, _ := strings.Cut(values[0], " ")
	return strings.TrimLeft(credentials, " "), strings.EqualFold(s, scheme)
}

// checkBearer is RFC 6750.
func (s *Server) checkBearer(r *http.Request, _ []byte) verdict {
	const challenge = `Bearer realm="authtest"`
	value, ok := authorization(r, "Bearer")
	if !ok || value == "" {
		return unauthorized("none", challenge) // section 3.1: without an error code
	}
	t := s.issuer.look(value)
	if !t.active || t.refresh {
		return unauthorized(t.label, fmt.Sprintf(`%s, error="invalid_token", error_description="%s"`, challenge, t.why))
	}
	return accepted(t.label)
}

// checkBasic is RFC 7617.
func (s *Server) checkBasic(r *http.Request, _ []byte) verdict {
	const challenge = `Basic realm="authtest", charset="UTF-8"`
	user, password, ok := r.BasicAuth()
	switch {
	case !ok:
		return unauthorized("none", challenge)
	case user != s.Username || password != s.Password:
		return unauthorized("unknown", challenge)
	}
	return accepted("basic " + user)
}

func (s *Server) checkAPIKey(r *http.Request, _ []byte) verdict {
	const challenge = `ApiKey realm="authtest"`
	found := map[string]string{"header": r.Header.Get("X-Api-Key"), "query": r.URL.Query().Get("api_key")}
	if c, err := r.Cookie("api_key"); err == nil {
		found["cookie"] = c.Value
	}
	name := "none"
	for _, place := range []string{"header", "query", "cookie"} {
		switch found[place] {
		case "":
		case s.APIKey:
			return accepted("api key in the " + place)
		default:
			name = "unknown"
		}
	}
	return unauthorized(name, challenge)
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

func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil || r.PostForm.Get("username") != s.Username || r.PostForm.Get("password") != s.Password {
		note(r, func(rec *Record) { rec.Credential = "unknown" })
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	note(r, func(rec *Record) { rec.Credential = "password " + s.Username })
	id, xsrf := "session-"+rand.Text(), "xsrf-"+rand.Text()
	s.sessions.mu.Lock()
	if s.sessions.byID == nil {
		s.sessions.byID = make(map[string]session)
	}
	s.sessions.n++
	s.sessions.byID[id] = session{s.sessions.n, xsrf}
	s.sessions.mu.Unlock()
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

func (s *Server) checkSession(r *http.Request, _ []byte) verdict {
	c, err := r.Cookie("session")
	if err != nil {
		return verdict{status: http.StatusUnauthorized, credential: "none"}
	}
	s.sessions.mu.Lock()
	found, ok := s.sessions.byID[c.Value]
	s.sessions.mu.Unlock()
	if !ok {
		return verdict{status: http.StatusUnauthorized, credential: "unknown"}
	}
	name := fmt.Sprint("session ", found.n)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return accepted(name)
	}
	if r.Header.Get("X-Xsrf-Token") != found.xsrf {
		return verdict{status: http.StatusForbidden, credential: name}
	}
	return accepted(name + " with its XSRF token")
}
