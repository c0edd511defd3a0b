package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
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

const (
	// settle is the time between two reads of a file that may still be growing.
	settle = 100 * time.Millisecond

	// settled is when a bubble is done with what happens after settle.
	settled = settle + 1
)

// A watched is a FileSource and its file, whose times are those of the bubble.
type watched struct {
	*tokensource.FileSource
	t *testing.T
	events
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{FileSource: tokensource.NewFileSource(filepath.Join(t.TempDir(), "token")), t: t}
	w.OnEvent = w.on
	return w
}

// write writes the file in place, as of now.
func (w *watched) write(text string) {
	w.t.Helper()
	w.writeTo(w.Path, text, 0)
}

// writeTo writes a file in place, as of an age ago.
func (w *watched) writeTo(path, text string, age time.Duration) {
	w.t.Helper()
	at := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
		w.t.Fatal(err)
	}
}

// replace renames another file to the path.
func (w *watched) replace(text string) {
	w.t.Helper()
	w.writeTo(w.Path+".new", text, 0)
	if err := os.Rename(w.Path+".new", w.Path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) remove() {
	w.t.Helper()
	if err := os.RemoveAll(w.Path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) expect(want string) {
	w.t.Helper()
	if got := access(w.Token(w.t.Context())); got != want {
		w.t.Errorf("Token = %s, want %s", got, want)
	}
}

// expectAtOnce also fails if the bubble's time passes.
func (w *watched) expectAtOnce(want string) {
	w.t.Helper()
	start := time.Now()
	w.expect(want)
	if took := time.Since(start); took != 0 {
		w.t.Errorf("Token took %v", took)
	}
}

func (w *watched) expectKinds(want ...tokensource.EventKind) {
	w.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, w.kinds()); diff != "" {
		w.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// object is a JSON object with an access token.
func object(token string) string { return `{"access_token":"` + token + `"}` }

func TestFileIsCheckedOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		_, err := w.Token(t.Context())
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), w.Path) {
			t.Errorf("without a file: %v", err)
		}
		w.replace(object("one"))
		if _, again := w.Token(t.Context()); again != err {
			t.Errorf("checked again at once: %v", again)
		}
		time.Sleep(time.Second)
		w.expectAtOnce("one")
		first, _ := w.Token(t.Context())
		w.replace(object("two"))
		time.Sleep(time.Second - 1)
		if token, _ := w.Token(t.Context()); token != first {
			t.Errorf("checked again within a second: %s", access(token, nil))
		}
		time.Sleep(time.Nanosecond)
		w.expectAtOnce("two")
		w.expectKinds(tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReread)
		second, _ := w.Token(t.Context())
		if got, gone := w.Generation(second), w.Generation(first); got != 2 || gone != 0 {
			t.Errorf("generations %d and %d, want 2 and 0", got, gone)
		}
		// Another modification time and another form do not make another token.
		time.Sleep(time.Hour)
		w.replace("\xef\xbb\xbf two ")
		time.Sleep(time.Second)
		if token, _ := w.Token(t.Context()); token != second {
			t.Error("another token, although the text is the same")
		}
		w.Interval = -1
		w.replace(object("three"))
		w.expectAtOnce("three")
		w.Interval = time.Minute
		time.Sleep(time.Second)
		w.expectAtOnce("three")
		w.replace(object("four"))
		time.Sleep(58 * time.Second)
		w.expectAtOnce("three")
	})
}

// The wall clock says when a check is due. Setting it back does not stop the checks.
func TestFileIsCheckedAfterTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.write(object("one"))
		w.expect("one")
		w.write(object("two"))
		w.SetClockBack(time.Hour)
		w.expectAtOnce("two")
	})
}

