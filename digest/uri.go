package digest

import (
	"net/url"
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
	"golang.org/x/net/http/httpguts"
)

// path returns u's path as it is sent.
func path(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// appendURI appends the digest-uri of l, which is the request-target that
// net/http will send (RFC 9112 section 3.2): in origin-form or, to a proxy, in
// absolute-form.
func appendURI(b []byte, l *hop.Leg, absolute bool) []byte {
	u := l.Request.URL
	if u.Opaque != "" {
		if strings.HasPrefix(u.Opaque, "//") {
			b = append(append(b, u.Scheme...), ':')
		}
		b = append(b, u.Opaque...)
	} else {
		if absolute {
			host := l.Request.Host
			if host == "" {
				host = u.Host
			}
			if ascii, err := httpguts.PunycodeHostPort(host); err == nil {
				host = ascii
			}
			b = append(append(append(b, u.Scheme...), "://"...), withoutZone(host)...)
		}
		b = append(b, path(u)...)
	}
	if query := l.Query(); u.ForceQuery || query != "" {
		b = append(append(b, '?'), query...)
	}
	return b
}

// withoutZone removes the zone of an IPv6 address (RFC 6874), which means
// nothing to anyone else.
func withoutZone(host string) string {
	address, port, ok := strings.Cut(host, "]")
	if zone := strings.IndexByte(address, '%'); ok && zone >= 0 && address[0] == '[' {
		return address[:zone] + "]" + port
	}
	return host
}
