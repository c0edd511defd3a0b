// Package authtest tests what signs in: a kit that checks any
// [net/http.RoundTripper] decorator against the contract, clause by clause, and an
// authorization server with an API that can be made to fail in every way.
//
// # The kit
//
// [TestTransport] takes the decorator as a function of its base, and runs a
// subtest for each [Clause]:
//
//	func TestTransport(t *testing.T) {
//		authtest.TestTransport(t, func(base http.RoundTripper) http.RoundTripper {
//			return &mylib.Transport{Token: "my-token", Base: base}
//		}, authtest.Secret("my-token"))
//	}
//
// A clause that fails says what was broken, where that is required, and what
// was done to find out. [Check] returns the same as data.
//
// # The server
//
// [NewServer] starts one on loopback, or, for testing/synctest, without any
// sockets. It issues, rotates, revokes and introspects tokens, its API demands
// credentials of every kind, and [Server.Inject] and [Server.Hold] break what
// a client must survive. In fake time an hour of that takes no time:
//
//	synctest.Test(t, func(t *testing.T) {
//		server := authtest.NewServer(t, authtest.InMemory())
//		server.SetPolicy(authtest.Policy{Lifetime: 5 * time.Minute})
//		client := mylib.New(server.Client(), server.Config(), server.SignIn())
//		for range 60 {
//			time.Sleep(time.Minute)
//			if err := client.Ping(server.Context(t.Context()), server.URL+"/bearer"); err != nil {
//				t.Error(err)
//			}
//		}
//	})
package authtest
