package transport_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// shown is how much of a body RejectedIf shows.
const shown = 16 << 10

func contains(s string) func([]byte) bool {
	return func(body []byte) bool { return bytes.Contains(body, []byte(s)) }
}

func TestRejectedIf(t *testing.T) {
	tests := []struct {
		name     string
		rejected func(*http.Response) bool
		status   int
		body     string
		want     bool
	}{
		{"status", transport.RejectedIf(nil, 401, 403, 419), 419, "", true},
		{"another status", transport.RejectedIf(nil, 401, 403, 419), 200, "", false},
		{"no statuses", transport.RejectedIf(nil), 401, "", false},
		{"no statuses, though it matches", transport.RejectedIf(contains("")), 401, "expired", false},
		{"status and body", transport.RejectedIf(contains("expired"), 200, 400), 400, "token expired", true},
		{"status alone", transport.RejectedIf(contains("expired"), 200), 200, "welcome", false},
		{"body alone", transport.RejectedIf(contains("expired"), 200), 201, "token expired", false},
		{"at the end of what is shown", transport.RejectedIf(contains("expired"), 200), 200, strings.Repeat(" ", shown-7) + "expired", true},
		{"further on", transport.RejectedIf(contains("expired"), 200), 200, strings.Repeat(" ", shown-6) + "expired", false},
		{"empty", transport.RejectedIf(func(body []byte) bool { return len(body) == 0 }, 200), 200, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := newBody(tt.body)
			resp := response(nil, tt.status, body)
			if got := tt.rejected(resp); got != tt.want {
				t.Errorf("rejected: %v, want %v", got, tt.want)
			}
			if got := slurp(t, resp); got != tt.body {
				t.Errorf("%d bytes are left of %d", len(got), len(tt.body))
			}
			body.wantClosedOnce(t, "the body")
		})
	}
}

func TestRejectedIfCopiesItsStatuses(t *testing.T) {
	statuses := []int{401}
	rejected := transport.RejectedIf(nil, statuses...)
	statuses[0] = 200
	if !rejected(response(nil, 401, nil)) || rejected(response(nil, 200, nil)) {
		t.Error("it goes by statuses that were changed later")
	}
}

// A failsOnce fails, and then is at its end.
type failsOnce struct{ err error }

func (f *failsOnce) Read([]byte) (int, error) {
	err := f.err
	f.err = io.EOF
	return 0, err
}

// What the body was read for is read again, error included.
func TestRejectedIfLeavesTheBodyWhole(t *testing.T) {
	errLost := errors.New("connection lost half-way")
	for _, size := range []int{0, 1, 100, shown - 1, shown, shown + 1, shown + 100, kept} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plainly":       func(r io.Reader) io.Reader { return r },
			"byte by byte":  iotest.OneByteReader,
			"EOF with data": iotest.DataErrReader,
			"failing":       func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(errLost)) },
			"failing once":  func(r io.Reader) io.Reader { return io.MultiReader(r, &failsOnce{err: errLost}) },
		} {
			t.Run(fmt.Sprint(size, " ", name), func(t *testing.T) {
				body := &counted{Reader: wrap(strings.NewReader(text(size)))}
				resp := response(nil, 200, body)
				var looks []string
				look := func(b []byte) bool { looks = append(looks, string(b)); return false }
				for range 2 { // whoever looks first
					transport.RejectedIf(look, 200)(resp)
				}
				want := text(min(size, shown))
				if len(looks) != 2 || looks[0] != want || looks[1] != want {
					t.Errorf("saw %d bodies, want two of %d bytes", len(looks), len(want))
				}
				if size > shown && name == "plainly" && body.Reader.(*strings.Reader).Len() < size-shown {
					t.Errorf("%d bytes are left to be read from the server, want %d", body.Reader.(*strings.Reader).Len(), size-shown)
				}
				got, err := io.ReadAll(resp.Body)
				if string(got) != text(size) || errors.Is(err, errLost) != strings.HasPrefix(name, "failing") {
					t.Errorf("then got %d bytes and %v, want %d", len(got), err, size)
				}
				resp.Body.Close()
				body.wantClosedOnce(t, "the body")
			})
		}
	}
}

// What has no body keeps it, and what may never end, or is no body to be read, is
// left alone.
func TestRejectedIfReadsNothing(t *testing.T) {
	unread := func() *counted { return &counted{Reader: iotest.ErrReader(errors.New("read"))} }
	for _, tt := range []struct {
		name   string
		status int
		body   io.ReadCloser
		media  string
		empty  bool // to be looked at
	}{
		{"nil", 200, nil, "", true},
		{"NoBody", 200, http.NoBody, "application/json", true},
		{"another status", 201, unread(), "application/json", false},
		{"switching protocols", 101, unread(), "", false},
		{"events", 200, unread(), "text/event-stream", false},
		{"events with a charset", 200, unread(), "Text/Event-Stream; charset=utf-8", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := response(nil, tt.status, tt.body)
			resp.Header.Set("Content-Type", tt.media)
			if transport.RejectedIf(contains("expired"), 101, 200)(resp) {
				t.Error("it is rejected")
			}
			// By what it has not, either, if that is not looked for.
			if missing := func(body []byte) bool { return len(body) == 0 }; transport.RejectedIf(missing, 101, 200)(resp) != tt.empty {
				t.Errorf("for what is missing in it, rejected: %v", !tt.empty)
			}
			if !transport.RejectedIf(nil, 101, 200, 201)(resp) {
				t.Error("it is not rejected by its status")
			}
			if resp.Body != tt.body {
				t.Errorf("the body is %v, want %v", resp.Body, tt.body)
			}
		})
	}
}

