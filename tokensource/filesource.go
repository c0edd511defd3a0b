package tokensource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/authtrip/authtrip/internal/private"
	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

const (
	defaultInterval = time.Second

	// patience is how long callers that have a token wait for a look.
	patience = 50 * time.Millisecond

	// A bare token is complete when its file has been at rest for atRest, or when two
	// reads settle apart show the same token. After maxReads reads a look gives up.
	atRest   = 2 * time.Second
	settle   = 100 * time.Millisecond
	maxReads = 20
)

// A FileSource is a [Renewer] over a file that something else writes, such as
// Kubernetes or the agent of a secret store:
//
//	source := tokensource.NewFileSource("/var/run/secrets/tokens/api")
//
// The file holds either a bare access token or a JSON object with the fields of an
// [oauth2.Token]. A bare token is a token68 (RFC 9110, section 11.2). White space around
// it and a UTF-8 byte order mark are ignored. Any other content is an error.
//
// Token checks the file when it is called, at most once per Interval. While the file is
// missing, broken or slow to read, Token returns the last good token. The expiry in the
// file is informative: a token stays in use until the file holds another one. Renew
// reads the file at once, whatever its modification time. It returns [ErrUnchanged] if
// the file still holds the rejected token, and the cause if the file holds no token.
//
// A JSON object shows whether it is complete. A new bare token may still be growing, so
// FileSource accepts it when the file is unmodified for two seconds, or when two reads a
// tenth of a second apart show the same token. Only callers without a usable token wait
// for the second read.
//
// Path is required; the other fields have useful zero values. The owner and the mode of
// the file are not checked. Errors wrap the cause, such as [io/fs.ErrNotExist]. If the
// context ends first, the error wraps the context's error.
//
// A FileSource must not be copied after first use. All methods are safe for concurrent
// use by multiple goroutines; fields must not be modified after the first call of a
// method. See [FileStore] for a file of the program's own.
type FileSource struct {
	// Path names the file. It is required.
	Path string

	// Interval is the minimum time between two checks of the file. Zero means one
	// second; negative checks on every call.
	Interval time.Duration

	// OnEvent, if not nil, is called for EventReread and EventReadFailed. Calls are in
	// order and never overlap. No caller of Token or Renew waits for OnEvent, so
	// OnEvent may call both. A panic in it is recovered and ignored.
	OnEvent func(context.Context, Event)

	seen atomic.Pointer[sighting]

	mu      sync.Mutex // guards the fields below
	current *look      // the look under way; nil: none
	untold  []func()   // calls of OnEvent that are still to be made
	telling bool       // a goroutine is making them
}

// A sighting is the outcome of all looks so far. It never changes once it is published.
type sighting struct {
	token      *oauth2.Token // the last good one; nil: none yet
	generation uint64
	err        error // why the last look found no token
	next       int64 // when the next look is due, in wall-clock nanoseconds
}

var unseen sighting

// A look is one check of the file, shared by all callers that need it. Callers leave
// nothing behind in it, however long it takes.
type look struct {
	done chan struct{} // closed when the outcome is published

	// slow is closed when callers that have a token should not wait any longer.
	slow     chan struct{}
	slowOnce sync.Once
}

// NewFileSource returns a [FileSource] for the file at path.
func NewFileSource(path string) *FileSource { return &FileSource{Path: path} }

// Token returns the token in the file, or the last good one.
func (f *FileSource) Token(ctx context.Context) (*oauth2.Token, error) {
	st := f.load()
	if st.due(time.Now(), f.interval()) {
		if l, _ := f.join(ctx, st); l != nil {
			if err := l.wait(ctx, st.token != nil); err != nil {
				return nil, err
			}
		}
		st = f.load()
	}
	if st.token == nil {
		return nil, st.err
	}
	return st.token, nil
}

// Renew reads the file unless the current token has already replaced rejected.
func (f *FileSource) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	if st := f.load(); rejected != nil && st.replaces(rejected) {
		return st.token, nil
	}
	// A look that was under way may have read the file before this call. The one after
	// it has not.
	for range 2 {
		l, started := f.join(ctx, nil)
		if err := l.wait(ctx, false); err != nil {
			return nil, err
		}
		if started || rejected != nil && f.load().replaces(rejected) {
			break
		}
	}
	st := f.load()
	switch {
	case st.replaces(rejected):
		return st.token, nil
	case st.err != nil:
		return nil, st.err
	}
	return nil, ErrUnchanged
}

// Generation returns the number of token in Events, or 0 if token is not the current
// one.
func (f *FileSource) Generation(token *oauth2.Token) uint64 {
	if st := f.load(); token != nil && st.token == token {
		return st.generation
	}
	return 0
}

// String names the file.
func (f *FileSource) String() string { return "tokensource.FileSource(" + f.Path + ")" }

func (f *FileSource) load() *sighting {
	if st := f.seen.Load(); st != nil {
		return st
	}
	return &unseen
}

func (f *FileSource) interval() time.Duration {
	if f.Interval == 0 {
		return defaultInterval
	}
	return max(f.Interval, 0)
}

// due reports whether it is time for another look. If that is further away than
// interval, the clock was set back.
func (st *sighting) due(now time.Time, interval time.Duration) bool {
	wait := st.next - now.UnixNano()
	return wait <= 0 || wait > int64(interval)
}

// replaces reports whether st has a token to use in the place of rejected.
func (st *sighting) replaces(rejected *oauth2.Token) bool {
	return st.token != nil && (rejected == nil || st.token.AccessToken != rejected.AccessToken)
}

