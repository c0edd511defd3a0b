package transport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// serve starts a server that answers 401 with body refused to all but the token
// "new", and what is given to that. It returns the server, a client without a
// decorator, and one with a Refresh that goes from "old" to "new".
func serve(t *testing.T, refused string, handler http.HandlerFunc) (server *httptest.Server, plain, client *http.Client) {
	t.Helper()
	server = httptest.NewServer(guard(refused, handler))
	t.Cleanup(server.Close)
	plain = server.Client()
	return server, plain, transport.Client(plain, (&transport.Refresh{Source: tokens("old", "new")}).Wrap)
}

func guard(refused string, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, refused)
			return
		}
		handler(w, r)
	}
}

func send(t *testing.T, client *http.Client, req *http.Request) *http.Response {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestWireUncompressed(t *testing.T) {
	server, _, client := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding is %q, not net/http's own", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		io.WriteString(zip, "unzipped")
		zip.Close()
	})
	resp := send(t, client, newRequest(t, http.MethodGet, server.URL, nil))
	if got := slurp(t, resp); got != "unzipped" || !resp.Uncompressed {
		t.Errorf("got %q, Uncompressed %v", got, resp.Uncompressed)
	}
}

// Both attempts are traced, and the second takes the connection of the first: the
// 401 was read to its end.
func TestWireTraceAndReuse(t *testing.T) {
	server, _, client := serve(t, "who are you?", func(http.ResponseWriter, *http.Request) {})
	var mu sync.Mutex
	var got []string
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("connection, reused: %v", info.Reused))
		},
		WroteHeaderField: func(key string, value []string) {
			mu.Lock()
			defer mu.Unlock()
			if key == "Authorization" {
				got = append(got, value...)
			}
		},
	}
	req := newRequest(t, http.MethodGet, server.URL, nil)
	send(t, client, req.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
	want := []string{"connection, reused: false", "Bearer old", "connection, reused: true", "Bearer new"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

// With one connection in all, the 401's body stands in the way of the renewal
// and of the second attempt, if the token endpoint is on the same server.
func TestWireOneConnection(t *testing.T) {
	for _, size := range []int{0, 100, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle("/api", guard(text(size), func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
			mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"access_token": "new", "token_type": "Bearer"}`)
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			plain := server.Client()
			plain.Transport.(*http.Transport).MaxConnsPerHost = 1
			grant := tokensource.RefreshToken(&oauth2.Config{ClientID: "client", Endpoint: oauth2.Endpoint{TokenURL: server.URL + "/token"}})
			s := session(t, func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
				return grant(context.WithValue(ctx, oauth2.HTTPClient, plain), current)
			})
			client := transport.Client(plain, (&transport.Refresh{Source: s}).Wrap)
			resp := send(t, client, newRequest(t, http.MethodPost, server.URL+"/api", strings.NewReader("a body")))
			if got := slurp(t, resp); resp.StatusCode != http.StatusOK || got != "a body" {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	}
}

func TestWireRejectionIsIntact(t *testing.T) {
	for _, size := range sizes {
		server, plain, _ := serve(t, text(size), nil)
		client := transport.Client(plain, (&transport.Refresh{Source: refusing(tokensource.ErrUnchanged)}).Wrap)
		resp := send(t, client, newRequest(t, http.MethodGet, server.URL, nil))
		if got := slurp(t, resp); resp.StatusCode != http.StatusUnauthorized || got != text(size) {
			t.Errorf("size %d: got %d with %d bytes", size, resp.StatusCode, len(got))
		}
	}
}

// The server answers while the body is still being sent, and goes.
func TestWireServerThatCloses(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	tests := []struct {
		name string
		read int64 // how much of the body the 401 waits for
	}{
		{"after the body", int64(len(payload))},
		{"half-way through the body", int64(len(payload) / 2)},
		{"before the body", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if r.Header.Get("Authorization") == "Bearer new" {
					sum := sha256.New()
					io.Copy(sum, r.Body)
					w.Header().Set("Connection", "close")
					fmt.Fprintf(w, "%x", sum.Sum(nil))
					return
				}
				io.CopyN(io.Discard, r.Body, tt.read)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
				// To close with data unread would reset the connection, and the answer
				// might be lost with it.
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
				conn.Close()
			}))
			t.Cleanup(server.Close)
			client := transport.Client(server.Client(), (&transport.Refresh{Source: tokens("old", "new")}).Wrap)
			for range 2 {
				resp := send(t, client, newRequest(t, http.MethodPost, server.URL, bytes.NewReader(payload)))
				if got := slurp(t, resp); got != fmt.Sprintf("%x", sha256.Sum256(payload)) {
					t.Errorf("got %d %q, want the sum of the whole body", resp.StatusCode, got)
				}
			}
			if n := requests.Load(); n != 3 {
				t.Errorf("%d requests, want 3", n)
			}
		})
	}
}

// HTTP/2 may answer early, too; the first body is then still being read while the
// second is sent.
func TestWireHTTP2EarlyAnswer(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	server := httptest.NewUnstartedServer(guard("no", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%x", sum.Sum(nil))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := transport.Client(server.Client(), (&transport.Refresh{Source: tokens("old", "new")}).Wrap)
	resp := send(t, client, newRequest(t, http.MethodPost, server.URL, bytes.NewReader(payload)))
	if got := slurp(t, resp); got != fmt.Sprintf("%x", sha256.Sum256(payload)) {
		t.Errorf("got %d %q, want the sum of the whole body", resp.StatusCode, got)
	}
}

// A streaming upload is refused once; the next one comes with a new token.
func TestWireStreamingUpload(t *testing.T) {
	var auths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		auths = append(auths, r.Header.Get("Authorization"))
		guard("who are you?", func(http.ResponseWriter, *http.Request) {})(w, r)
	}))
	t.Cleanup(server.Close)
	client := transport.Client(server.Client(), (&transport.Refresh{Source: tokens("old", "new")}).Wrap)
	for i, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, "stream")
			w.Close()
		}()
		resp := send(t, client, newRequest(t, http.MethodPost, server.URL, r))
		if got := slurp(t, resp); resp.StatusCode != want || i == 0 && got != "who are you?" {
			t.Errorf("got %d %q, want %d", resp.StatusCode, got, want)
		}
	}
	if diff := cmp.Diff([]string{"Bearer old", "Bearer new"}, auths); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// One line on the wire, whatever spelling the field came in.
func TestWireHeaderSpelling(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		var got []string
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = r.Header.Values("Authorization")
		}))
		t.Cleanup(server.Close)
		client := transport.Client(server.Client(), make(parts{source: tokens("token")}).Wrap)
		for value, want := range map[string]string{"": "Bearer token", "Own": "Own"} {
			req := newRequest(t, http.MethodGet, server.URL, nil)
			req.Header["authorization"] = []string{value}
			send(t, client, req)
			if diff := cmp.Diff([]string{want}, got); diff != "" {
				t.Errorf("with authorization %q (-want +got):\n%s", value, diff)
			}
		}
	})
}
