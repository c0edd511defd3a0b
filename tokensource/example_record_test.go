package tokensource_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A program looks at what a Store holds.
func ExampleParseRecord() {
	store := &keychain{account: "gopher", items: map[string][]byte{}}
	ctx := context.Background()
	session := &tokensource.Session{Store: store}
	if err := session.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	show := func() {
		text, err := store.Load(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		record, err := tokensource.ParseRecord(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(record.Change, record.Token != nil)
	}
	show()
	if err := session.Clear(ctx); err != nil {
		fmt.Println(err)
		return
	}
	show()
	// Output:
	// sign_in true
	// sign_out false
}

// A Store is seeded with a token that another program has obtained.
func ExampleNewRecord() {
	store := &keychain{account: "gopher", items: map[string][]byte{}}
	ctx := context.Background()
	if err := store.Save(ctx, tokensource.NewRecord(&oauth2.Token{AccessToken: "access-1"})); err != nil {
		fmt.Println(err)
		return
	}
	token, err := (&tokensource.Session{Store: store}).Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}

// A Store that others can read keeps the token sealed.
func ExampleSealed() {
	chain := &keychain{account: "gopher", items: map[string][]byte{}}
	key := bytes.Repeat([]byte{42}, 32) // from crypto/rand, kept apart from the Store
	ctx := context.Background()

	session := &tokensource.Session{Store: tokensource.Sealed(chain, "gopher", key)}
	if err := session.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.18s\n", chain.items["gopher"])
	token, err := (&tokensource.Session{Store: tokensource.Sealed(chain, "gopher", key)}).Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output:
	// authtrip-sealed:1:
	// access-1
}

// A Grant tells more of a token than an oauth2.Token can hold.
func ExampleBind() {
	grant := func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		token := &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1"}
		return tokensource.Bind(token, tokensource.Binding{Issuer: "https://as.example", ClientID: "cli", Granted: []string{"read"}}), nil
	}
	store := &keychain{account: "gopher", items: map[string][]byte{}}
	ctx := context.Background()
	if _, err := (&tokensource.Session{Grant: grant, Store: store}).Token(ctx); err != nil {
		fmt.Println(err)
		return
	}
	token, err := (&tokensource.Session{Store: store}).Token(ctx) // after a restart
	if err != nil {
		fmt.Println(err)
		return
	}
	binding := tokensource.BindingOf(token)
	fmt.Println(binding.Issuer, binding.ClientID, binding.Granted)
	// Output: https://as.example cli [read]
}

// One line takes the place of x/oauth2's Config.Client.
func ExampleNewSession() {
	grant := func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "access-2"}, nil
	}
	expired := &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1", Expiry: time.Now().Add(-time.Hour)}
	session := tokensource.NewSession(grant, expired)
	_, good := session.Current()
	fmt.Println(good)
	token, err := session.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output:
	// false
	// access-2
}

// A token comes from the environment, as in CI.
func ExampleEnv() {
	os.Setenv("EXAMPLE_TOKEN", "access-1")
	defer os.Unsetenv("EXAMPLE_TOKEN")
	token, err := tokensource.Env("EXAMPLE_TOKEN").Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}