// The modification time, the size and the file itself can be those of the file before.
func TestFileIsReadThoughItLooksUnchanged(t *testing.T) {
	for name, change := range map[string]func(w *watched){
		"in place": func(w *watched) { w.writeTo(w.Path, "bbbb", time.Hour) },
		"truncated first": func(w *watched) {
			w.writeTo(w.Path, "", 0)
			w.writeTo(w.Path, "bbbb", time.Hour)
		},
		"removed first": func(w *watched) {
			w.remove()
			w.writeTo(w.Path, "bbbb", time.Hour)
		},
		"renamed": func(w *watched) {
			w.writeTo(w.Path+".new", "bbbb", time.Hour)
			if err := os.Rename(w.Path+".new", w.Path); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			w := newWatched(t)
			w.writeTo(w.Path, "aaaa", time.Hour)
			w.expectAtOnce("aaaa")
			rejected, _ := w.Token(t.Context())
			if token, err := w.Renew(t.Context(), rejected); err != tokensource.ErrUnchanged {
				t.Errorf("Renew = %s, want ErrUnchanged", access(token, err))
			}
			change(w)
			if got := access(w.Renew(t.Context(), rejected)); got != "bbbb" {
				t.Errorf("Renew = %s", got)
			}
		})
		bubble(t, name+", by Token", func(t *testing.T) {
			w := newWatched(t)
			w.writeTo(w.Path, "aaaa", time.Hour)
			w.expectAtOnce("aaaa")
			change(w)
			w.expectAtOnce("aaaa")
			time.Sleep(time.Second)
			w.expectAtOnce("bbbb")
		})
	}
}

func TestFileKeepsTheLastGoodToken(t *testing.T) {
	for name, spoil := range map[string]func(*watched){
		"missing":           func(w *watched) { w.remove() },
		"empty":             func(w *watched) { w.write("") },
		"blank":             func(w *watched) { w.write(" \n") },
		"half of its JSON":  func(w *watched) { w.write(`{"access_token":"s3cr`) },
		"no token":          func(w *watched) { w.write(`{"refresh_token":"s3cret"}`) },
		"control character": func(w *watched) { w.write("s3c\nret") },
		"no scheme":         func(w *watched) { w.write(`{"access_token":"x","token_type":"s3c ret"}`) },
		"huge":              func(w *watched) { w.write(strings.Repeat("s3cret", 1<<18)) },
		"a folder":          func(w *watched) { w.remove(); _ = os.Mkdir(w.Path, 0o700) },
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
						t.Errorf("Token = %s, want the last good one", access(token, err))
					}
				}
				if token, err := w.Renew(t.Context(), good); err == nil || errors.Is(err, tokensource.ErrUnchanged) || !strings.Contains(err.Error(), w.Path) {
					t.Errorf("Renew = %s, want what is wrong with the file", access(token, err))
				}
				if token, err := w.Renew(t.Context(), &oauth2.Token{AccessToken: "zero"}); token != good {
					t.Errorf("Renew of an older token = %s", access(token, err))
				}
				w.remove()
				w.replace(object("one"))
				time.Sleep(time.Second)
				if token, err := w.Token(t.Context()); token != good {
					t.Errorf("Token = %s", access(token, err))
				}
			}
			w.replace(object("two"))
			time.Sleep(time.Second)
			w.expect("two")
			w.expectKinds(tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread, tokensource.EventReread)
			for _, e := range w.list() {
				if text := fmt.Sprint(e.Err); e.Kind == tokensource.EventReadFailed && !strings.Contains(text, w.Path) || strings.Contains(text, "s3c") {
					t.Errorf("%s: %s", e.Kind, text)
				}
			}
			// A new source has no token to fall back on.
			spoil(w)
			other := tokensource.NewFileSource(w.Path)
			if token, err := other.Token(t.Context()); err == nil || strings.Contains(err.Error(), "s3c") {
				t.Errorf("a new source has %s", access(token, err))
			}
			if token, err := other.Renew(t.Context(), good); err == nil {
				t.Errorf("and %s", access(token, err))
			}
		})
	}
}

// What is at rest is complete.
func TestFileAtRestIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.Interval = -1
		w.writeTo(w.Path, "one", 2*time.Second)
		w.expectAtOnce("one")
		w.writeTo(w.Path, "two", 2*time.Second)
		w.expectAtOnce("two")
		w.write("three")
		time.Sleep(2 * time.Second)
		w.expectAtOnce("three")
	})
}

