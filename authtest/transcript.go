package authtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Stats counts what a [Server] has answered. An answer that a client has seen
// is counted.
type Stats struct {
	// TokenRequests counts, by grant_type, those to the token endpoint whose
	// client was known, and that no [Fault] kept from it.
	TokenRequests map[string]int
	// Granted counts the token responses, whether or not they arrived.
	Granted int
	// Refused counts the errors of the token, revocation and introspection
	// endpoints by their code.
	Refused map[string]int
	// Reused counts refresh tokens that were used again, and have ended their
	// grant.
	Reused int
	// Revoked counts tokens revoked by the revocation endpoint, and
	// Introspections the answers of that one.
	Revoked, Introspections int
	// Accepted, Unauthorized and Forbidden count the answers of the API: 200,
	// 401 and 403.
	Accepted, Unauthorized, Forbidden int
}

// A Record is what a [Server] was sent, and how it answered. It holds no secret.
type Record struct {
	// Time is when the request arrived.
	Time time.Time
	// Method, Path and Proto are the request's. The query is not in Path.
	Method, Path, Proto string
	// Credentials names all credentials in the request, wherever it went, with
	// commas between: "access 3", which is the third access token issued, "refresh
	// 2", "client authtest", "basic alice", "digest alice", "api key in the query",
	// "session 1", "xsrf 1", which is that session's token, and "unknown", "basic
	// unknown" and so on for what is not right. For Digest, the name alone counts. If
	// there are no credentials, it is "none".
	Credentials string
	// Grant is the grant_type of a token request.
	Grant string
	// BodySize and BodySHA256, in hexadecimal, are of as much of the body as was read.
	BodySize   int64
	BodySHA256 string
	// Status is that of the answer; 0 if there is none yet, or none was given.
	Status int
}

// String returns the record as a line.
func (r Record) String() string {
	return fmt.Sprintf("%s %s %s, %s, %d bytes, status %d", r.Method, r.Path, r.Proto, r.Credentials, r.BodySize, r.Status)
}

// maxRecords is how many requests a transcript keeps.
const maxRecords = 10_000

// A transcript is what a Server remembers of its requests.
type transcript struct {
	mu      sync.Mutex // guards the fields below, and the entries
	stats   Stats
	entries []*entry
}

type entry struct {
	Record
	sum hash.Hash
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	st := s.log.stats
	st.TokenRequests = maps.Clone(st.TokenRequests)
	st.Refused = maps.Clone(st.Refused)
	return st
}

// Transcript returns the requests so far, in the order in which they arrived;
// after 10,000, the last ones.
func (s *Server) Transcript() []Record {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	records := make([]Record, len(s.log.entries))
	for i, e := range s.log.entries {
		records[i] = e.Record
		records[i].BodySHA256 = hex.EncodeToString(e.sum.Sum(nil))
	}
	return records
}

func (t *transcript) count(add func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stats.TokenRequests == nil {
		t.stats.TokenRequests, t.stats.Refused = make(map[string]int), make(map[string]int)
	}
	add(&t.stats)
}

// begin notes a request, and has what comes of it noted.
func (t *transcript) begin(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *entry) {
	e := &entry{Record: Record{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Proto: r.Proto}, sum: sha256.New()}
	t.mu.Lock()
	t.entries = append(t.entries, e)
	if len(t.entries) > maxRecords {
		t.entries = t.entries[len(t.entries)-maxRecords:]
	}
	t.mu.Unlock()
	r.Body = &notedBody{r.Body, t, e}
	return &notedAnswer{ResponseWriter: w, log: t, entry: e}, e
}

func (t *transcript) note(e *entry, change func(*Record)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&e.Record)
}

// A notedBody notes what is read of it.
type notedBody struct {
	io.ReadCloser
	log   *transcript
	entry *entry
}

func (b *notedBody) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	b.entry.sum.Write(to[:n])
	b.entry.BodySize += int64(n)
	return n, err
}

// A notedAnswer notes its status, before it is sent.
type notedAnswer struct {
	http.ResponseWriter
	log   *transcript
	entry *entry
	begun bool
}

func (a *notedAnswer) WriteHeader(status int) {
	if !a.begun && status >= 200 {
		a.begun = true
		a.log.note(a.entry, func(r *Record) { r.Status = status })
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *notedAnswer) Write(b []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *notedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
