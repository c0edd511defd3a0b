package apikey_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
)

func TestKey(t *testing.T) {
	s := &server{}
	var k apikey.Key
	rt := &apikey.Transport{Source: k.Get, Base: s}
	for i, set := range []func(){func() {}, func() { k.Set("a") }, func() { k.Set("b") }, func() { k.Set("") }, func() { k.Set("b") }} {
		set()
		want := []string{"", "a", "b", "", "b"}[i]
		got, err := k.Get(t.Context())
		if got != want || errors.Is(err, apikey.ErrNoKey) != (want == "") {
			t.Errorf("step %d: got %q, %v, want %q", i, got, err, want)
		}
		sent, err := s.roundTrip(t, rt, newRequest(t, apiURL))
		if errors.Is(err, apikey.ErrNoKey) != (want == "") || err == nil && sent.Header.Get("X-Api-Key") != want {
			t.Errorf("step %d: sent %v, %v, want %q", i, sent, err, want)
		}
	}
}

func TestKeyIsSafeForConcurrentUse(t *testing.T) {
	const last = 20
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			whole := map[string]bool{}
			for i := range last + 1 {
				req := newRequest(t, apiURL)
				p.add(req, p.as, fmt.Sprint("key", i))
				whole[strings.Join(wire(req), "\n")] = true
			}
			var k apikey.Key
			rt := &apikey.Transport{Source: k.Get, In: p.in, Name: p.as, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
				if sent := strings.Join(wire(req), "\n"); !whole[sent] {
					t.Errorf("sent %s", sent)
				}
				return &http.Response{Body: http.NoBody}, nil
			})}
			k.Set("key0")
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 100 {
						if _, err := rt.RoundTrip(newRequest(t, apiURL)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for i := range last + 1 {
				k.Set(fmt.Sprint("key", i))
			}
			wg.Wait()
			if got, err := k.Get(t.Context()); got != fmt.Sprint("key", last) || err != nil {
				t.Errorf("left with %q, %v", got, err)
			}
		})
	}
}
