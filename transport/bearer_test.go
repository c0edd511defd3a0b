package transport_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// Bearer does nothing about a 401, whatever its Source could do.
func TestBearerReturnsA401(t *testing.T) {
	source := tokens("old", "new")
	base := newScript(answer(http.StatusUnauthorized, "who are you?"))
	req, b := replayable(t, "a body")
	status, body := do(t, &transport.Bearer{Source: source, Base: base}, req)
	if status != http.StatusUnauthorized || body != "who are you?" {
		t.Errorf("got %d %q, want the 401 intact", status, body)
	}
	if diff := cmp.Diff([]string{"Bearer old"}, base.auths()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if source.renewed.Load() != 0 || len(b.again) != 0 {
		t.Errorf("%d renewals and %d calls of GetBody, want none", source.renewed.Load(), len(b.again))
	}
	b.wantEachClosedOnce(t)
}