// The first call decides, and Renew does. Other callers have a token meanwhile.
func TestFileIsReadTwice(t *testing.T) {
	for name, age := range map[string]time.Duration{"now": 0, "a second ago": time.Second, "in the future": -time.Hour} {
		bubble(t, name, func(t *testing.T) {
			w := newWatched(t)
			expectLater := func(want string, f func() (*oauth2.Token, error)) {
				t.Helper()
				start := time.Now()
				got := access(f())
				if took := time.Since(start); got != want || took != settle {
					t.Errorf("%s after %v, want %s after %v", got, took, want, settle)
				}
			}
			w.writeTo(w.Path, "one", age)
			expectLater("one", func() (*oauth2.Token, error) { return w.Token(t.Context()) })
			one, _ := w.Token(t.Context())
			w.writeTo(w.Path, "two", age)
			expectLater("two", func() (*oauth2.Token, error) { return w.Renew(t.Context(), one) })
			time.Sleep(time.Second)
			w.writeTo(w.Path, "three", age)
			w.expectAtOnce("two")
			time.Sleep(settled)
			w.expectAtOnce("three")
		})
	}
}

// grow appends to the file, a byte every few milliseconds.
func (w *watched) grow(text string) {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() {
		for n := range text {
			w.write(text[:n+1])
			time.Sleep(30 * time.Millisecond)
		}
	})
}

func TestFileIsWrittenInPlace(t *testing.T) {
	const first, second = "the-first-access-token", "another-access-token"
	for name, get := range map[string]func(*watched) (*oauth2.Token, error){
		"Token": func(w *watched) (*oauth2.Token, error) { return w.Token(w.t.Context()) },
		"Renew": func(w *watched) (*oauth2.Token, error) { return w.Renew(w.t.Context(), nil) },
	} {
		bubble(t, name, func(t *testing.T) {
			w := newWatched(t)
			w.Interval = -1
			w.write("")
			go w.grow(first)
			time.Sleep(45 * time.Millisecond)
			if got := access(get(w)); got != first {
				t.Errorf("%s = %s, want %s", name, got, first)
			}
			one, _ := w.Token(t.Context())
			go w.grow(second)
			time.Sleep(45 * time.Millisecond)
			for range 100 {
				if token, err := w.Token(t.Context()); token != one && access(token, err) != second {
					t.Errorf("Token = %s, want %s or %s", access(token, err), first, second)
				}
				time.Sleep(10 * time.Millisecond)
			}
			w.expect(second)
			w.expectKinds(tokensource.EventReread, tokensource.EventReread)
		})
	}
	bubble(t, "Renew of the current token", func(t *testing.T) {
		w := newWatched(t)
		w.write(first)
		w.expect(first)
		rejected, _ := w.Token(t.Context())
		go w.grow(second)
		time.Sleep(45 * time.Millisecond)
		if got := access(w.Renew(t.Context(), rejected)); got != second {
			t.Errorf("Renew = %s, want %s", got, second)
		}
	})
	bubble(t, "without end", func(t *testing.T) {
		w := newWatched(t)
		w.write("")
		go w.grow(strings.Repeat("x", 1000))
		time.Sleep(45 * time.Millisecond)
		if token, err := w.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "is still being written") {
			t.Errorf("Token = %s", access(token, err))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if token, err := w.Renew(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %s, want an error when its context ends", access(token, err))
		}
		time.Sleep(time.Minute)
	})
	bubble(t, "JSON", func(t *testing.T) {
		w := newWatched(t)
		w.Interval = -1
		w.write(object("one"))
		w.expectAtOnce("one")
		text := object("two")
		for n := range text {
			w.write(text[:n])
			w.expectAtOnce("one")
		}
		w.write(text)
		w.expectAtOnce("two")
		w.expectKinds(tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread)
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
				os.Symlink(folder, data+"_tmp"), os.Rename(data+"_tmp", data), os.RemoveAll(filepath.Join(dir, fmt.Sprint("..", n-1))))
			if err != nil {
				t.Skip(err)
			}
		}
		turn(1)
		if err := os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")); err != nil {
			t.Skip(err)
		}
		f := tokensource.NewFileSource(filepath.Join(dir, "token"))
		for n := 1; n <= 4; n++ {
			for range 2 { // the second call follows the second read
				_, _ = f.Token(t.Context())
				time.Sleep(settled)
			}
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
		// Another source of the same file has rejected the same text.
		if token, err := w.Renew(t.Context(), &oauth2.Token{AccessToken: "one"}); err != tokensource.ErrUnchanged {
			t.Errorf("Renew = %s, want ErrUnchanged", access(token, err))
		}
		w.replace("two")
		for range 2 {
			if got := access(w.Renew(t.Context(), one)); got != "two" {
				t.Errorf("Renew = %s", got)
			}
		}
		// The file goes back to the first token.
		two, _ := w.Token(t.Context())
		w.replace("one")
		if got := access(w.Renew(t.Context(), two)); got != "one" {
			t.Errorf("Renew = %s", got)
		}
		if token, err := w.Renew(t.Context(), one); err != tokensource.ErrUnchanged {
			t.Errorf("Renew = %s, want ErrUnchanged", access(token, err))
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		w.replace("three")
		if token, err := w.Renew(gone, one); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "waiting for a file") {
			t.Errorf("Renew = %s", access(token, err))
		}
		time.Sleep(settled)
		w.expectAtOnce("three")
	})
}

