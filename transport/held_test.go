package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// What is kept of a rejection's body while the token is renewed, and how long
// the rest may keep its connection.
const (
	kept     = 64 << 10
	patience = time.Second
)

// text returns n bytes in which one lost or doubled shows.
func text(n int) string { return numbers()[:n] }

var numbers = sync.OnceValue(func() string {
	var b []byte
	for i := int64(0); len(b) < 1<<20; i++ {
		b = append(strconv.AppendInt(b, i, 10), ',')
	}
	return string(b)
})

var sizes = []int{0, 1, 10, kept - 1, kept, kept + 1, kept + 2, 1 << 20}

func TestHeldRejectionIsIntact(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := text(size)
				for name, r := range map[string]io.Reader{
					"plainly":       strings.NewReader(want),
					"EOF with data": iotest.DataErrReader(strings.NewReader(want)),
					"byte by byte":  iotest.OneByteReader(strings.NewReader(want)),
					"in halves":     iotest.HalfReader(strings.NewReader(want)),
				} {
					refused := &counted{Reader: r}
					source := refusing(tokensource.ErrUnchanged)
					renew := source.renew
					source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
						time.Sleep(patience / 2)
						return renew(ctx, rejected)
					}
					resp, err := (&transport.Refresh{Source: source, Base: newScript(reply(http.StatusUnauthorized, refused))}).RoundTrip(get(t))
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(patience) // the caller may take its time
					if got := slurp(t, resp); got != want {
						t.Errorf("%s: got %d bytes, want the %d of the 401", name, len(got), len(want))
					}
					refused.wantClosedOnce(t, name+": the 401's body")
				}
			})
		})
	}
}

func TestHeldNilBody(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		rt := &transport.Refresh{Source: refusing(tokensource.ErrUnchanged), Base: newScript(reply(http.StatusUnauthorized, body))}
		resp, err := rt.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body != body {
			t.Errorf("body is %v, want %v", resp.Body, body)
		}
		rt = &transport.Refresh{Source: tokens("old", "new"), Base: newScript(reply(http.StatusUnauthorized, body), answer(http.StatusOK, ""))}
		if status, _ := do(t, rt, get(t)); status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	}
}

// With MaxConnsPerHost the renewal may be waiting for the very connection that
// the rejection's body keeps.
func TestHeldBodyIsClosedBeforeTheRenewal(t *testing.T) {
	for _, size := range []int{0, 10, kept} {
		refused := newBody(text(size))
		source := tokens("old", "new")
		renew := source.renew
		source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
			refused.wantClosedOnce(t, fmt.Sprintf("before the renewal, a body of %d bytes", size))
			if _, err := refused.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("a body of %d bytes was not read to its end, so its connection is lost: %v", size, err)
			}
			return renew(ctx, rejected)
		}
		do(t, &transport.Refresh{Source: source, Base: newScript(reply(http.StatusUnauthorized, refused), answer(http.StatusOK, ""))}, get(t))
		refused.wantClosedOnce(t, "the 401's body")
	}
}

// A drip is a body without an end that gives a byte every so often.
type drip struct {
	every  time.Duration
	once   sync.Once
	closed chan struct{}
}

func newDrip(every time.Duration) *counted {
	return &counted{Reader: &drip{every: every, closed: make(chan struct{})}}
}

var errClosed = errors.New("read on closed body")

func (d *drip) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, errClosed
	default:
	}
	if d.every == 0 {
		for i := range p {
			p[i] = '.'
		}
		return len(p), nil
	}
	select {
	case <-d.closed:
		return 0, errClosed
	case <-time.After(d.every):
		p[0] = '.'
		return 1, nil
	}
}

