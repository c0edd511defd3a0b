package authtest

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// maxForm bounds what the endpoints read that take a form.
const maxForm = 64 << 10

// A fields is a JSON object to be answered.
type fields map[string]any

func answerJSON(w http.ResponseWriter, status int, f fields) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body, err := json.Marshal(f)
	if err != nil {
		panic(err) // there are strings, numbers and booleans in it
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refuse answers with an error of RFC 6749 section 5.2.
func (s *Server) refuse(w http.ResponseWriter, code, description string) {
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="authtest"`)
	}
	s.log.count(func(st *Stats) { st.Refused[code]++ })
	answerJSON(w, status, fields{"error": code, "error_description": description})
}

// form reads a form of the client's, and who that is. It has answered if ok is
// false.
func (s *Server) form(w http.ResponseWriter, r *http.Request) (form url.Values, ok bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err := r.ParseForm(); err != nil || media != "application/x-www-form-urlencoded" {
		s.refuse(w, "invalid_request", "the body is not a form")
		return nil, false
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			s.refuse(w, "invalid_request", "a parameter is there twice: "+name)
			return nil, false
		}
	}
	right := r.PostForm.Get("client_id") == s.ClientID && r.PostForm.Get("client_secret") == s.ClientSecret
	if user, password, basic := r.BasicAuth(); basic {
		if r.PostForm.Has("client_secret") {
			s.refuse(w, "invalid_request", "the client has authenticated in two ways")
			return nil, false
		}
		right = s.isClient(user, password)
	}
	if !right {
		s.refuse(w, "invalid_client", "the client is unknown or its secret wrong")
		return nil, false
	}
	return r.PostForm, true
}

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	kind := form.Get("grant_type")
	s.log.count(func(st *Stats) { st.TokenRequests[known(kind)]++ })
	switch kind {
	case "client_credentials":
		s.grant(w, s.issuer.forClient(), nil)
	case "refresh_token":
		value := form.Get("refresh_token")
		if value == "" {
			s.refuse(w, "invalid_request", "refresh_token is missing")
			return
		}
		e := s.issuer.exchange(value)
		if e.reused {
			s.log.count(func(st *Stats) { st.Reused++ })
		}
		if !e.granted {
			s.refuse(w, "invalid_grant", e.why)
			return
		}
		s.grant(w, e.access, e.refresh)
	case "":
		s.refuse(w, "invalid_request", "grant_type is missing")
	default:
		s.refuse(w, "unsupported_grant_type", "client_credentials and refresh_token are supported")
	}
}

// known returns a grant_type to be counted; a client may send anything.
func known(kind string) string {
	if slices.Contains([]string{"client_credentials", "refresh_token", "authorization_code", "password", ""}, kind) {
		return kind
	}
	return "other"
}

func (s *Server) grant(w http.ResponseWriter, access accessToken, refresh *refreshToken) {
	f := fields{"access_token": access.value, "token_type": "Bearer"}
	if seconds := int64(access.expires.Sub(access.issued) / time.Second); seconds > 0 {
		f["expires_in"] = seconds
	}
	if refresh != nil {
		f["refresh_token"] = refresh.value
	}
	s.log.count(func(st *Stats) { st.Granted++ })
	answerJSON(w, http.StatusOK, f)
}

// subject returns the token that a form of the client's is about. It has answered
// if ok is false.
func (s *Server) subject(w http.ResponseWriter, r *http.Request) (token string, ok bool) {
	form, ok := s.form(w, r)
	if !ok {
		return "", false
	}
	if token = form.Get("token"); token == "" {
		s.refuse(w, "invalid_request", "token is missing")
		return "", false
	}
	return token, true
}

// serveRevoke is the revocation endpoint, RFC 7009.
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	value, ok := s.subject(w, r)
	if !ok {
		return
	}
	// Section 2.1: with a refresh token, the grant's access tokens go too.
	if s.issuer.revoke(value, s.issuer.isRefresh(value)) {
		s.log.count(func(st *Stats) { st.Revoked++ })
	}
	w.WriteHeader(http.StatusOK) // section 2.2, for unknown tokens as well
}

// serveIntrospect is the introspection endpoint, RFC 7662.
func (s *Server) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	value, ok := s.subject(w, r)
	if !ok {
		return
	}
	t := s.issuer.look(value)
	s.log.count(func(st *Stats) { st.Introspections++ })
	f := fields{"active": t.active}
	if t.active {
		f["client_id"] = s.ClientID
		if t.username != "" {
			f["username"] = t.username
		}
		if !t.refresh {
			f["token_type"] = "Bearer"
			f["iat"] = t.issued.Unix()
		}
		if !t.expires.IsZero() {
			f["exp"] = t.expires.Unix()
		}
	}
	answerJSON(w, http.StatusOK, f)
}