// A look that has read the file already does not answer for what is written afterwards.
func TestFileRenewLooksAfterItIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.write(object("one"))
		w.expect("one")
		one, _ := w.Token(t.Context())
		time.Sleep(time.Second)
		w.write("x")
		w.expectAtOnce("one") // starts a look that gives up after twenty reads
		for n := range 19 {
			time.Sleep(settle / 2)
			w.write(strings.Repeat("x", n+2))
			time.Sleep(settle / 2)
		}
		time.Sleep(settle / 2)
		w.write(object("two"))
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if got := access(w.Renew(t.Context(), one)); got != "two" {
					t.Errorf("Renew = %s, want two", got)
				}
			})
		}
		all.Wait()
		w.expectKinds(tokensource.EventReread, tokensource.EventReadFailed, tokensource.EventReread)
	})
}

// OnEvent asks for the token: no look is under way while it runs, so it may start one.
func TestFileOnEventMayAskForTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.Interval = -1
		running := make(chan struct{}, 1)
		var seen []string
		w.OnEvent = func(ctx context.Context, e tokensource.Event) {
			select {
			case running <- struct{}{}:
			default:
				t.Error("two calls of OnEvent overlap")
			}
			w.on(ctx, e)
			token, err := w.Token(ctx)
			seen = append(seen, access(token, err))
			if e.Generation < 4 {
				w.write(object(fmt.Sprint("token-", e.Generation+1)))
				if got := access(w.Renew(ctx, token)); got != fmt.Sprint("token-", e.Generation+1) {
					t.Errorf("Renew = %s", got)
				}
			}
			<-running
		}
		w.write(object("token-1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := w.Token(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"token-1", "token-2", "token-3", "token-4"}, seen); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
		for i, e := range w.list() {
			if e.Kind != tokensource.EventReread || e.Generation != uint64(i+1) {
				t.Errorf("event %d is %v", i, e)
			}
		}
	})
}

// Nobody waits for OnEvent, and a panic in it stays there.
func TestFileOnEventMayMisbehave(t *testing.T) {
	for name, misbehave := range map[string]func(stop <-chan struct{}){
		"blocks": func(stop <-chan struct{}) { <-stop },
		"panics": func(<-chan struct{}) { panic("s3cret") },
		"exits":  func(<-chan struct{}) { runtime.Goexit() },
	} {
		bubble(t, name, func(t *testing.T) {
			w := newWatched(t)
			w.Interval = -1
			stop := make(chan struct{})
			w.OnEvent = func(ctx context.Context, e tokensource.Event) {
				w.on(ctx, e)
				misbehave(stop)
			}
			for n := range 3 {
				w.write(object(fmt.Sprint("token-", n)))
				w.expectAtOnce(fmt.Sprint("token-", n))
			}
			close(stop)
			w.expectKinds(tokensource.EventReread, tokensource.EventReread, tokensource.EventReread)
		})
	}
}

func TestFileOnEventHasTheContextOfACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		w := newWatched(t)
		w.OnEvent = func(ctx context.Context, _ tokensource.Event) {
			if ctx.Err() != nil || ctx.Value(key{}) != "value" {
				t.Errorf("context has error %v, value %v", ctx.Err(), ctx.Value(key{}))
			}
		}
		w.write("one")
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Millisecond)
		defer cancel()
		if token, err := w.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token = %s, want an error when its context ends", access(token, err))
		}
		time.Sleep(settled)
		w.expectAtOnce("one")
	})
}

func TestFileByMany(t *testing.T) {
	w := newWatched(t)
	w.Interval = -1
	w.replace(object("token-0"))
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
		w.replace(object(fmt.Sprint("token-", n)))
	}
	close(stop)
	all.Wait()
	if got := access(w.Renew(t.Context(), nil)); got != "token-199" {
		t.Errorf("Renew = %s", got)
	}
}

func TestFileWithoutPath(t *testing.T) {
	if _, err := tokensource.NewFileSource("").Token(t.Context()); err == nil || !strings.Contains(err.Error(), "FileSource.Path is empty") {
		t.Errorf("got %v", err)
	}
}

func TestFileTokenAllocatesNothing(t *testing.T) {
	w := newWatched(t)
	w.Interval = time.Hour
	w.write(object("one"))
	w.expect("one")
	if got := testing.AllocsPerRun(100, func() { _, _ = w.Token(t.Context()) }); got != 0 {
		t.Errorf("Token allocates %v times", got)
	}
}

const (
	mark       = "\xef\xbb\xbf" // the byte order mark of UTF-8
	neither    = "holds neither a JSON object nor a bare token (token68)"
	brokenJSON = "holds broken or incomplete JSON"
)

// utf16 is the ASCII characters of text in UTF-16, most significant byte first if big.
func utf16(text string, big bool) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if big {
			b.Write([]byte{0, c})
		} else {
			b.Write([]byte{c, 0})
		}
	}
	return b.String()
}

