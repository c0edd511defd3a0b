package redisstore_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

// Two processes share an identity. What one has renewed is the other's too.
func ExampleStore() {
	server, err := miniredis.Run() // or your Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	exchanges := 0
	newSession := func() *tokensource.Session {
		return &tokensource.Session{
			Grant: func(_ context.Context, current *oauth2.Token) (*oauth2.Token, error) {
				exchanges++
				return &oauth2.Token{AccessToken: "access-2", RefreshToken: "refresh-2"}, nil
			},
			Store: &redisstore.Store{Client: client, Key: "billing"},
		}
	}
	ctx := context.Background()
	first, second := newSession(), newSession()
	if err := first.Set(ctx, &oauth2.Token{RefreshToken: "refresh-1"}); err != nil {
		fmt.Println(err)
		return
	}
	for _, session := range []*tokensource.Session{first, second} {
		token, err := session.Token(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.AccessToken)
	}
	fmt.Println("exchanges:", exchanges)
	// Output:
	// access-2
	// access-2
	// exchanges: 1
}

// A sign-out in one process is known in the other at once.
func ExampleStore_Watch() {
	server, err := miniredis.Run() // or your Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	signedIn, signedOut := make(chan struct{}), make(chan struct{})
	store := &redisstore.Store{Client: client, Key: "billing"}
	here := &tokensource.Session{Store: store, OnEvent: func(_ context.Context, e tokensource.Event) {
		switch e.Kind {
		case tokensource.EventAdopted:
			close(signedIn)
		case tokensource.EventCleared:
			close(signedOut)
		}
	}}
	go store.Watch(ctx, here.Reload)

	elsewhere := &tokensource.Session{Store: &redisstore.Store{Client: client, Key: "billing"}}
	if err := elsewhere.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	<-signedIn
	token, _ := here.Current()
	fmt.Println(token.AccessToken)
	if err := elsewhere.SignOut(ctx, nil); err != nil {
		fmt.Println(err)
		return
	}
	<-signedOut
	fmt.Println(here.Err())
	// Output:
	// access-1
	// tokensource: no token
}
