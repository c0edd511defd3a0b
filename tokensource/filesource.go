package tokensource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	defaultEvery = time.Second

	// fresh is how old a file has to be for its time to say that it has not changed: it
	// may be written twice within one tick of the file system's clock.
	fresh = 2 * time.Second
)

// A FileSource is a [Renewer] whose token is in a file that something else writes,
// such as Kubernetes or the agent of a secret store. It is an access token as it is,
// with white space around it or without, or JSON with the fields of an [oauth2.Token].
//
// The file is looked at when a token is asked for, at most once in Every, and read if
// it has changed. When it is missing, empty, broken or half-written, the last
// good token is handed out; OnEvent is told. A text that is written in place, which
// does not show whether it is whole, is taken when it has not changed between two
// looks; one that is put in place by a rename or a symbolic link, at once. Renew looks
// at the file at once, and returns [ErrUnchanged] if it has nothing else.
//
// An expiry in the file is not acted upon: the token is what the file says until it
// says something else. Who may read the file is the matter of whoever writes it.
//
// A FileSource must not be copied after first use. All methods are safe for
// concurrent use by multiple goroutines; fields must not be modified after the first
// call of one. See [FileStore] for a file that is this program's own.
type FileSource struct {
	// Path names the file. It is required.
	Path string

	// Every is how often the file is looked at, at the most; zero means once a
	// second, negative each time.
	Every time.Duration

	// OnEvent, if not nil, is told of EventReread and EventReadFailed. Those
	// who wait for the file wait for OnEvent too; a panic in it is recovered and
	// ignored.
	OnEvent func(context.Context, Event)

	seen   atomic.Pointer[sighting]
	flight singleflight.Group
}

// A sighting is what came of a look at the file, never changed once it is published.
type sighting struct {
	token      *oauth2.Token // the last good one; nil: none yet
	generation uint64
	info       fs.FileInfo // of the file that it was in
	partly     fs.FileInfo // of one that may not be whole; nil: none
	err        error       // why the last look found no token
	next       int64       // when the next look is due, in wall-clock nanoseconds
}

var unseen sighting

// File returns a [FileSource] for the file that path names.
func File(path string) *FileSource { return &FileSource{Path: path} }

// Token returns the token in the file, or the last that was.
func (f *FileSource) Token(ctx context.Context) (*oauth2.Token, error) {
	st := f.load()
	// A wait longer than any is that of a clock that was set back.
	if now := time.Now().UnixNano(); now >= st.next || st.next-now > int64(f.every()) {
		var err error
		if st, err = f.wait(ctx); err != nil {
			return nil, err
		}
	}
	if st.token == nil {
		return nil, st.err
	}
	return st.token, nil
}

// Renew looks whether the file has another token than rejected.
func (f *FileSource) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	st := f.load()
	if rejected == nil || st.token == rejected {
		var err error
		if st, err = f.wait(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case st.token == nil:
		return nil, st.err
	case st.token == rejected:
		return nil, ErrUnchanged
	}
	return st.token, nil
}

// Generation returns the number by which Events call the token, or 0 if it is not the
// current one.
func (f *FileSource) Generation(token *oauth2.Token) uint64 {
	if st := f.load(); token != nil && st.token == token {
		return st.generation
	}
	return 0
}

func (f *FileSource) load() *sighting {
	if st := f.seen.Load(); st != nil {
		return st
	}
	return &unseen
}

func (f *FileSource) every() time.Duration {
	if f.Every == 0 {
		return defaultEvery
	}
	return max(f.Every, 0)
}

// wait returns what comes of a look, one for all who wait for it: a file system may
// be one that does not answer.
func (f *FileSource) wait(ctx context.Context) (*sighting, error) {
	done := f.flight.DoChan("", func() (any, error) {
		old := f.load()
		st := f.look(old)
		f.seen.Store(st)
		f.tell(context.WithoutCancel(ctx), old, st)
		return st, nil
	})
	select {
	case r := <-done:
		return r.Val.(*sighting), nil
	case <-ctx.Done():
		return nil, waited(ctx, "a file")
	}
}

func (f *FileSource) look(old *sighting) *sighting {
	now := time.Now()
	st := *old
	st.next = now.UnixNano() + int64(f.every())
	token, info, err := f.read(old, now)
	switch {
	case err != nil:
		st.err, st.partly = fmt.Errorf("tokensource: %w", err), nil
		return &st
	case token == nil && info != nil:
		st.partly = info
	case token != nil:
		st.info, st.partly = info, nil
		if !same(token, st.token) {
			st.token, st.generation = token, st.generation+1
		}
	}
	st.err = nil
	return &st
}

// read returns the token in the file; no token if it has not changed; no token but
// info if it may not be whole.
func (f *FileSource) read(old *sighting, now time.Time) (*oauth2.Token, fs.FileInfo, error) {
	if f.Path == "" {
		return nil, nil, errors.New("FileSource.Path is empty")
	}
	info, err := os.Stat(f.Path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a regular file", f.Path)
	case alike(info, old.info) && old.err == nil && now.Sub(info.ModTime()) > fresh:
		return nil, nil, nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil { // the one that is open, if it was replaced just now
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return nil, nil, err
	}
	token, whole, err := parseToken(text)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", f.Path, err)
	case whole, old.info == nil, alike(info, old.partly), same(token, old.token), !os.SameFile(info, old.info):
		return token, info, nil
	}
	return nil, info, nil
}

// alike reports whether nothing speaks for a change of the file.
func alike(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// parseToken reads what a file holds. whole says that nothing of it is missing.
func parseToken(text []byte) (token *oauth2.Token, whole bool, err error) {
	if len(text) > maxRecord {
		return nil, false, fmt.Errorf("is larger than %d MiB", maxRecord>>20)
	}
	text = bytes.TrimSpace(text)
	token = &oauth2.Token{AccessToken: string(text)}
	if whole = len(text) > 0 && text[0] == '{'; whole {
		token = new(oauth2.Token)
		if json.Unmarshal(text, token) != nil {
			return nil, false, errors.New("is broken JSON")
		}
	}
	if token.AccessToken == "" {
		return nil, false, errors.New("has no access token")
	}
	if err := wellFormed(token); err != nil {
		return nil, false, fmt.Errorf("has %w", err)
	}
	return token, whole, nil
}

// tell emits what is new in st.
func (f *FileSource) tell(ctx context.Context, old, st *sighting) {
	e := Event{Generation: st.generation}
	switch {
	case st.err != nil && old.err == nil:
		e.Kind, e.Err = EventReadFailed, st.err
	case st.err == nil && (old.err != nil || st.token != old.token):
		e.Kind, e.Lifetime = EventReread, lifeOf(st.token, time.Now())
	default:
		return
	}
	if f.OnEvent != nil {
		_ = rescue.Do("OnEvent", func() error { f.OnEvent(ctx, e); return nil })
	}
}

// String names the file.
func (f *FileSource) String() string { return "tokensource.FileSource(" + f.Path + ")" }
