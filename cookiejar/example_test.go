package cookiejar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/net/publicsuffix"
)

// shop is what the examples talk to: a site that wants one to sign in.
var shop = transport.Func(func(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: make(http.Header), Body: http.NoBody, Request: req}
	session, err := req.Cookie("sid")
	switch {
	case req.URL.Path == "/login":
		resp.Header.Add("Set-Cookie", "sid=1; Path=/; Secure; HttpOnly")
		resp.Header.Add("Set-Cookie", "XSRF-TOKEN=t%2B1; Path=/; Secure")
	case err != nil || session.Value != "1":
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", "/login?next="+req.URL.Path)
	case req.Method != http.MethodGet && req.Header.Get("X-XSRF-TOKEN") != "t+1":
		resp.StatusCode = http.StatusForbidden
	default:
		resp.Body = io.NopCloser(strings.NewReader("thank you"))
	}
	resp.Status = fmt.Sprint(resp.StatusCode, " ", http.StatusText(resp.StatusCode))
	return resp, nil
})

func get(client *http.Client, url string) {
	resp, err := client.Get(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}

// The jar takes the place of net/http/cookiejar's.
func ExampleNew() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Jar: jar, Transport: shop}
	get(client, "https://shop.example.com/login")
	get(client, "https://shop.example.com/orders")
	// Output:
	// 200 OK
	// 200 OK
}

// What is in a jar can be seen, but is not printed in passing.
func ExampleJar() {
	jar := new(cookiejar.Jar)
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	jar.Receive(u, []string{"sid=secret; Max-Age=3600; Secure", "lang=en; Domain=example.com"})
	fmt.Println(jar.Header(u))
	for c := range jar.All() {
		fmt.Println(c, c.Secure, c.Expires.IsZero())
	}
	jar.ClearHost("example.com")
	fmt.Println(jar)
	// Output:
	// sid=secret; lang=en
	// cookiejar.Cookie("lang" for *.example.com/) false true
	// cookiejar.Cookie("sid" for www.example.com/) true false
	// cookiejar.Jar(0 cookies)
}

