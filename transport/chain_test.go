package transport_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// named returns a Middleware that writes name down on the way in and out.
func named(log *[]string, name string) transport.Middleware {
	return func(base http.RoundTripper) http.RoundTripper {
		return transport.Func(func(req *http.Request) (*http.Response, error) {
			*log = append(*log, name)
			resp, err := base.RoundTrip(req)
			*log = append(*log, "/"+name)
			return resp, err
		})
	}
}

func TestChain(t *testing.T) {
	var log []string
	a, b, c := named(&log, "A"), named(&log, "B"), named(&log, "C")
	tests := []struct {
		name  string
		chain transport.Middleware
		want  []string
	}{
		{"empty", transport.Chain(), nil},
		{"nil only", transport.Chain(nil, nil), nil},
		{"one", transport.Chain(a), []string{"A", "/A"}},
		{"first is outermost", transport.Chain(a, b, c), []string{"A", "B", "C", "/C", "/B", "/A"}},
		{"the equation", func(base http.RoundTripper) http.RoundTripper { return a(b(base)) }, []string{"A", "B", "/B", "/A"}},
		{"and its other side", transport.Chain(a, b), []string{"A", "B", "/B", "/A"}},
		{"skips nil", transport.Chain(nil, a, nil, b, nil), []string{"A", "B", "/B", "/A"}},
		{"nests", transport.Chain(a, transport.Chain(b, c)), []string{"A", "B", "C", "/C", "/B", "/A"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log = nil
			do(t, tt.chain(answer(http.StatusOK, "")), get(t))
			if diff := cmp.Diff(tt.want, log); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChainOfNothingIsBase(t *testing.T) {
	base := newScript(answer(http.StatusOK, ""))
	for _, chain := range []transport.Middleware{transport.Chain(), transport.Chain(nil)} {
		if got := chain(base); got != http.RoundTripper(base) {
			t.Errorf("got %T, want base itself", got)
		}
	}
}

func TestChainCopiesItsSlice(t *testing.T) {
	var log []string
	mw := []transport.Middleware{named(&log, "A"), named(&log, "B")}
	chain := transport.Chain(mw...)
	mw[0], mw[1] = named(&log, "X"), nil
	do(t, chain(answer(http.StatusOK, "")), get(t))
	if diff := cmp.Diff([]string{"A", "B", "/B", "/A"}, log); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// setDefault replaces http.DefaultTransport for the length of the test.
func setDefault(t *testing.T, rt http.RoundTripper) {
	old := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = old })
	http.DefaultTransport = rt
}

func TestClientLeavesItsArgumentAlone(t *testing.T) {
	var log []string
	own := newScript(answer(http.StatusOK, ""))
	c := &http.Client{Transport: own, Timeout: 12345}
	got := transport.Client(c, named(&log, "A"))
	if c.Transport != http.RoundTripper(own) || got == c {
		t.Fatal("the argument was changed")
	}
	if got.Timeout != c.Timeout {
		t.Errorf("Timeout is %v, want the argument's", got.Timeout)
	}
	resp, err := got.Get(apiURL)
	if err != nil {
		t.Fatal(err)
	}
	slurp(t, resp)
	if diff := cmp.Diff([]string{"A", "/A"}, log); diff != "" || len(own.sent()) != 1 {
		t.Errorf("%d requests reached the argument's Transport; decorators (-want +got):\n%s", len(own.sent()), diff)
	}
}

func TestClientWithoutTransport(t *testing.T) {
	tests := []struct {
		name string
		c    *http.Client
	}{
		{"nil client", nil},
		{"nil Transport", &http.Client{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log []string
			// A Middleware may count on a base that is not nil.
			client := transport.Client(tt.c, func(base http.RoundTripper) http.RoundTripper {
				if base == nil {
					t.Error("a Middleware was given a nil base")
				}
				return named(&log, "A")(base)
			})
			idle := &idleCloser{RoundTripper: newScript(answer(http.StatusOK, "default"))}
			setDefault(t, idle)
			resp, err := client.Get(apiURL)
			if err != nil {
				t.Fatal(err)
			}
			if got := slurp(t, resp); got != "default" || len(log) != 2 {
				t.Errorf("answer %q by way of %q, want that of the http.DefaultTransport of now, decorated", got, log)
			}
			transport.Client(tt.c).CloseIdleConnections()
			if idle.closed != 1 {
				t.Errorf("CloseIdleConnections reached http.DefaultTransport %d times, want once", idle.closed)
			}
			if tt.c != nil && tt.c.Transport != nil {
				t.Error("the argument was changed")
			}
		})
	}
}

func TestClientNeverTouchesTheDefaults(t *testing.T) {
	client, rt := *http.DefaultClient, http.DefaultTransport
	transport.Client(nil, (&transport.Bearer{}).Wrap)
	transport.Client(http.DefaultClient, (&transport.Bearer{}).Wrap)
	if http.DefaultClient.Transport != client.Transport || http.DefaultTransport != rt {
		t.Error("http.DefaultClient or http.DefaultTransport was changed")
	}
}

func TestNilFunc(t *testing.T) {
	req, body := stream(t, "body")
	resp, err := transport.Func(nil).RoundTrip(req)
	if resp != nil || err == nil {
		t.Errorf("got %v, %v, want an error", resp, err)
	}
	body.wantClosedOnce(t, "the request's body")
}
