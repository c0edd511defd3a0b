package authtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
)

// A NoteClient is a client of one's own, to be tested.
type NoteClient struct {
	HTTP *http.Client
	URL  string
}

// Add adds a note, and returns it as the server has it.
func (c *NoteClient) Add(ctx context.Context, text string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/notes", strings.NewReader(text))
	if err != nil {
		return "", err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	note, err := io.ReadAll(resp.Body)
	return string(note), err
}

// Testing one's own client: it has to survive that its token is revoked. In a
// test, NewServer is given the *testing.T, and closes the server itself.
func ExampleNewServer() {
	server := authtest.NewServer(nil)
	defer server.Close()
	ctx := context.Background()

	session := &tokensource.Session{Grant: tokensource.RefreshToken(server.Config())}
	first := server.SignIn()
	if err := session.Set(ctx, first); err != nil {
		fmt.Println(err)
		return
	}
	client := &NoteClient{
		HTTP: transport.Client(server.Client(), (&transport.Refresh{Source: session}).Wrap),
		URL:  server.URL + "/bearer",
	}

	fmt.Println(client.Add(ctx, "milk"))
	server.Revoke(first.AccessToken)
	fmt.Println(client.Add(ctx, "bread"))
	for _, r := range server.Transcript() {
		fmt.Println(r)
	}
	// Output:
	// milk <nil>
	// bread <nil>
	// POST /bearer/notes HTTP/1.1, access 1, 4 bytes, status 200
	// POST /bearer/notes HTTP/1.1, access 1, 5 bytes, status 401
	// POST /token HTTP/1.1, client authtest, refresh 1, 75 bytes, status 200
	// POST /bearer/notes HTTP/1.1, access 2, 5 bytes, status 200
}

// A token endpoint that is down, and then loses an answer.
func ExampleServer_Inject() {
	server := authtest.NewServer(nil)
	defer server.Close()
	ctx := context.Background()
	grant := tokensource.RefreshToken(server.Config())

	down := server.Inject("/token", authtest.Answer(http.StatusServiceUnavailable, http.Header{"Retry-After": {"5"}}, ""))
	session := &tokensource.Session{Grant: grant}
	first := server.SignIn()
	first.AccessToken = "" // to be exchanged at once
	if err := session.Set(ctx, first); err != nil {
		fmt.Println(err)
		return
	}
	_, err := session.Token(ctx)
	retry, _ := errors.AsType[*tokensource.RetryError](err)
	fmt.Println("again in", time.Until(retry.At).Round(time.Second))
	down()

	server.Inject("/token", authtest.Times(1, authtest.DropAfter(0)))
	_, err = grant(ctx, server.SignIn())
	fmt.Println(err != nil, server.Stats().Granted)
	// Output:
	// again in 5s
	// true 1
}

// A gate shows that many requests wait for one renewal.
func ExampleServer_Hold() {
	server := authtest.NewServer(nil)
	defer server.Close()
	ctx := context.Background()
	session := &tokensource.Session{Grant: tokensource.ClientCredentials(server.ClientCredentials())}

	gate := server.Hold("/token")
	done := make(chan error)
	for range 10 {
		go func() {
			_, err := session.Token(ctx)
			done <- err
		}()
	}
	if err := gate.Wait(ctx, 1); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held:", gate.Waiting())
	gate.Release()
	for range 10 {
		if err := <-done; err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("granted:", server.Stats().Granted)
	// Output:
	// held: 1
	// granted: 1
}