// An observer is told what becomes of each cookie.
func ExampleOptions() {
	jar, err := cookiejar.New(&cookiejar.Options{OnEvent: func(e cookiejar.Event) {
		fmt.Printf("%s %v: %q\n", e.Kind, e.Cookie, e.Reason)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	u := &url.URL{Scheme: "https", Host: "www.example.co.uk", Path: "/"}
	jar.Receive(u, []string{"a=1", "b=2; Domain=co.uk", "__Host-c=3; Path=/"})
	// Output:
	// set cookiejar.Cookie("a" for www.example.co.uk/): ""
	// rejected cookiejar.Cookie("b" for www.example.co.uk): "domain is a public suffix"
	// rejected cookiejar.Cookie("__Host-c" for www.example.co.uk/): "attributes do not fit the name's prefix"
}

// Cookies for curl.
func ExampleJar_EncodeNetscape() {
	jar := new(cookiejar.Jar)
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	jar.Receive(u, []string{"sid=1; Secure; HttpOnly"})
	var list bytes.Buffer
	if err := jar.EncodeNetscape(&list); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(strings.ReplaceAll(list.String(), "\t", " "))
	// Output:
	// # Netscape HTTP Cookie File
	//
	// #HttpOnly_www.example.com FALSE / TRUE 0 sid 1
}

// A jar that the next run of the program has again.
func ExampleOpenFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "cookies.json")
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	for range 2 {
		file, err := cookiejar.OpenFile(path, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(file.Jar())
		file.Jar().Receive(u, []string{"sid=1; Max-Age=3600"})
		if err := file.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// cookiejar.Jar(0 cookies)
	// cookiejar.Jar(1 cookies)
}

// Two processes, each with the file open, have each other's cookies once they have
// saved.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	var files [2]*cookiejar.File
	for i := range files {
		if files[i], err = cookiejar.OpenFile(filepath.Join(dir, "cookies.json"), &cookiejar.FileOptions{Debounce: -1}); err != nil {
			fmt.Println(err)
			return
		}
	}
	files[0].Jar().Receive(u, []string{"first=1; Max-Age=3600"})
	files[1].Jar().Receive(u, []string{"second=2; Max-Age=3600"})
	for _, i := range []int{0, 1, 0} {
		if err := files[i].Save(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(files[0].Jar().Header(u))
	fmt.Println(files[1].Jar().Header(u))
	// Output:
	// first=1; second=2
	// first=1; second=2
}

// A file that is kept for a browser's kind of session.
func ExampleFileOptions() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	options := &cookiejar.FileOptions{
		KeepSession: true,
		Debounce:    10 * time.Second,
		OnError:     func(err error) { slog.Warn("cookies are not saved", "error", err) },
	}
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	for range 2 {
		file, err := cookiejar.OpenFile(filepath.Join(dir, "cookies.json"), options)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q\n", file.Jar().Header(u))
		file.Jar().Receive(u, []string{"session=1"})
		if err := file.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// ""
	// "session=1"
}

// Only those who may read the file may have it.
func ExampleFile_refused() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "cookies.txt")
	if err := os.WriteFile(path, []byte("# Netscape HTTP Cookie File\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	_, err = cookiejar.OpenFile(path, nil)
	fmt.Println(strings.ReplaceAll(err.Error(), path, "cookies.txt"))
	// Output:
	// cookiejar: not a document that Encode has written: at byte 1, in cookies.txt
}

// A cookie prints without its value, which is there to be read.
func ExampleCookie() {
	jar := new(cookiejar.Jar)
	u := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	jar.Receive(u, []string{"sid=secret; Path=/app; HttpOnly"})
	u.Path = "/app/orders"
	if c, ok := jar.Get(u, "sid"); ok {
		fmt.Println(c)
		fmt.Println(c.Value, c.HostOnly, c.HttpOnly)
	}
	// Output:
	// cookiejar.Cookie("sid" for www.example.com/app)
	// secret true true
}

// A list of one's own, for a network with names of its own.
type internalSuffixes struct{ cookiejar.PublicSuffixList }

func (l internalSuffixes) PublicSuffix(domain string) string {
	if domain == "internal" || strings.HasSuffix(domain, ".internal") {
		return "" // none of these names is one
	}
	return l.PublicSuffixList.PublicSuffix(domain)
}

func ExamplePublicSuffixList() {
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: internalSuffixes{publicsuffix.List}})
	if err != nil {
		fmt.Println(err)
		return
	}
	jar.Receive(&url.URL{Scheme: "https", Host: "sso.internal"}, []string{"sid=1; Domain=internal"})
	fmt.Println(jar.Header(&url.URL{Scheme: "https", Host: "api.internal"}))
	// Output:
	// sid=1
}

// Where a cookie comes from and how long it stays is known to a log.
func ExampleEvent() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	jar, err := cookiejar.New(&cookiejar.Options{OnEvent: func(e cookiejar.Event) { log.Info("cookie", "event", e) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	jar.Receive(&url.URL{Scheme: "https", Host: "example.com"}, []string{"sid=secret; Max-Age=0; SameSite=None"})
	// Output:
	// level=INFO msg=cookie event.kind=rejected event.cookie="cookiejar.Cookie(\"sid\" for example.com/)" event.host=example.com event.reason="SameSite=None without Secure"
}

// A reason can be told from others.
func ExampleReason() {
	jar, err := cookiejar.New(&cookiejar.Options{OnEvent: func(e cookiejar.Event) {
		fmt.Println(e.Kind == cookiejar.EventRejected && e.Reason == cookiejar.ReasonInsecure)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	jar.Receive(&url.URL{Scheme: "http", Host: "example.com"}, []string{"sid=1; Secure"})
	// Output:
	// true
}

// Cookies below a client that has no jar.
func ExampleTransport() {
	client := &http.Client{Transport: &cookiejar.Transport{Jar: new(cookiejar.Jar), Base: shop}}
	get(client, "https://shop.example.com/login")
	get(client, "https://shop.example.com/orders")
	// Output:
	// 200 OK
	// 200 OK
}

// A session that is begun when it is needed, and again when it has ended.
func ExampleLogin() {
	login := &cookiejar.Login{
		Ended: cookiejar.RedirectsTo("/login"),
		Login: func(ctx context.Context, client *http.Client) error {
			fmt.Println("signing in")
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://shop.example.com/login", strings.NewReader("user=me&password=mine"))
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New("the server says " + resp.Status)
			}
			return nil
		},
	}
	cookies := &cookiejar.Transport{Jar: new(cookiejar.Jar)}
	client := transport.Client(&http.Client{Transport: shop}, login.Wrap, cookies.Wrap, new(cookiejar.XSRF).Wrap)
	for range 2 {
		resp, err := client.Post("https://shop.example.com/orders", "text/plain", strings.NewReader("a pair of socks"))
		if err != nil {
			fmt.Println(err)
			return
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s: %s\n", resp.Status, answer)
	}
	// Output:
	// signing in
	// 200 OK: thank you
	// 200 OK: thank you
}

// The order: Transport outside, so that XSRF finds the cookie on the request.
func ExampleXSRF() {
	chain := transport.Chain((&cookiejar.Transport{Jar: new(cookiejar.Jar)}).Wrap, (&cookiejar.XSRF{}).Wrap)
	client := &http.Client{Transport: chain(transport.Func(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPost {
			fmt.Println(req.Header.Get("Cookie"))
			fmt.Println(req.Header.Get("X-XSRF-TOKEN"))
		}
		return shop(req)
	}))}
	get(client, "https://shop.example.com/login")
	resp, err := client.Post("https://shop.example.com/orders", "text/plain", strings.NewReader("a pair of socks"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 200 OK
	// sid=1; XSRF-TOKEN=t%2B1
	// t+1
	// 200 OK
}