var contents = []struct {
	name, text, token, err string // token or err
}{
	{"bare", "at", "at", ""},
	{"bare, all characters", "aZ09-._~+/==", "aZ09-._~+/==", ""},
	{"bare, white space", "\t at \r\n\n", "at", ""},
	{"bare, mark", mark + "at\n", "at", ""},
	{"bare, digits", "0123456789", "0123456789", ""},
	{"object", object("at"), "at", ""},
	{"object, white space", "\r\n " + object("at") + "\n\n", "at", ""},
	{"object, mark", mark + `{"access_token":"at","refresh_token":"s3cret"}`, "at", ""},
	{"object, strangers", `{"access_token":"at","scopes":["a"],"token":"s3cret","account":{"access_token":"s3cret"}}`, "at", ""},
	{"object, nulls", `{"access_token":"at","token_type":null,"refresh_token":null,"expiry":null,"expires_in":null}`, "at", ""},
	{"object, characters that a bare token may not have", object("a|t:1"), "a|t:1", ""},
	{"object, escapes", object(`a\u0074`), "at", ""},

	{"nothing", "", "", "is empty"},
	{"white space", " \r\n", "", "is empty"},
	{"mark alone", mark, "", "is empty"},
	{"UTF-16, little-endian", "\xff\xfe" + utf16("s3cret", false), "", "is UTF-16, want UTF-8"},
	{"UTF-16, big-endian", "\xfe\xff" + utf16(object("s3cret"), true), "", "is UTF-16, want UTF-8"},
	{"UTF-16, no mark", utf16("s3cret", false), "", neither},
	{"UTF-16 object, no mark", utf16(object("s3cret"), false), "", brokenJSON},
	{"UTF-32", "\x00\x00\xfe\xff\x00\x00\x00s", "", neither},
	{"zeros", "\x00\x00\x00\x00", "", neither},
	{"zero at the end", "s3cret\x00", "", neither},
	{"list", `[` + object("s3cret") + `]`, "", neither},
	{"list behind a mark", mark + `[` + object("s3cret") + `]`, "", neither},
	{"two marks", mark + mark + object("s3cret"), "", neither},
	{"JSON string", `"s3cret"`, "", neither},
	{"JSON null", "null", "", neither},
	{"JSON true", "true\n", "", neither},
	{"JSON number", `{"access_token":3}`, "", "has a member access_token that is not a string"},
	{"YAML", "access_token: s3cret", "", neither},
	{"YAML, more lines", "---\naccess_token: s3cret\nrefresh_token: s3cret\n", "", neither},
	{"INI", "access_token=s3cret", "", neither},
	{"form", "access_token=s3cret&token_type=bearer", "", neither},
	{"field", "Bearer s3cret", "", neither},
	{"whole field", "Authorization: Bearer s3cret", "", neither},
	{"two lines", "s3cret\ns3cret", "", neither},
	{"no-break space", "\u00a0s3cret", "", neither},
	{"not ASCII", "s3crét", "", neither},
	{"= alone", "=", "", neither},
	{"= within", "s3=cret", "", neither},
	{"HTML", "<!doctype html><p>s3cret", "", neither},
	{"half an object", `{"access_token":"s3cr`, "", brokenJSON},
	{"object but for its end", `{"access_token":"s3cret"`, "", brokenJSON},
	{"object and more", object("s3cret") + "}", "", brokenJSON},
	{"two objects", object("s3cret") + "\n" + object("s3cret"), "", brokenJSON},
	{"comment", "{/* s3cret */}", "", brokenJSON},
	{"Latin-1", "{\"access_token\":\"s3cr\xe9t\"}", "", brokenJSON},
	{"no members", "{}", "", "has no member access_token"},
	{"other members", `{"refresh_token":"s3cret","token":"s3cret","id_token":"s3cret"}`, "", "has no member access_token"},
	{"empty token", object(""), "", "has no member access_token"},
	{"null for a token", `{"access_token":null}`, "", "has no member access_token"},
	{"list for a token", `{"access_token":["s3cret"]}`, "", "has a member access_token that is not a string"},
	{"number for a refresh token", `{"access_token":"s3cret","refresh_token":3}`, "", "has a member refresh_token that is not a string"},
	{"control character", object(`s3c\nret`), "", "has a token with a control character"},
	{"control character in a refresh token", `{"access_token":"s3cret","refresh_token":"\u0000"}`, "", "has a token with a control character"},
	{"no scheme", `{"access_token":"s3cret","token_type":"s3c ret"}`, "", "has a token_type that is no authentication scheme"},
}

func TestFileContents(t *testing.T) {
	for _, tc := range contents {
		bubble(t, tc.name, func(t *testing.T) {
			w := newWatched(t)
			w.writeTo(w.Path, tc.text, time.Hour)
			token, err := w.Token(t.Context())
			if tc.err == "" {
				if got := access(token, err); got != tc.token {
					t.Errorf("Token = %s, want %s", got, tc.token)
				}
				return
			}
			want := "tokensource: " + w.Path + " " + tc.err
			if err == nil || err.Error() != want {
				t.Errorf("Token = %s, want error: %s", access(token, err), want)
			}
		})
	}
}

