package cookiejar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/html"
)

// maxPage is how much of a page is looked at for a token.
const maxPage = 1 << 20

// Django returns an XSRF for Django's CsrfViewMiddleware: the cookie csrftoken in
// the field X-CSRFToken, with Origin. Django changes the cookie at each login. If
// page is not empty, a request for it is what brings the first one; set Jar too.
func Django(page string) *XSRF {
	x := &XSRF{Cookie: "csrftoken", Header: "X-CSRFToken", Raw: true, SendOrigin: true}
	if page != "" {
		x.Fetch = func(ctx context.Context, client *http.Client) (header, token string, err error) {
			return "", "", get(ctx, client, page, func(io.Reader) error { return nil })
		}
	}
	return x
}

// Rails returns an XSRF for the authenticity token of Rails, which is in a meta
// element of each page, here of the one at page, and goes into X-CSRF-Token. A
// response of status 422 means that it is not good any more.
func Rails(page string) *XSRF {
	return &XSRF{
		Header: "X-CSRF-Token", SendOrigin: true, Match: func(string) string { return "" },
		Fetch:    FetchMeta(page, "csrf-token", ""),
		Rejected: func(resp *http.Response) bool { return resp.StatusCode == http.StatusUnprocessableEntity },
	}
}

var errNoToken = errors.New("there is no token")

// FetchMeta returns a function for [XSRF.Fetch] that takes the token from the
// element <meta name=token content=...> of a page. Where header is not empty, an
// element of that name has the name of the field to send it in, as Spring's
// _csrf_header does.
func FetchMeta(page, token, header string) func(context.Context, *http.Client) (string, string, error) {
	return func(ctx context.Context, client *http.Client) (field, value string, err error) {
		err = get(ctx, client, page, func(r io.Reader) error {
			found := metas(r)
			field, value = found[header], found[token]
			if value == "" || header != "" && field == "" {
				return fmt.Errorf("%w in a meta element", errNoToken)
			}
			return nil
		})
		return field, value, err
	}
}

// metas returns the contents of a page's meta elements by their names.
func metas(r io.Reader) map[string]string {
	found := make(map[string]string)
	z := html.NewTokenizer(r)
	for {
		switch z.Next() {
		case html.ErrorToken:
			return found
		case html.StartTagToken, html.SelfClosingTagToken:
			if t := z.Token(); t.Data == "meta" {
				var name, content string
				for _, a := range t.Attr {
					switch a.Key {
					case "name":
						name = a.Val
					case "content":
						content = a.Val
					}
				}
				if _, twice := found[name]; name != "" && !twice {
					found[name] = content
				}
			}
		}
	}
}

// FetchJSON returns a function for [XSRF.Fetch] that takes the token from a JSON
// document at page, in which path leads to it: names of members with a dot
// between.
func FetchJSON(page, path string) func(context.Context, *http.Client) (string, string, error) {
	return func(ctx context.Context, client *http.Client) (field, value string, err error) {
		err = get(ctx, client, page, func(r io.Reader) error {
			var document any
			if json.NewDecoder(r).Decode(&document) != nil { // its error may repeat what it has read
				return errors.New("the page is not JSON")
			}
			for name := range strings.SplitSeq(path, ".") {
				members, _ := document.(map[string]any)
				document = members[name]
			}
			if value, _ = document.(string); value == "" {
				return fmt.Errorf("%w at %s", errNoToken, path)
			}
			return nil
		})
		return "", value, err
	}
}

// get requests a page and has it read.
func get(ctx context.Context, client *http.Client, page string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the page has status %d", resp.StatusCode)
	}
	return read(io.LimitReader(resp.Body, maxPage))
}
