package redisstore_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

// Reading a token through a Session does not ask Redis.
func BenchmarkToken(b *testing.B) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(b).Addr()})
	defer client.Close()
	for _, bc := range []struct {
		name  string
		store tokensource.Store
	}{{"no Store", nil}, {"Redis", &redisstore.Store{Client: client, Key: "alice"}}} {
		b.Run(bc.name, func(b *testing.B) {
			s := &tokensource.Session{Store: bc.store}
			ctx := b.Context()
			if err := s.Set(ctx, &oauth2.Token{AccessToken: "access", Expiry: time.Now().Add(time.Hour)}); err != nil {
				b.Fatal(err)
			}
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
