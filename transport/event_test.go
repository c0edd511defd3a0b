package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/oauth2"
)

func TestEvents(t *testing.T) {
	const took = 50 * time.Millisecond
	renewed := func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: "new"}, nil }
	unchanged := func() (*oauth2.Token, error) { return nil, tokensource.ErrUnchanged }
	failed := func() (*oauth2.Token, error) { return nil, errSource }
	get := func(t *testing.T) *http.Request { return get(t) }
	streamed := func(t *testing.T) *http.Request { req, _ := stream(t, "body"); return req }
	tests := []struct {
		name     string
		renewal  func() (*oauth2.Token, error)
		base     []transport.Func
		requests []func(*testing.T) *http.Request
		want     []transport.Event
	}{
		{
			"plain", renewed,
			[]transport.Func{answer(200, "")},
			[]func(*testing.T) *http.Request{get, streamed},
			nil,
		},
		{
			"replayed", renewed,
			[]transport.Func{answer(401, ""), answer(201, "")},
			[]func(*testing.T) *http.Request{get, get},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventReplayed, StatusCode: 201, Generation: 2, Duration: took},
			},
		},
		{
			"replayed, rejected again", renewed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{get},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventReplayed, StatusCode: 401, Generation: 2, Duration: took},
			},
		},
		{
			"replayed, no answer", renewed,
			[]transport.Func{answer(401, ""), fail(errBase)},
			[]func(*testing.T) *http.Request{get},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventReplayed, Generation: 2, Duration: took, Err: errBase},
			},
		},
		{
			"unchanged", unchanged,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{get},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventUnchanged, StatusCode: 401, Generation: 1, Duration: took},
			},
		},
		{
			"renewal failed", failed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{get},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventRenewalFailed, StatusCode: 401, Generation: 1, Duration: took, Err: errSource},
			},
		},
		{
			"not replayable", renewed,
			[]transport.Func{answer(401, ""), answer(200, "")},
			[]func(*testing.T) *http.Request{streamed, get},
			[]transport.Event{{Kind: transport.EventNotReplayable, StatusCode: 401, Generation: 1}},
		},
		{
			// The next request is sent with the old token, since that may do for it.
			"not replayable, then renewal failed", failed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{streamed, get},
			[]transport.Event{
				{Kind: transport.EventNotReplayable, StatusCode: 401, Generation: 1},
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventRenewalFailed, StatusCode: 401, Generation: 1, Err: errSource},
			},
		},
		{
			"GetBody failed", renewed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{func(t *testing.T) *http.Request {
				req, _ := replayable(t, "body")
				req.GetBody = func() (io.ReadCloser, error) { return nil, errBase }
				return req
			}},
			[]transport.Event{
				{Kind: transport.EventRejected, StatusCode: 401, Generation: 1},
				{Kind: transport.EventNotReplayable, StatusCode: 401, Generation: 1, Duration: took, Err: errBase},
			},
		},
		{
			"withheld", renewed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{
				func(t *testing.T) *http.Request { return newRequest(t, http.MethodGet, "https://evil.com/", nil) },
			},
			[]transport.Event{{Kind: transport.EventWithheld}},
		},
		{
			"by the caller's wish", renewed,
			[]transport.Func{answer(401, "")},
			[]func(*testing.T) *http.Request{
				func(t *testing.T) *http.Request { req := get(t); req.SetBasicAuth("u", "p"); return req },
				func(t *testing.T) *http.Request { return get(t).WithContext(transport.WithoutCredentials(t.Context())) },
			},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := session(t, func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
					time.Sleep(took)
					return tt.renewal()
				})
				var got []transport.Event
				rt := &transport.Refresh{
					Source: s, Base: newScript(tt.base...), Audience: &transport.Audience{Origins: []string{"https://*.example.com"}},
					OnEvent: func(_ context.Context, e transport.Event) { got = append(got, e) },
				}
				for _, request := range tt.requests {
					if resp, err := rt.RoundTrip(request(t)); err == nil {
						slurp(t, resp)
					}
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateErrors()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// An event tells of a renewal before it begins, under the request's own context,
// and a Source that does not number its tokens is no obstacle.
func TestEventContext(t *testing.T) {
	type key struct{}
	source := tokens("old", "new")
	var order []string
	renew := source.renew
	source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
		order = append(order, "renewal")
		return renew(ctx, rejected)
	}
	rt := &transport.Refresh{Source: source, Base: newScript(accept("new")), OnEvent: func(ctx context.Context, e transport.Event) {
		order = append(order, string(e.Kind)+ctx.Value(key{}).(string))
		if e.Generation != 0 {
			t.Errorf("generation %d of a source that has none", e.Generation)
		}
	}}
	do(t, rt, get(t).WithContext(context.WithValue(t.Context(), key{}, " of the request")))
	if diff := cmp.Diff([]string{"rejected of the request", "renewal", "replayed of the request"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestEventPanicIsIgnored(t *testing.T) {
	for _, source := range []*renewer{tokens("old", "new"), tokens("old")} {
		rt := &transport.Refresh{Source: source, Base: newScript(accept("new")), OnEvent: func(context.Context, transport.Event) { panic("no") }}
		for range 2 {
			do(t, rt, get(t))
		}
		req, _ := stream(t, "body")
		do(t, rt, req)
	}
}

func TestEventLogValue(t *testing.T) {
	tests := []struct {
		name  string
		event transport.Event
		want  string
	}{
		{"kind only", transport.Event{Kind: transport.EventWithheld}, `event.kind=withheld`},
		{
			"all",
			transport.Event{Kind: transport.EventRenewalFailed, StatusCode: 401, Generation: 7, Duration: 50 * time.Millisecond, Err: errors.New("no")},
			`event.kind="renewal failed" event.status=401 event.generation=7 event.duration=50ms event.error=no`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("", "event", tt.event)
			_, got, _ := strings.Cut(out.String(), `msg="" `)
			if diff := cmp.Diff(tt.want+"\n", got); diff != "" {
				t.Errorf("log line (-want +got):\n%s", diff)
			}
		})
	}
}
