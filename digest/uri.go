package digest

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// path returns u's path as it is sent.
func path(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// appendURI appends the digest-uri of req, which is the request-target that
// net/http will send (RFC 9112 section 3.2): in origin-form or, to a proxy, in
// absolute-form.
func appendURI(b []byte, req *http.Request, absolute bool) []byte {
	u := req.URL
	if u.Opaque != "" {
		if strings.HasPrefix(u.Opaque, "//") {
			b = append(append(b, u.Scheme...), ':')
		}
		b = append(b, u.Opaque...)
	} else {
		if absolute {
			host := req.Host
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
	if u.ForceQuery || u.RawQuery != "" {
		b = append(append(b, '?'), u.RawQuery...)
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
