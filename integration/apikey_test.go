package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/integration/webserver"
)

func TestAPIKey(t *testing.T) {
	s := webserver.Nginx(t, webserver.NewBackend(t))
	for _, test := range []struct {
		path string
		in   apikey.Location
		name string
	}{
		{"/header/", apikey.Header, ""},
		{"/query/?a=b", apikey.Query, "api_key"},
		{"/cookie/", apikey.Cookie, "api_key"},
	} {
		t.Run(test.path, func(t *testing.T) {
			url, w := s.URL+test.path, newWire(t)
			right := &apikey.Transport{Key: webserver.APIKey, In: test.in, Name: test.name, Base: w}
			wave(t, &http.Client{Transport: right}, "wave", url)
			w.expect(t, "wave", map[int]int{200: callers})

			wrong := &apikey.Transport{Key: "other", In: test.in, Name: test.name, Base: w}
			resp, page, err := post(t, &http.Client{Transport: wrong}, url, "hello")
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 401 || page != "no key\n" {
				t.Errorf("wrong key: %s, %q", resp.Status, page)
			}
			w.expect(t, "wrong key", map[int]int{401: 1})
		})
	}
}

// What the caller sees of a request has no key in it, though nginx repeats it
// as it redirects.
func TestAPIKeyShows(t *testing.T) {
	s := webserver.Nginx(t, webserver.NewBackend(t))
	w := newWire(t)
	client := &http.Client{
		Transport: &apikey.Transport{Key: webserver.APIKey, In: apikey.Query, Name: "api_key", Base: w},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			if got := req.URL.String() + req.Referer() + req.Response.Header.Get("Location"); strings.Contains(got, webserver.APIKey) {
				t.Errorf("a redirect shows the key: %s", got)
			}
			return nil
		},
	}
	for _, test := range []struct{ path, want, arrived string }{
		{"/query/x?a=b", "/query/x?a=b", "/query/x?a=b&api_key=" + webserver.APIKey},
		{"/moved/x?a=b", "/query/moved/x?a=b", "/query/moved/x?a=b&api_key=" + webserver.APIKey},
		{"/moved/x", "/query/moved/x", "/query/moved/x?api_key=" + webserver.APIKey},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got, err := webserver.EchoOf(resp)
		if err != nil {
			t.Errorf("%s: %s: %v", test.path, resp.Status, err)
		}
		if url := resp.Request.URL.String(); url != s.URL+test.want || got.URI != test.arrived {
			t.Errorf("%s: the caller sees %s, the backend %s; want %s and %s", test.path, url, got.URI, test.want, test.arrived)
		}
	}

	nobody := strings.Replace(s.URL, "127.0.0.1", "127.0.0.2", 1) // nginx is not there
	_, _, err := post(t, client, nobody+"/query/", "hello")
	if err == nil || strings.Contains(err.Error(), webserver.APIKey) {
		t.Errorf("error: %v; want one without the key", err)
	}
}
