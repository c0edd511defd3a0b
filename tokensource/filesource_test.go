package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var _ tokensource.Renewer = (*tokensource.FileSource)(nil)

// A watched is a FileSource and its file, whose times are the bubble's.
type watched struct {
	*tokensource.FileSource
	t *testing.T
	events
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{FileSource: tokensource.File(filepath.Join(t.TempDir(), "token")), t: t}
	w.OnEvent = w.on
	return w
}

// write writes the file in place.
func (w *watched) write(text string) { w.writeTo(w.Path, text) }

func (w *watched) writeTo(path, text string) {
	w.t.Helper()
	now := time.Now()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, now, now)); err != nil {
		w.t.Fatal(err)
	}
}

// replace puts another file in its place.
func (w *watched) replace(text string) {
	w.t.Helper()
	w.writeTo(w.Path+".new", text)
	if err := os.Rename(w.Path+".new", w.Path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) expect(want string) {
	w.t.Helper()
	if got := access(w.Token(w.t.Context())); got != want {
		w.t.Errorf("Token = %s, want %s", got, want)
	}
}

func (w *watched) expectKinds(want ...tokensource.EventKind) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.kinds()); diff != "" {
		w.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestFileIsLookedAtFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		_, err := w.Token(t.Context())
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), w.Path) {
			t.Errorf("without a file: %v", err)
		}
		w.replace("one\n")
		if _, again := w.Token(t.Context()); again != err {
			t.Errorf("looked at again at once: %v", again)
		}
		time.Sleep(time.Second)
		w.expect("one")
		first, _ := w.Token(t.Context())
		w.replace("two")
		time.Sleep(time.Second - 1)
		if token, _ := w.Token(t.Context()); token != first {
			t.Errorf("looked at again within a second: %s", access(token, nil))
		}
		time.Sleep(time.Nanosecond)
		w.expect("two")
		w.expectKinds(tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReread)
		second, _ := w.Token(t.Context())
		if got, gone := w.Generation(second), w.Generation(first); got != 2 || gone != 0 {
			t.Errorf("generations %d and %d, want 2 and 0", got, gone)
		}
		// What has another time and is the same is the same.
		time.Sleep(time.Hour)
		w.replace(" two ")
		time.Sleep(time.Second)
		if token, _ := w.Token(t.Context()); token != second {
			t.Error("another token, although the text is the same")
		}
		w.Every = -1
		w.replace("three")
		w.expect("three")
	})
}

// A look is no reading: what leaves no trace is not seen, unless the file is so new
// that its time says nothing.
func TestFileIsReadWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.write("one")
		start := time.Now()
		w.expect("one")
		quietly := func(text string) {
			w.write(text)
			if err := os.Chtimes(w.Path, start, start); err != nil {
				t.Fatal(err)
			}
		}
		quietly("two")
		time.Sleep(time.Second)
		w.expect("one") // it may be half of it
		time.Sleep(time.Second)
		w.expect("two")
		time.Sleep(time.Minute)
		quietly("six")
		w.expect("two")
	})
}

func TestFileKeepsTheLastGoodToken(t *testing.T) {
	for name, spoil := range map[string]func(*watched){
		"missing":           func(w *watched) { _ = os.Remove(w.Path) },
		"empty":             func(w *watched) { w.write("") },
		"blank":             func(w *watched) { w.write(" \n") },
		"half of its JSON":  func(w *watched) { w.write(`{"access_token":"s3cr`) },
		"no token":          func(w *watched) { w.write(`{"refresh_token":"s3cret"}`) },
		"control character": func(w *watched) { w.write("s3c\nret") },
		"no scheme":         func(w *watched) { w.write(`{"access_token":"x","token_type":"s3c ret"}`) },
		"huge":              func(w *watched) { w.write(strings.Repeat("s3cret", 1<<18)) },
		"a folder":          func(w *watched) { _ = errors.Join(os.Remove(w.Path), os.Mkdir(w.Path, 0o700)) },
	} {
		bubble(t, name, func(t *testing.T) {
			w := newWatched(t)
			w.write(`{"access_token":"one","expiry":"2000-01-01T00:30:00Z"}`)
			w.expect("one")
			good, _ := w.Token(t.Context())
			for range 2 {
				spoil(w)
				for range 3 {
					time.Sleep(time.Second)
					if token, err := w.Token(t.Context()); token != good {
						t.Errorf("Token = %s, want what was there", access(token, err))
					}
				}
				if token, err := w.Renew(t.Context(), good); err != tokensource.ErrUnchanged {
					t.Errorf("Renew = %s, want ErrUnchanged", access(token, err))
				}
				_ = os.Remove(w.Path)
				w.replace(`{"access_token":"one"}`)
				time.Sleep(time.Second)
				if token, err := w.Token(t.Context()); token != good {
					t.Errorf("Token = %s", access(token, err))
				}
			}
			w.replace("two")
			time.Sleep(time.Second)
			w.expect("two")
			w.expectKinds(tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReread)
			for _, e := range w.list() {
				if text := fmt.Sprint(e.Err); e.Kind == tokensource.EventReadFailed && !strings.Contains(text, w.Path) || strings.Contains(text, "s3c") {
					t.Errorf("%s: %s", e.Kind, text)
				}
			}
			// Nor is there one to begin with.
			spoil(w)
			other := tokensource.File(w.Path)
			if token, err := other.Token(t.Context()); err == nil || strings.Contains(err.Error(), "s3c") {
				t.Errorf("a new source has %s", access(token, err))
			}
			if token, err := other.Renew(t.Context(), good); err == nil {
				t.Errorf("and %s", access(token, err))
			}
		})
	}
}

