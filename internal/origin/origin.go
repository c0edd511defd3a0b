// Package origin compares URLs by origin (RFC 9110 section 4.3.1, RFC 6454):
// scheme, host and effective port.
package origin

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An Origin is normalised, so that == compares origins: letter case and a
// trailing dot are gone from the host, a name is in its ASCII form, an IP
// address in its shortest, and the port is never empty for http and https.
type Origin struct {
	Scheme, Host, Port string
}

var (
	errNoURL  = errors.New("request has no URL")
	errNoHost = errors.New("request URL has no host")
	errHost   = errors.New("request URL has a host that is no name in IDNA")
)

// Of returns the origin of u. It allocates nothing when u's host is already
// normalised, as almost every host is.
func Of(u *url.URL) (Origin, error) {
	if u == nil {
		return Origin{}, errNoURL
	}
	host, err := normalHost(u.Hostname())
	if err != nil {
		return Origin{}, err
	}
	o := Origin{Scheme: strings.ToLower(u.Scheme), Host: host, Port: u.Port()}
	if o.Port == "" {
		switch o.Scheme {
		case "https":
			o.Port = "443"
		case "http":
			o.Port = "80"
		}
	}
	return o, nil
}

// Plain reports whether u is an https URL of which it can be told without a closer
// look that Of returns no error for it.
func Plain(u *url.URL) bool {
	if u == nil || u.Scheme != "https" || u.Host == "" {
		return false
	}
	switch u.Host[0] {
	case '.', ':', '[':
		return false
	}
	var all byte
	for i := range len(u.Host) {
		all |= u.Host[i]
	}
	return all < utf8.RuneSelf
}

func normalHost(host string) (string, error) {
	plain := true
	for i := range len(host) {
		c := host[i]
		if c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' || c == ':' {
			plain = false
			break
		}
	}
	if !plain {
		// A name that is ASCII already is not put through IDNA: hosts such as
		// a_b.internal are no IDNA names and are in use. (net/http does the same.)
		if isASCII(host) {
			host = strings.ToLower(host)
		} else {
			var err error
			if host, err = idna.Lookup.ToASCII(host); err != nil {
				return "", errHost
			}
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			host = ip.String()
		}
	}
	if host = strings.TrimSuffix(host, "."); host == "" {
		return "", errNoHost
	}
	return host, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Loopback reports whether o's host can only be this machine: 127.0.0.0/8,
// ::1, localhost or a name below localhost (RFC 6761 section 6.3). Spellings
// of an address that only some resolvers know, as 127.1, do not count.
func (o Origin) Loopback() bool {
	if o.Host == "localhost" || strings.HasSuffix(o.Host, ".localhost") {
		return true
	}
	if o.Host == "::1" {
		return true
	}
	if !strings.HasPrefix(o.Host, "127.") {
		return false
	}
	ip, err := netip.ParseAddr(o.Host)
	return err == nil && ip.IsLoopback()
}

// String returns the origin as it would be written, a default port left out.
func (o Origin) String() string {
	host := o.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.Scheme == "https" && o.Port == "443" || o.Scheme == "http" && o.Port == "80" || o.Port == "" {
		return o.Scheme + "://" + host
	}
	return o.Scheme + "://" + host + ":" + o.Port
}
