package cookiejar_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

// fetched is what a function for XSRF.Fetch makes of a page.
func fetched(t *testing.T, fetch func(context.Context, *http.Client) (string, string, error), page *http.Response) string {
	t.Helper()
	client := &http.Client{Transport: &server{answer: func(int, *http.Request) *http.Response { return page }}}
	header, token, err := fetch(t.Context(), client)
	if err != nil {
		return err.Error()
	}
	return header + ": " + token
}

func TestFetchMeta(t *testing.T) {
	const (
		page = "https://example.com/page"
		none = "there is no token in a meta element"
	)
	for _, tt := range []struct{ name, header, page, want string }{
		{"one", "", `<html><head><meta name="csrf-token" content="t"></head>`, ": t"},
		{"other attributes, in another order", "", `<META content='t' data-x=1 NAME=csrf-token />`, ": t"},
		{"entities", "", `<meta name="csrf-token" content="a&amp;b&#61;">`, ": a&b="},
		{"the first of two", "", `<meta name="csrf-token" content="1"><meta name="csrf-token" content="2">`, ": 1"},
		{"with the field's name", "_csrf_header", `<meta name="_csrf_header" content="X-C"/><meta name="csrf-token" content="t"/>`, "X-C: t"},
		{"the field's name is missing", "_csrf_header", `<meta name="csrf-token" content="t"/>`, none},
		{"in a comment", "", `<!-- <meta name="csrf-token" content="t"> -->`, none},
		{"in a script", "", `<script>'<meta name="csrf-token" content="t">'</script>`, none},
		{"another name", "", `<meta name="token" content="t">`, none},
		{"no content", "", `<meta name="csrf-token">`, none},
		{"not HTML", "", "\x00\xff<<<>", none},
		{"beyond a megabyte", "", strings.Repeat(" ", 1<<20) + `<meta name="csrf-token" content="t">`, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fetched(t, cookiejar.FetchMeta(page, "csrf-token", tt.header), html(tt.page)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := fetched(t, cookiejar.FetchMeta(page, "csrf-token", ""), respond(404)); got != "the page has status 404" {
		t.Errorf("got %q", got)
	}
	if got := fetched(t, cookiejar.FetchMeta("%zz", "csrf-token", ""), respond(200)); !strings.Contains(got, "invalid URL") {
		t.Errorf("got %q", got)
	}
	client := &http.Client{Transport: idling{}}
	if _, _, err := cookiejar.FetchMeta(page, "csrf-token", "")(t.Context(), client); err == nil {
		t.Error("no error from a base that fails")
	}
}

func TestFetchJSON(t *testing.T) {
	for _, tt := range []struct{ name, path, page, want string }{
		{"a member", "token", `{"token":"t"}`, ": t"},
		{"a member's", "data.csrf.token", `{"data":{"csrf":{"token":"t"}}}`, ": t"},
		{"missing", "data.token", `{"data":{}}`, "there is no token at data.token"},
		{"no object", "data.token", `{"data":"secret"}`, "there is no token at data.token"},
		{"no string", "token", `{"token":42}`, "there is no token at token"},
		{"not JSON", "token", `secret`, "the page is not JSON"},
		{"nothing", "token", ``, "the page is not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fetched(t, cookiejar.FetchJSON("https://example.com/", tt.path), html(tt.page)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Rails keeps its token in the page, and the session that it belongs to in a cookie.
func TestRails(t *testing.T) {
	jar := newJar(t, nil)
	var got []string
	base := &server{answer: func(_ int, req *http.Request) *http.Response {
		switch {
		case req.Method == http.MethodGet:
			resp := html(`<meta name="csrf-param" content="authenticity_token"><meta name="csrf-token" content="t1">`)
			resp.Header.Add("Set-Cookie", "_app_session=s1; Path=/; HttpOnly")
			return resp
		case req.Header.Get("X-Csrf-Token") != "t1":
			return respond(422)
		}
		got = append(got, req.Header.Get("Cookie"), req.Header.Get("Origin"))
		return respond(201)
	}}
	x := cookiejar.Rails("https://example.com/new")
	x.Jar = jar
	rt := (&cookiejar.Transport{Jar: jar}).Wrap(x.Wrap(base))
	for range 2 {
		req := request(t, "POST", "https://example.com/items")
		req.Body = io.NopCloser(strings.NewReader(""))
		if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != 201 {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	want := []string{"_app_session=s1", "https://example.com", "_app_session=s1", "https://example.com"}
	if diff := cmp.Diff(want, got); diff != "" || len(base.sent) != 3 {
		t.Errorf("%d requests (-want +got):\n%s", len(base.sent), diff)
	}
}