// A text that is written in place, part by part, is not taken for a token before it
// is at rest.
func TestFileIsWrittenInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.write("one")
		w.expect("one")
		for _, part := range []string{"t", "tw", "two"} {
			time.Sleep(time.Second)
			w.write(part)
			w.expect("one")
		}
		good, _ := w.Token(t.Context())
		if got := access(w.Renew(t.Context(), good)); got != "two" {
			t.Errorf("Renew = %s: it has not changed since the last look", got)
		}
		// JSON that is not whole is none.
		w.write(`{"access_token":"three"}`)
		time.Sleep(time.Second)
		w.expect("three")
	})
}

// Kubernetes turns a link to a folder.
func TestFileBehindALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		turn := func(n int) {
			t.Helper()
			folder, data := filepath.Join(dir, fmt.Sprint("..", n)), filepath.Join(dir, "..data")
			err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "token"), fmt.Append(nil, "token-", n), 0o644),
				os.Symlink(folder, data+"_tmp"), os.Rename(data+"_tmp", data))
			if err != nil {
				t.Skip(err)
			}
		}
		turn(1)
		if err := os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")); err != nil {
			t.Skip(err)
		}
		f := tokensource.File(filepath.Join(dir, "token"))
		for n := 1; n <= 3; n++ {
			if got := access(f.Token(t.Context())); got != fmt.Sprint("token-", n) {
				t.Errorf("Token = %s, want token-%d", got, n)
			}
			turn(n + 1)
			time.Sleep(time.Second)
		}
	})
}

func TestFileRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.write("one")
		one, err := w.Renew(t.Context(), nil)
		if got := access(one, err); got != "one" {
			t.Errorf("Renew of none = %s", got)
		}
		if token, err := w.Renew(t.Context(), one); err != tokensource.ErrUnchanged {
			t.Errorf("Renew = %s, want ErrUnchanged", access(token, err))
		}
		w.replace("two")
		for range 2 {
			if got := access(w.Renew(t.Context(), one)); got != "two" {
				t.Errorf("Renew = %s: not looked at at once", got)
			}
		}
	})
}

func TestFileByMany(t *testing.T) {
	w := newWatched(t)
	w.Every = -1
	w.replace("token-0")
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := access(w.Token(t.Context())); !strings.HasPrefix(got, "token-") {
					t.Errorf("Token = %s", got)
				}
			}
		})
	}
	for n := range 200 {
		w.replace(fmt.Sprint("token-", n))
	}
	close(stop)
	all.Wait()
	w.expect("token-199")
	if err := os.Remove(w.Path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.OnEvent = func(context.Context, tokensource.Event) { cancel(); select {} }
	if _, err := w.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("whose context has ended waits no more: %v", err)
	}
}

func TestFileWithoutPath(t *testing.T) {
	if _, err := tokensource.File("").Token(t.Context()); err == nil || !strings.Contains(err.Error(), "FileSource.Path is empty") {
		t.Errorf("got %v", err)
	}
}

func TestFileTokenAllocatesNothing(t *testing.T) {
	w := newWatched(t)
	w.Every = time.Hour
	w.write("one")
	w.expect("one")
	if got := testing.AllocsPerRun(100, func() { _, _ = w.Token(t.Context()) }); got != 0 {
		t.Errorf("Token allocates %v times", got)
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("token\n"))
	f.Add([]byte(`{"access_token":"x","expiry":"2000-01-01T00:30:00Z"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := tokensource.File(path).Token(t.Context())
		switch {
		case (token == nil) == (err == nil):
			t.Errorf("%v, %v", token, err)
		case err == nil && (token.AccessToken == "" || strings.ContainsAny(token.AccessToken, "\r\n\x00")):
			t.Errorf("took %q for a token", token.AccessToken)
		}
	})
}

// A token that Kubernetes, or an agent, keeps fresh in a file.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "token") // /var/run/secrets/tokens/api
	if err := os.WriteFile(path, []byte("projected-1\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	source := tokensource.File(path)
	source.OnEvent = func(_ context.Context, e tokensource.Event) { fmt.Println(e.Kind) }
	token, err := source.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output:
	// reread
	// projected-1
}

// A server calls an API for each of its users.
func ExampleSessions() {
	type userKey struct{}
	stores := make(map[string]tokensource.Store) // one for each user, such as a redisstore.Store
	for _, user := range []string{"alice", "bob"} {
		stores[user] = &fakeStore{text: tokensource.NewRecord(&oauth2.Token{AccessToken: "of " + user})}
	}
	sessions := &tokensource.Sessions{New: func(user string) *tokensource.Session {
		return &tokensource.Session{Store: stores[user]}
	}}
	source := sessions.Source(func(ctx context.Context) (string, error) {
		user, _ := ctx.Value(userKey{}).(string)
		return user, nil
	})
	// For transport.Refresh{Source: source}, which asks with the request's context.
	for _, user := range []string{"bob", "alice", ""} {
		token, err := source.Token(context.WithValue(context.Background(), userKey{}, user))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(token.AccessToken)
	}
	// Output:
	// of bob
	// of alice
	// tokensource: no token
}
