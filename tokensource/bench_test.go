package tokensource_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// Reading a token costs the same with any Store and without: a Store is asked at
// renewals only. (redisstore has a benchmark like this one.)
func BenchmarkToken(b *testing.B) {
	for _, bc := range []struct {
		name  string
		store tokensource.Store
	}{
		{"no Store", nil},
		{"memory", &fakeStore{}},
		{"FileStore", &tokensource.FileStore{Path: filepath.Join(b.TempDir(), "token.json")}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := &tokensource.Session{Store: bc.store}
			if err := s.Set(b.Context(), &oauth2.Token{AccessToken: "access", Expiry: time.Now().Add(time.Hour)}); err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Token(ctx); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// The same by key, of 100,000.
func BenchmarkSessionsToken(b *testing.B) {
	s, keys := manySessions(b, 100_000)
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Token(ctx, keys[i*7919%len(keys)]); err != nil {
				b.Error(err)
			}
		}
	})
}

// What a Session that was renewed costs while nobody asks, with an access token and
// a refresh token of 40 bytes each, which take 208 with all that is in an
// oauth2.Token, and 27 for a key.
func BenchmarkSessionsIdle(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		goroutines, before := runtime.NumGoroutine(), heap()
		s, keys := manySessions(b, n)
		after := heap()
		b.ReportMetric(float64(after-before)/n, "B/session")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
		runtime.KeepAlive(s)
		runtime.KeepAlive(keys)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func manySessions(b *testing.B, n int) (s *tokensource.Sessions, keys []string) {
	b.Helper()
	s = &tokensource.Sessions{Max: -1, New: func(string) *tokensource.Session { return &tokensource.Session{} }}
	for i := range 2 * n {
		if i < n {
			keys = append(keys, fmt.Sprintf("user-%06d", i))
		}
		err := s.Set(b.Context(), keys[i%n], &oauth2.Token{
			AccessToken: fmt.Sprintf("access-%033d", i), RefreshToken: fmt.Sprintf("refresh-%032d", i), TokenType: "Bearer",
			Expiry: time.Now().Add(time.Hour),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s, keys
}