// The other members are as x/oauth2 and other languages write them.
func TestFileMembers(t *testing.T) {
	at := time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, tc := range []struct {
		member string
		want   oauth2.Token
	}{
		{`"refresh_token":"rt","token_type":"DPoP"`, oauth2.Token{RefreshToken: "rt", TokenType: "DPoP"}},
		{`"expires_in":3600`, oauth2.Token{ExpiresIn: 3600}},
		{`"expires_in":3599.9`, oauth2.Token{ExpiresIn: 3599}},
		{`"expires_in":3.6e3`, oauth2.Token{ExpiresIn: 3600}},
		{`"expires_in":"3600"`, oauth2.Token{ExpiresIn: 3600}},
		{`"expires_in":" 3600.0 "`, oauth2.Token{ExpiresIn: 3600}},
		{`"expires_in":-1`, oauth2.Token{}},
		{`"expires_in":"soon"`, oauth2.Token{}},
		{`"expires_in":[3600]`, oauth2.Token{}},
		{`"expires_in":1e400`, oauth2.Token{ExpiresIn: 1<<31 - 1}},
		{`"expiry":"2030-05-06T07:08:09Z"`, oauth2.Token{Expiry: at}},
		{`"expiry":"2030-05-06T09:08:09+02:00"`, oauth2.Token{Expiry: at}},
		{`"expiry":"2030-05-06T09:08:09+0200"`, oauth2.Token{Expiry: at}},
		{`"expiry":"2030-05-06T07:08:09"`, oauth2.Token{Expiry: at}},
		{`"expiry":"2030-05-06T07:08:09.5"`, oauth2.Token{Expiry: at.Add(time.Second / 2)}},
		{`"expiry":"2030-05-06 07:08:09.5"`, oauth2.Token{Expiry: at.Add(time.Second / 2)}},
		{`"expiry":"0001-01-01T00:00:00Z"`, oauth2.Token{}},

		{`"expiry":""`, oauth2.Token{}},
		{`"expiry":"tomorrow"`, oauth2.Token{}},
		{`"expiry":1904281689`, oauth2.Token{}},
	} {
		t.Run(tc.member, func(t *testing.T) {
			tc.want.AccessToken = "at"
			got, err := tokensource.ParseToken([]byte(`{"access_token":"at",` + tc.member + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain(&tc.want), plain(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// plain is what a token has in JSON, its expiry in UTC.
func plain(t *oauth2.Token) map[string]any {
	return map[string]any{
		"access_token": t.AccessToken, "token_type": t.TokenType, "refresh_token": t.RefreshToken,
		"expiry": t.Expiry.UTC(), "expires_in": t.ExpiresIn,
	}
}

// Whatever a file holds, the token fits in a header field and the error in a log. A bare
// token is the text of the file. A token in JSON survives being written again.
func FuzzFileContents(f *testing.F) {
	for _, tc := range contents {
		f.Add([]byte(tc.text))
	}
	f.Add([]byte(`{"access_token":"at","token_type":"DPoP","refresh_token":"rt","expiry":"2030-05-06 07:08:09.5","expires_in":"5"}`))
	bare := regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := tokensource.ParseToken(text)
		if (token == nil) == (err == nil) {
			t.Fatalf("%v, %v, want exactly one of token and error", token, err)
		}
		if err != nil {
			if len(err.Error()) > 100 || hasControl(err.Error()) {
				t.Errorf("error is unfit for a log: %q", err)
			}
			return
		}
		if token.AccessToken == "" || hasControl(token.AccessToken) || hasControl(token.RefreshToken) {
			t.Errorf("access token %q, refresh token %q", token.AccessToken, token.RefreshToken)
		}
		if trimmed := strings.TrimSpace(strings.TrimPrefix(string(text), mark)); trimmed[0] != '{' {
			if token.AccessToken != trimmed || !bare.MatchString(token.AccessToken) || token.RefreshToken != "" {
				t.Errorf("bare token %q, refresh token %q", token.AccessToken, token.RefreshToken)
			}
		}
		again, err := json.Marshal(token)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		got, err := tokensource.ParseToken(again)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if diff := cmp.Diff(plain(token), plain(got)); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	})
}

// Kubernetes or an agent keeps the token in a file fresh.
func ExampleNewFileSource() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "token") // in a Pod: /var/run/secrets/tokens/api
	if err := os.WriteFile(path, []byte("projected-1\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	source := tokensource.NewFileSource(path)
	token, err := source.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: projected-1
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