// join returns the look under way. If there is none, join starts one, unless another
// has ended since seen was published; then the look is nil. A nil seen always gets a look.
func (f *FileSource) join(ctx context.Context, seen *sighting) (l *look, started bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil {
		return f.current, false
	}
	if seen != nil && f.load() != seen {
		return nil, false
	}
	f.current = &look{done: make(chan struct{}), slow: make(chan struct{})}
	go f.run(context.WithoutCancel(ctx), f.current)
	return f.current, true
}

// wait returns when the outcome of l is published, or with an error when ctx ends. A
// brief wait also ends when l is slow, and is never an error.
func (l *look) wait(ctx context.Context, brief bool) error {
	var slow <-chan struct{}
	if brief {
		slow = l.slow
	}
	select {
	case <-l.done:
	case <-slow:
	case <-ctx.Done():
		if !brief {
			return waited(ctx, "a file")
		}
	}
	return nil
}

func (l *look) setSlow() { l.slowOnce.Do(func() { close(l.slow) }) }

func (f *FileSource) run(ctx context.Context, l *look) {
	next := time.Now().UnixNano() + int64(f.interval())
	timer := time.AfterFunc(patience, l.setSlow)
	token, err := f.look(l)
	timer.Stop()

	f.mu.Lock()
	old := f.load()
	st := old.after(token, err, next)
	f.seen.Store(st)
	f.current = nil
	if e := st.news(old); e.Kind != "" && f.OnEvent != nil {
		f.untold = append(f.untold, func() { f.OnEvent(ctx, e) })
	}
	f.mu.Unlock()
	close(l.done)
	f.tell() // the look is over, so OnEvent may start the next one
}

// look reads the file until the token in it is complete.
func (f *FileSource) look(l *look) (*oauth2.Token, error) {
	var last *oauth2.Token
	for range maxReads {
		token, complete, err := f.read()
		if err != nil {
			return nil, fmt.Errorf("tokensource: %w", err)
		}
		if complete || same(token, f.load().token) || same(token, last) {
			return token, nil
		}
		last = token
		l.setSlow()
		time.Sleep(settle)
	}
	return nil, fmt.Errorf("tokensource: %s is still being written", f.Path)
}

// read returns the token in the file. complete is false if more of the token may follow.
func (f *FileSource) read() (token *oauth2.Token, complete bool, err error) {
	if f.Path == "" {
		return nil, false, errors.New("FileSource.Path is empty")
	}
	text, info, err := private.Peek(f.Path, maxRecord)
	if err != nil {
		return nil, false, err
	}
	if token, err = parseToken(text); err != nil {
		return nil, false, fmt.Errorf("%s %w", f.Path, err)
	}
	return token, isObject(document(text)) || time.Since(info.ModTime()) >= atRest, nil
}

// after returns the sighting that follows st when a look brings token or err.
func (st *sighting) after(token *oauth2.Token, err error, next int64) *sighting {
	n := &sighting{token: st.token, generation: st.generation, err: err, next: next}
	if err == nil && !same(token, st.token) {
		n.token, n.generation = token, st.generation+1
	}
	return n
}

// news returns the event for the change from old to st. Its Kind is empty if there is
// nothing to tell.
func (st *sighting) news(old *sighting) Event {
	e := Event{Generation: st.generation}
	switch {
	case st.err != nil && old.err == nil:
		e.Kind, e.Err = EventReadFailed, st.err
	case st.err == nil && (old.err != nil || st.token != old.token):
		e.Kind, e.Lifetime = EventReread, lifeOf(st.token, time.Now())
	}
	return e
}

// tell calls OnEvent for the events that are still untold, unless another goroutine is
// doing so.
func (f *FileSource) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.telling {
		return
	}
	f.telling = true
	for len(f.untold) > 0 {
		call := f.untold[0]
		f.untold = f.untold[1:]
		f.mu.Unlock()
		_ = rescue.Do("OnEvent", func() error { call(); return nil })
		f.mu.Lock()
	}
	f.untold, f.telling = nil, false
}

var token68 = regexp.MustCompile(`\A[A-Za-z0-9._~+/-]+=*\z`) // RFC 9110 section 11.2

// document returns text without a UTF-8 byte order mark and the white space around it.
func document(text []byte) []byte {
	return bytes.Trim(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
}

func isObject(doc []byte) bool { return len(doc) > 0 && doc[0] == '{' }

// parseToken returns the token in the content of a file: a JSON object or a bare token.
// Its errors complete a sentence about the file and repeat nothing of text.
func parseToken(text []byte) (*oauth2.Token, error) {
	doc := document(text)
	if isObject(doc) {
		return parseObject(doc)
	}
	switch bare := string(doc); {
	case bare == "":
		return nil, errors.New("is empty")
	case strings.HasPrefix(bare, "\xff\xfe"), strings.HasPrefix(bare, "\xfe\xff"):
		return nil, errors.New("is UTF-16, want UTF-8")
	case !token68.MatchString(bare), bare == "null", bare == "true", bare == "false": // JSON too
		return nil, errors.New("holds neither a JSON object nor a bare token (token68)")
	default:
		return &oauth2.Token{AccessToken: bare}, nil
	}
}

func parseObject(doc []byte) (*oauth2.Token, error) {
	members, err := extra.Decode(doc)
	if err != nil {
		return nil, errors.New("holds broken or incomplete JSON")
	}
	token, err := parseFields(members)
	switch {
	case err != nil:
		return nil, err
	case token.AccessToken == "":
		return nil, errors.New("has no member access_token")
	}
	return token, nil
}
