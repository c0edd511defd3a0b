package origin

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// A Pattern names one origin, or with a leading *. all the origins below a
// domain.
type Pattern struct {
	origin Origin
	below  string // ".example.com" for https://*.example.com
}

// ParsePattern reads https://host, https://host:port or the same with *. in
// front of the host. Its errors do not repeat s, which may hold userinfo.
func ParsePattern(s string) (Pattern, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Pattern{}, errors.New("not a URL")
	case !strings.EqualFold(u.Scheme, "https") && !strings.EqualFold(u.Scheme, "http"):
		return Pattern{}, errors.New("does not begin with https:// or http://")
	case u.User != nil:
		return Pattern{}, errors.New("has userinfo, which is no part of an origin")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Pattern{}, errors.New("has a path, query or fragment, which is no part of an origin")
	}
	wild := strings.HasPrefix(u.Host, "*.")
	u.Host = strings.TrimPrefix(u.Host, "*.")
	o, err := Of(u)
	if err != nil {
		return Pattern{}, errors.New("has no valid host")
	}
	if _, err := strconv.ParseUint(o.Port, 10, 16); err != nil {
		return Pattern{}, errors.New("has no valid port")
	}
	if strings.Contains(o.Host, "*") {
		return Pattern{}, errors.New("has a * other than one leading label")
	}
	if !wild {
		return Pattern{origin: o}, nil
	}
	if last := o.Host[strings.LastIndexByte(o.Host, '.')+1:]; strings.Trim(last, "0123456789") == "" || strings.Contains(last, ":") {
		return Pattern{}, errors.New("has a * in an IP address")
	}
	return Pattern{origin: Origin{Scheme: o.Scheme, Port: o.Port}, below: "." + o.Host}, nil
}

// Match reports whether o is one of p's origins. The * stands for one or more
// whole labels.
func (p Pattern) Match(o Origin) bool {
	if p.below == "" {
		return o == p.origin
	}
	return o.Scheme == p.origin.Scheme && o.Port == p.origin.Port &&
		len(o.Host) > len(p.below) && strings.HasSuffix(o.Host, p.below)
}
