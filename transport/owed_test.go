package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// users is a Renewer that has a token for each of several users, who renew it
// once. The user comes with the context.
type users struct {
	mu      sync.Mutex
	sources map[string]*renewer
}

type userKey struct{}

func (u *users) of(ctx context.Context) *renewer {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := ctx.Value(userKey{}).(string)
	if u.sources == nil {
		u.sources = map[string]*renewer{}
	}
	if u.sources[name] == nil {
		u.sources[name] = tokens("old "+name, "new "+name)
	}
	return u.sources[name]
}

func (u *users) Token(ctx context.Context) (*oauth2.Token, error) { return u.of(ctx).Token(ctx) }

func (u *users) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	return u.of(ctx).Renew(ctx, rejected)
}

// upload sends a stream on behalf of user and returns the status.
func upload(t *testing.T, rt http.RoundTripper, user string) int {
	t.Helper()
	req, _ := stream(t, "stream")
	status, _ := do(t, rt, req.WithContext(context.WithValue(req.Context(), userKey{}, user)))
	return status
}

// acceptNew answers 401 to all tokens that were not renewed.
func acceptNew(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.Header.Get("Authorization"), "Bearer new ") {
		return response(req, http.StatusOK, newBody("")), nil
	}
	return response(req, http.StatusUnauthorized, newBody("")), nil
}

// Another user's request in between does not make Refresh forget a rejection.
func TestOwedBesideAnotherUsersRequest(t *testing.T) {
	rt := &transport.Refresh{Source: &users{}}
	rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") == "Bearer old a" {
			// b's goes out and comes back while a's is under way.
			do(t, rt, get(t).WithContext(context.WithValue(t.Context(), userKey{}, "b")))
		}
		return acceptNew(req)
	})
	for i, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		if got := upload(t, rt, "a"); got != want {
			t.Errorf("upload %d got %d, want %d", i+1, got, want)
		}
	}
}

// Rejections are remembered for each token, 16 at least, though they come in and
// are settled all at once.
func TestOwedByManyUsers(t *testing.T) {
	const uploads = 16
	for range 100 {
		var all, answered sync.WaitGroup
		rt := &transport.Refresh{Source: &users{}, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
			answered.Done()
			answered.Wait()
			return acceptNew(req)
		})}
		for _, want := range []int{http.StatusUnauthorized, http.StatusOK, http.StatusOK} {
			answered.Add(uploads)
			for i := range uploads {
				all.Go(func() {
					if got := upload(t, rt, fmt.Sprint("user", i)); got != want {
						t.Errorf("user %d got %d, want %d", i, got, want)
					}
				})
			}
			all.Wait()
		}
	}
}

// One user's rejections count as one, however many they are.
func TestOwedOncePerToken(t *testing.T) {
	rt := &transport.Refresh{Source: &users{}}
	var depth int
	rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
		if depth++; depth <= 20 { // 20 uploads of a's at one time
			if got := upload(t, rt, "a"); got != http.StatusUnauthorized {
				t.Errorf("an upload of a's got %d", got)
			}
		}
		return acceptNew(req)
	})
	depth = 20
	upload(t, rt, "b")
	depth = 0
	upload(t, rt, "a")
	got := map[string]int{"a": upload(t, rt, "a"), "b": upload(t, rt, "b")}
	if diff := cmp.Diff(map[string]int{"a": http.StatusOK, "b": http.StatusOK}, got); diff != "" {
		t.Errorf("next uploads (-want +got):\n%s", diff)
	}
}

// What nobody asks for again is not remembered for ever.
func TestOwedIsBounded(t *testing.T) {
	rt := &transport.Refresh{Source: &users{}, Base: transport.Func(acceptNew)}
	for i := range 1000 {
		upload(t, rt, fmt.Sprint("user", i))
	}
	got := map[string]int{"first": upload(t, rt, "user0"), "last": upload(t, rt, "user999")}
	if diff := cmp.Diff(map[string]int{"first": http.StatusUnauthorized, "last": http.StatusOK}, got); diff != "" {
		t.Errorf("next uploads (-want +got):\n%s", diff)
	}
}

// That one endpoint will not take a token is not held against requests to
// others, however long the renewal is out of reach.
func TestOwedDoesNotHinderOtherRequests(t *testing.T) {
	for _, cause := range []error{tokensource.ErrRenewalLimit, errSource} {
		base := transport.Func(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				return answer(http.StatusUnauthorized, "")(req)
			}
			return accept("old")(req)
		})
		source := tokens("old")
		source.renew = func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, &tokensource.RetryError{Err: cause}
		}
		rt := &transport.Refresh{Source: source, Base: base}
		req, _ := stream(t, "refused")
		do(t, rt, req)
		for range 3 {
			if status, _ := do(t, rt, get(t)); status != http.StatusOK {
				t.Errorf("%v: got %d, want 200", cause, status)
			}
		}
	}
}

func TestChallengesRepeatNoToken(t *testing.T) {
	base := transport.Func(func(req *http.Request) (*http.Response, error) {
		resp, err := answer(http.StatusUnauthorized, "")(req)
		resp.Header = http.Header{"Www-Authenticate": {`Bearer error="invalid_token", error_description="not ` + req.Header.Get("Authorization") + `"`}}
		return resp, err
	})
	rt := &transport.Refresh{Source: refusing(errSource), Base: base}
	_, err := rt.RoundTrip(get(t))
	re, ok := errors.AsType[*transport.RenewalError](err)
	if !ok {
		t.Fatalf("got %v, want a RenewalError", err)
	}
	want := []string{`Bearer error="invalid_token", error_description="not Bearer [redacted]"`}
	if diff := cmp.Diff(want, re.Challenges); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
