package tokensource

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// clean returns err without what it may tell of the exchange with the token
// endpoint. Of an oauth2.RetrieveError, which may print the whole answer,
// there remains what error handling needs: the status, Retry-After, and the
// RFC 6749 error fields. Of a url.Error there remains the cause, since the URL
// may have a secret in its query.
func clean(err error) error {
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return cleanOf(err, re, withoutBody(re))
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return cleanOf(err, ue, withoutQuotes(ue.Err))
	}
	return err
}

func cleanOf(err, culprit, remainder error) error {
	if err == culprit {
		return remainder
	}
	return &cleaned{remainder, err}
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// withoutQuotes takes from err's text what it quotes: of an answer that is not
// HTTP, net/http's errors repeat a part.
func withoutQuotes(err error) error {
	text := err.Error()
	if plain := quoted.ReplaceAllLiteralString(text, `"..."`); plain != text {
		return &cleaned{errors.New(plain), err}
	}
	return err
}

func withoutBody(re *oauth2.RetrieveError) *oauth2.RetrieveError {
	kept := &oauth2.RetrieveError{
		Response:         &http.Response{Status: "no response"},
		ErrorCode:        printable(re.ErrorCode),
		ErrorDescription: printable(re.ErrorDescription),
		ErrorURI:         printable(re.ErrorURI),
	}
	if r := re.Response; r != nil {
		// The reason phrase is the server's free text as well.
		kept.Response.Status = fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
		kept.Response.StatusCode, kept.Response.Header = r.StatusCode, http.Header{}
		if value := r.Header.Get("Retry-After"); parseRetryAfter(value, time.Now()) > 0 {
			kept.Response.Header.Set("Retry-After", value)
		}
	}
	return kept
}

// A cleaned is an error that had a culprit somewhere within. It prints what
// remained of that, and matches what the original matches, but for the culprit.
type cleaned struct {
	error
	original error
}

func (e *cleaned) Is(target error) bool { return errors.Is(e.original, target) }

func (e *cleaned) As(target any) bool {
	switch target := target.(type) {
	case **oauth2.RetrieveError, **url.Error:
		return errors.As(e.error, target)
	case **RetryError: // it prints what it wraps, which may be the culprit
		re, ok := errors.AsType[*RetryError](e.original)
		if ok {
			*target = &RetryError{At: re.At, Err: clean(re.Err)}
		}
		return ok
	}
	if !errors.As(e.original, target) {
		return false
	}
	// An interface, as net.Error, may have matched the culprit or what wraps it.
	v := reflect.ValueOf(target).Elem()
	if found, ok := v.Interface().(error); ok && v.Kind() == reflect.Interface && clean(found) != found {
		v.SetZero()
		return errors.As(e.error, target)
	}
	return true
}

func (e *cleaned) GoString() string { return fmt.Sprintf("%q", e.Error()) }

// printable cuts a server's text to what RFC 6749 section 5.2 lets it contain
// and to a length fit for a log line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}
