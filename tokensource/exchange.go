package tokensource

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/origin"
	"golang.org/x/oauth2"
)

const (
	defaultTimeout = 30 * time.Second

	// maxAnswer bounds a token endpoint's answer. Real ones, with ID tokens and
	// the largest of access tokens, stay below 100 kB.
	maxAnswer = 1 << 20

	// maxExpiresIn, 68 years, is what x/oauth2 clamps to as well.
	maxExpiresIn = math.MaxInt32
)

// An endpoint is a token endpoint (RFC 6749 section 3.2) and the client that
// authenticates there.
type endpoint struct {
	url, clientID, clientSecret string
}

// style resolves auto-detection without trying.
func (e endpoint) style(style oauth2.AuthStyle) oauth2.AuthStyle {
	switch {
	case style != oauth2.AuthStyleAutoDetect:
		return style
	case e.clientSecret == "":
		return oauth2.AuthStyleInParams
	default:
		return oauth2.AuthStyleInHeader
	}
}

// exchange makes one request to the token endpoint and reads the answer. An
// answer that is an OAuth error, or no success, is an *oauth2.RetrieveError
// without a body.
func (e endpoint) exchange(ctx context.Context, style oauth2.AuthStyle, form url.Values) (*oauth2.Token, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	req, err := e.request(ctx, style, form)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	resp, err := exchangeClient(ctx).Do(req)
	if err != nil {
		return nil, fmt.Errorf("token endpoint: %w", clean(err))
	}
	defer resp.Body.Close()
	a, err := readAnswer(resp)
	// A refusal counts by its status and header, whatever its body is worth.
	if resp.StatusCode < 200 || resp.StatusCode > 299 || err == nil && a.errorCode != "" {
		return nil, a.refusal(resp, e.secrets(form))
	}
	if err != nil {
		return nil, err
	}
	return a.token(start)
}

func (e endpoint) request(ctx context.Context, style oauth2.AuthStyle, form url.Values) (*http.Request, error) {
	if style == oauth2.AuthStyleInParams {
		form = maps.Clone(form)
		form.Set("client_id", e.clientID)
		if e.clientSecret != "" {
			form.Set("client_secret", e.clientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("token endpoint: its URL is not valid")
	}
	to, err := origin.Of(req.URL)
	if err != nil {
		return nil, fmt.Errorf("token endpoint: %w", err)
	}
	if to.Scheme != "https" && !(to.Scheme == "http" && to.Loopback()) {
		return nil, fmt.Errorf("token endpoint: %s is not https (RFC 6749 section 3.2)", to)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if style == oauth2.AuthStyleInHeader {
		// RFC 6749 section 2.3.1: both are form-urlencoded before they are Basic's.
		req.SetBasicAuth(url.QueryEscape(e.clientID), url.QueryEscape(e.clientSecret))
	}
	return req, nil
}

// exchangeClient returns the client for token requests: the one in ctx or
// the default, but one that follows no redirects: a 307 would carry the
// client's secret and the refresh token to wherever it points.
func exchangeClient(ctx context.Context) *http.Client {
	var client http.Client
	if c, ok := ctx.Value(oauth2.HTTPClient).(*http.Client); ok && c != nil {
		client = *c
	}
	client.Transport = direct{client.Transport}
	return &client
}

// direct takes the Location from every response, so that http.Client does not
// come to look at it. CheckRedirect would come too late: a Location that is no
// URL is an error that prints it.
type direct struct{ base http.RoundTripper }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	base := d.base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(req)
	if resp != nil {
		resp.Header.Del("Location")
	}
	return resp, err
}

// An answer holds the fields of RFC 6749 sections 5.1 and 5.2.
type answer struct {
	accessToken, tokenType, refreshToken string
	expiresIn                            time.Duration // 0: not stated
	errorCode, description, uri          string
	extra                                map[string]any
}

func readAnswer(resp *http.Response) (answer, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("reading the token endpoint's answer: %w", withoutQuotes(err))
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("token endpoint's answer is longer than %d bytes", maxAnswer)
	}
	return parseAnswer(resp.Header.Get("Content-Type"), body)
}

// parseAnswer reads JSON, or the form encoding that some servers answer in.
// Its errors say nothing of what they have seen.
func parseAnswer(contentType string, body []byte) (answer, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	body = bytes.TrimSpace(body)
	var fields map[string]any
	switch {
	case len(body) > 0 && body[0] == '{':
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&fields); err != nil {
			return answer{}, errors.New("token endpoint's answer is broken JSON")
		}
	case media == "application/x-www-form-urlencoded" || media == "text/plain":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return answer{}, errors.New("token endpoint's answer is a broken form")
		}
		fields = make(map[string]any, len(form))
		for name := range form {
			fields[name] = form.Get(name)
		}
	default:
		return answer{}, fmt.Errorf("token endpoint's answer is not a JSON object (Content-Type %.80q)", media)
	}
	a := answer{extra: fields}
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"access_token", &a.accessToken},
		{"token_type", &a.tokenType},
		{"refresh_token", &a.refreshToken},
		{"error", &a.errorCode},
		{"error_description", &a.description},
		{"error_uri", &a.uri},
	} {
		switch v := fields[f.name].(type) {
		case nil:
		case string:
			*f.to = v
		default:
			return answer{}, fmt.Errorf("token endpoint's answer is broken: %s is not a string", f.name)
		}
	}
	a.expiresIn = lifetime(fields["expires_in"])
	for name, v := range fields {
		// As x/oauth2's Token.Extra has it: a float64 in JSON.
		if n, ok := v.(json.Number); ok {
			fields[name], _ = n.Float64()
		}
	}
	return a, nil
}