func (d *drip) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func TestHeldBodyWithoutEnd(t *testing.T) {
	tests := []struct {
		name    string
		every   time.Duration // between two bytes
		renewal time.Duration
		want    time.Duration // until the second attempt is answered
	}{
		{"endless", 0, 0, 0},
		{"endless, slow renewal", 0, 3 * patience, 3 * patience},
		{"dripping", 10 * time.Millisecond, 0, patience},
		{"dripping, slow renewal", 10 * time.Millisecond, patience, 2 * patience},
		{"silent", time.Hour, 0, patience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := newDrip(tt.every)
				source := tokens("old", "new")
				renew := source.renew
				source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
					time.Sleep(tt.renewal)
					return renew(ctx, rejected)
				}
				second := func(req *http.Request) (*http.Response, error) {
					refused.wantClosedOnce(t, "before the second attempt, the 401's body")
					return answer(http.StatusOK, "welcome")(req)
				}
				start := time.Now()
				rt := &transport.Refresh{Source: source, Base: newScript(reply(http.StatusUnauthorized, refused), second)}
				if status, body := do(t, rt, get(t)); status != http.StatusOK || body != "welcome" {
					t.Errorf("got %d %q", status, body)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				time.Sleep(10 * patience)
				refused.wantClosedOnce(t, "in the end, the 401's body")
			})
		})
	}
}

// While a long body keeps its connection, the renewal may be waiting for that.
func TestHeldLongBodyGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := newDrip(0)
		source := tokens("old", "new")
		renew := source.renew
		source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
			<-refused.Reader.(*drip).closed
			return renew(ctx, rejected)
		}
		start := time.Now()
		do(t, &transport.Refresh{Source: source, Base: newScript(reply(http.StatusUnauthorized, refused), answer(http.StatusOK, ""))}, get(t))
		if took := time.Since(start); took != patience {
			t.Errorf("took %v, want %v", took, patience)
		}
	})
}

// What was given up is missing from the 401, which must show.
func TestHeldBodyGivenUpIsNotPassedForComplete(t *testing.T) {
	for _, every := range []time.Duration{0, 10 * time.Millisecond, time.Hour} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := newDrip(every)
				source := refusing(tokensource.ErrUnchanged)
				source.renew = func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
					time.Sleep(2 * patience)
					return nil, tokensource.ErrUnchanged
				}
				resp, err := (&transport.Refresh{Source: source, Base: newScript(reply(http.StatusUnauthorized, refused))}).RoundTrip(get(t))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				if err == nil {
					t.Errorf("a 401 cut off after %d bytes passes for complete", len(got))
				}
				if every == 10*time.Millisecond && (len(got) < 90 || strings.Trim(string(got), ".") != "") {
					t.Errorf("got %d bytes %.10q, want those that had arrived", len(got), got)
				}
				if every == 0 && len(got) <= kept {
					t.Errorf("got %d bytes, want all that were kept", len(got))
				}
				resp.Body.Close()
				refused.wantClosedOnce(t, "the 401's body")
			})
		})
	}
}

// The same goes for what the connection lost.
func TestHeldBodyFailsHalfWay(t *testing.T) {
	errLost := errors.New("connection lost half-way")
	for _, size := range []int{0, 10, kept, kept + 1, kept + 100} {
		refused := &counted{Reader: io.MultiReader(strings.NewReader(text(size)), iotest.ErrReader(errLost))}
		rt := &transport.Refresh{Source: refusing(tokensource.ErrUnchanged), Base: newScript(reply(http.StatusUnauthorized, refused))}
		resp, err := rt.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != text(size) || !errors.Is(err, errLost) {
			t.Errorf("got %d bytes and %v, want %d and the connection's error", len(got), err, size)
		}
		resp.Body.Close()
		refused.wantClosedOnce(t, "the 401's body")

		// It is no obstacle to the renewal.
		refused = &counted{Reader: io.MultiReader(strings.NewReader(text(size)), iotest.ErrReader(errLost))}
		rt = &transport.Refresh{Source: tokens("old", "new"), Base: newScript(reply(http.StatusUnauthorized, refused), answer(http.StatusOK, ""))}
		if status, _ := do(t, rt, get(t)); status != http.StatusOK {
			t.Errorf("got %d", status)
		}
		refused.wantClosedOnce(t, "the 401's body")
	}
}

// A rejection that is dropped takes its long body with it.
func TestHeldBodyIsClosedWhenTheRenewalFails(t *testing.T) {
	for _, size := range sizes {
		refused := newBody(text(size))
		rt := &transport.Refresh{Source: refusing(errSource), Base: newScript(reply(http.StatusUnauthorized, refused))}
		if _, err := rt.RoundTrip(get(t)); !errors.Is(err, errSource) {
			t.Errorf("got %v", err)
		}
		refused.wantClosedOnce(t, fmt.Sprintf("a body of %d bytes", size))
	}
}