func TestRejectedIfByRefresh(t *testing.T) {
	const expired = `{"error": "token_expired"}`
	byBody := transport.RejectedIf(contains("token_expired"), 200)
	byStatus := transport.RejectedIf(nil, 401, 403, 419, 440)
	either := func(resp *http.Response) bool { return byBody(resp) || byStatus(resp) }
	for _, status := range []int{200, 401, 403, 419, 440} {
		for _, size := range []int{0, 10, shown, kept + 1} {
			t.Run(fmt.Sprint(status, " ", size), func(t *testing.T) {
				refusal := expired + text(size)
				refused := newBody(refusal)
				base := newScript(reply(status, refused), answer(200, "welcome"))
				source := tokens("old", "new")
				req, b := replayable(t, "a body")
				if got, body := do(t, &transport.Refresh{Source: source, Rejected: either, Base: base}, req); got != 200 || body != "welcome" {
					t.Errorf("got %d with %d bytes", got, len(body))
				}
				if diff := cmp.Diff([]string{"Bearer old", "Bearer new"}, base.auths()); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
				refused.wantClosedOnce(t, "the rejection's body")
				b.wantEachClosedOnce(t)

				// With nothing newer, and for a stream, the rejection is whole.
				refused = newBody(refusal)
				rt := &transport.Refresh{Source: refusing(tokensource.ErrUnchanged), Rejected: either, Base: newScript(reply(status, refused))}
				if got, body := do(t, rt, get(t)); got != status || body != refusal {
					t.Errorf("with nothing newer got %d with %d bytes", got, len(body))
				}
				refused.wantClosedOnce(t, "the rejection's body")
				refused = newBody(refusal)
				rt = &transport.Refresh{Source: tokens("old", "new"), Rejected: either, Base: newScript(reply(status, refused), answer(200, ""))}
				req, _ = stream(t, "stream")
				if got, body := do(t, rt, req); got != status || body != refusal {
					t.Errorf("a stream got %d with %d bytes", got, len(body))
				}
				refused.wantClosedOnce(t, "the rejection's body")
				do(t, rt, get(t))
				if auths := rt.Base.(*script).auths(); !slices.Equal(auths, []string{"Bearer old", "Bearer new"}) {
					t.Errorf("after a stream: %q", auths)
				}
			})
		}
	}
	// Nor is an accepted response any less whole, or read further than it takes.
	body := newBody(text(1 << 20))
	source := tokens("old", "new")
	rt := &transport.Refresh{Source: source, Rejected: either, Base: newScript(reply(200, body))}
	if _, got := do(t, rt, get(t)); got != text(1<<20) || source.renewed.Load() != 0 {
		t.Errorf("an accepted response has %d bytes after %d renewals", len(got), source.renewed.Load())
	}
	body.wantClosedOnce(t, "its body")
}

func TestRejectedIfMatchPanics(t *testing.T) {
	for _, size := range []int{0, 10, 1 << 20} {
		body := newBody(text(size))
		rt := &transport.Refresh{
			Source: tokens("old"), Base: newScript(reply(200, body)),
			Rejected: transport.RejectedIf(func([]byte) bool { panic("secret") }, 200),
		}
		resp, err := rt.RoundTrip(get(t))
		if resp != nil || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, %v, want an error that does not repeat the panic's value", resp, err)
		}
		body.wantClosedOnce(t, "the response's body")
	}
}

// Through a real server: as it came in chunks, with its length, unzipped, and
// without a body.
func TestRejectedIfOnTheWire(t *testing.T) {
	const expired = "token_expired,"
	ways := map[string]func(w http.ResponseWriter, body string){
		"chunked": func(w http.ResponseWriter, body string) {
			for chunk := range slices.Chunk([]byte(body), 5000) {
				w.Write(chunk)
				http.NewResponseController(w).Flush()
			}
		},
		"with its length": func(w http.ResponseWriter, body string) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			io.WriteString(w, body)
		},
		"gzip": func(w http.ResponseWriter, body string) {
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			io.WriteString(zip, body)
			zip.Close()
		},
	}
	for name, write := range ways {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 100, shown, kept + 1} {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "Bearer old" {
						write(w, expired+text(size))
						return
					}
					write(w, text(size))
				}))
				rejected := transport.RejectedIf(contains(expired), 200)
				client := transport.Client(server.Client(), (&transport.Refresh{Source: tokens("old", "new"), Rejected: rejected}).Wrap)
				if got := slurp(t, send(t, client, newRequest(t, http.MethodGet, server.URL, nil))); got != text(size) {
					t.Errorf("got %d bytes, want %d", len(got), size)
				}
				client = transport.Client(server.Client(), (&transport.Refresh{Source: tokens("old"), Rejected: rejected}).Wrap)
				if got := slurp(t, send(t, client, newRequest(t, http.MethodGet, server.URL, nil))); got != expired+text(size) {
					t.Errorf("with nothing newer got %d bytes, want %d", len(got), len(expired)+size)
				}
				client = transport.Client(server.Client(), (&transport.Refresh{Source: tokens("new"), Rejected: rejected}).Wrap)
				resp := send(t, client, newRequest(t, http.MethodHead, server.URL, nil))
				if got := slurp(t, resp); got != "" || resp.StatusCode != http.StatusOK {
					t.Errorf("HEAD got %d with %d bytes", resp.StatusCode, len(got))
				}
				server.Close()
			}
		})
	}
}