// lifetime reads expires_in, a number of seconds. Servers send it as a string
// or a float too, and nothing that they may send is worth losing a token for:
// what is no positive number is taken as not stated.
func lifetime(v any) time.Duration {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case float64, int64:
		s = fmt.Sprint(v)
	case string:
		s = strings.TrimSpace(v)
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if !(seconds > 0) || err != nil && !errors.Is(err, strconv.ErrRange) { // NaN is not above 0 either
		return 0
	}
	return time.Duration(min(seconds, maxExpiresIn) * float64(time.Second))
}

// token makes a token of a successful answer. Its expiry counts from start,
// when the request was sent: the server began to count no earlier.
func (a answer) token(start time.Time) (*oauth2.Token, error) {
	t := &oauth2.Token{AccessToken: a.accessToken, TokenType: a.tokenType, RefreshToken: a.refreshToken}
	if a.expiresIn > 0 {
		t.ExpiresIn = int64(a.expiresIn / time.Second)
		t.Expiry = start.Round(0).Add(a.expiresIn)
	}
	if err := check(t); err != nil {
		return nil, err
	}
	return extra.With(t, a.extra), nil
}

// check refuses what cannot be used as a token, without repeating any of it.
func check(t *oauth2.Token) error {
	switch {
	case t == nil:
		return errors.New("grant returned neither a token nor an error")
	case t.AccessToken == "":
		return errors.New("grant returned no access token")
	}
	if err := wellFormed(t); err != nil {
		return fmt.Errorf("grant returned %w", err)
	}
	return nil
}

// wellFormed refuses what must not get into a header field or a form.
func wellFormed(t *oauth2.Token) error {
	switch {
	case field.HasControl(t.AccessToken) || field.HasControl(t.RefreshToken):
		return errors.New("a token with a control character")
	case !utf8.ValidString(t.AccessToken) || !utf8.ValidString(t.RefreshToken):
		return errors.New("a token that is not UTF-8") // JSON would change it
	case t.TokenType != "" && !field.IsToken(t.TokenType):
		return errors.New("a token_type that is no authentication scheme")
	}
	return nil
}

// secrets returns what of a request must not be seen in an answer to it, as it
// is and as it was encoded.
func (e endpoint) secrets(form url.Values) []string {
	raw := []string{e.clientSecret}
	for name, values := range form {
		switch name {
		case "grant_type", "scope", "client_id":
		default:
			raw = append(raw, values...)
		}
	}
	escaped := url.QueryEscape(e.clientSecret)
	secrets := []string{base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(e.clientID) + ":" + escaped))}
	for _, s := range raw {
		if s != "" {
			secrets = append(secrets, s, url.QueryEscape(s))
		}
	}
	// Where one holds another, the longer one goes first.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return secrets
}

// refusal makes an error of an answer that is none of success. A server may
// repeat what it was sent; secrets are taken out.
func (a answer) refusal(resp *http.Response, secrets []string) error {
	redact := func(s string) string {
		switch s {
		case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
			return s // RFC 6749 section 5.2, whatever the secrets look like
		}
		for _, secret := range secrets {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
		return s
	}
	return clean(&oauth2.RetrieveError{
		Response:         resp,
		ErrorCode:        redact(a.errorCode),
		ErrorDescription: redact(a.description),
		ErrorURI:         redact(a.uri),
	})
}
