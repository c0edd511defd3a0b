package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/transport"
)

func TestReplayBuffer(t *testing.T) {
	tests := []struct {
		name   string
		limit  int64
		body   string
		length int64 // ContentLength
		want   int   // status
	}{
		{"none", 0, "0123456789", 10, http.StatusUnauthorized},
		{"negative", -1, "0123456789", 10, http.StatusUnauthorized},
		{"within", 11, "0123456789", 10, http.StatusOK},
		{"at the limit", 10, "0123456789", 10, http.StatusOK},
		{"over the limit", 9, "0123456789", 10, http.StatusUnauthorized},
		{"unknown length, within", 11, "0123456789", -1, http.StatusOK},
		{"unknown length, at the limit", 10, "0123456789", -1, http.StatusOK},
		{"unknown length, over the limit", 9, "0123456789", -1, http.StatusUnauthorized},
		{"unknown length, far over the limit", 1, text(100_000), -1, http.StatusUnauthorized},
		{"unknown length as zero", 10, "0123456789", 0, http.StatusOK},
		{"unknown length, empty", 10, "", -1, http.StatusOK},
		{"no limit", math.MaxInt64, "0123456789", -1, http.StatusOK},
		{"large", 1 << 20, text(1 << 20), 1 << 20, http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newScript(accept("new"))
			rt := &transport.Refresh{Source: tokens("old", "new"), ReplayBuffer: tt.limit, Base: base}
			req, body := stream(t, tt.body)
			req.ContentLength = tt.length
			before := *req
			if status, _ := do(t, rt, req); status != tt.want {
				t.Errorf("got %d, want %d", status, tt.want)
			}
			if req.Body != before.Body || req.ContentLength != before.ContentLength || req.GetBody != nil {
				t.Error("Body, ContentLength or GetBody of the request was replaced")
			}
			for i, a := range base.sent() {
				if a.Sent != tt.body || a.Err != nil || a.ContentLength != tt.length {
					t.Errorf("attempt %d: %d bytes of %d, %v, want %d", i+1, len(a.Sent), a.ContentLength, a.Err, len(tt.body))
				}
			}
			body.wantClosedOnce(t, "the request's body")
		})
	}
}

// A body that is known to be too long is not read ahead at all, nor is one that
// can be had again without.
func TestReplayBufferReadsNothingInVain(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"too long": func(req *http.Request) { req.ContentLength = 11 },
		"GetBody":  func(req *http.Request) { req.GetBody = func() (io.ReadCloser, error) { return newBody(""), nil } },
	} {
		req, body := stream(t, "0123456789")
		change(req)
		rt := &transport.Refresh{Source: tokens("old"), ReplayBuffer: 10, Base: transport.Func(func(sent *http.Request) (*http.Response, error) {
			if sent.Body != io.ReadCloser(body) {
				t.Errorf("%s: the body was wrapped", name)
			}
			if n := body.Reader.(*strings.Reader).Len(); n != 10 {
				t.Errorf("%s: %d bytes are left to send, want 10", name, n)
			}
			sent.Body.Close()
			return answer(http.StatusOK, "")(sent)
		})}
		do(t, rt, req)
		body.wantClosedOnce(t, name+": the request's body")
	}
}

// A body over the limit is read no further than it takes to know.
func TestReplayBufferReadsNoMoreThanItMust(t *testing.T) {
	req, body := stream(t, text(1000))
	req.ContentLength = -1
	rt := &transport.Refresh{Source: tokens("old"), ReplayBuffer: 10, Base: transport.Func(func(sent *http.Request) (*http.Response, error) {
		if n := body.Reader.(*strings.Reader).Len(); n != 1000-11 {
			t.Errorf("%d bytes are left unread, want %d", n, 1000-11)
		}
		sent.Body.Close()
		return answer(http.StatusOK, "")(sent)
	})}
	do(t, rt, req)
	body.wantClosedOnce(t, "the request's body")
}

func TestReplayBufferReadError(t *testing.T) {
	errFile := errors.New("file is gone")
	for _, limit := range []int64{5, 10, 100} {
		body := &counted{Reader: io.MultiReader(strings.NewReader("01234"), iotest.ErrReader(errFile))}
		req := newRequest(t, http.MethodPost, apiURL, body)
		base := newScript(answer(http.StatusOK, ""))
		resp, err := (&transport.Refresh{Source: tokens("old"), ReplayBuffer: limit, Base: base}).RoundTrip(req)
		if resp != nil || !errors.Is(err, errFile) {
			t.Errorf("limit %d: got %v, %v, want the body's error", limit, resp, err)
		}
		if n := len(base.sent()); n != 0 {
			t.Errorf("limit %d: %d requests were sent", limit, n)
		}
		body.wantClosedOnce(t, fmt.Sprintf("limit %d: the request's body", limit))
	}
}

// Whoever writes the body may never finish.
func TestReplayBufferCancellation(t *testing.T) {
	for name, cancellation := range map[string]func(*http.Request) (*http.Request, error){
		"context": func(req *http.Request) (*http.Request, error) {
			ctx, cancel := context.WithTimeout(req.Context(), time.Minute)
			context.AfterFunc(ctx, cancel)
			return req.WithContext(ctx), context.DeadlineExceeded
		},
		"Request.Cancel": func(req *http.Request) (*http.Request, error) {
			c := make(chan struct{})
			time.AfterFunc(time.Minute, func() { close(c) })
			return setCancel(req, c), context.Canceled
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := newDrip(time.Second)
				req, want := cancellation(newRequest(t, http.MethodPost, apiURL, body))
				base := newScript(answer(http.StatusOK, ""))
				start := time.Now()
				_, err := (&transport.Refresh{Source: tokens("old"), ReplayBuffer: 1 << 20, Base: base}).RoundTrip(req)
				if !errors.Is(err, want) || time.Since(start) != time.Minute {
					t.Errorf("got %v after %v, want %v after a minute", err, time.Since(start), want)
				}
				if n := len(base.sent()); n != 0 {
					t.Errorf("%d requests were sent", n)
				}
				body.wantClosedOnce(t, "the request's body")
			})
		})
	}
}
