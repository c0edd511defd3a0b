package cookiejar_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
)

// A model is a jar that is slow and simple: a list, as the draft's text has it
// (RFC 6265bis sections 5.7 and 5.8).
type model struct {
	cookies      []*modelled
	perDomain, n int // the limits
	created      int
}

type modelled struct {
	name, value, domain, path string
	hostOnly, secure          bool
	expires                   time.Time // zero: with the session
	created                   int
	accessed                  time.Time
}

func (c *modelled) gone() bool { return !c.expires.IsZero() && !time.Now().Before(c.expires) }

func domainMatch(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

func modelPathMatch(path, of string) bool {
	return path == of || strings.HasPrefix(path, strings.TrimSuffix(of, "/")+"/")
}

func (m *model) receive(u *url.URL, c modelled) {
	secure := u.Scheme == "https"
	if c.secure && !secure {
		return
	}
	if !c.secure && !secure && slices.ContainsFunc(m.cookies, func(o *modelled) bool {
		return o.secure && o.name == c.name && (domainMatch(o.domain, c.domain) || domainMatch(c.domain, o.domain)) && modelPathMatch(c.path, o.path)
	}) {
		return
	}
	m.created++
	c.created, c.accessed = m.created, time.Now()
	old := slices.IndexFunc(m.cookies, func(o *modelled) bool {
		return o.name == c.name && o.domain == c.domain && o.hostOnly == c.hostOnly && o.path == c.path
	})
	if old >= 0 {
		if !m.cookies[old].gone() {
			c.created = m.cookies[old].created
		}
		m.cookies = slices.Delete(m.cookies, old, old+1)
	}
	if !c.gone() {
		m.cookies = append(m.cookies, &c)
		m.evict(c.domain)
	}
}

func (m *model) evict(domain string) {
	of := func(c *modelled) bool { return c.domain == domain }
	count := func() (n int) {
		for _, c := range m.cookies {
			if of(c) {
				n++
			}
		}
		return n
	}
	// worst returns the first to go of those that are in question.
	worst := func(in func(*modelled) bool, order func(a, b *modelled) int) int {
		victim := -1
		for i, c := range m.cookies {
			if in(c) && (victim < 0 || order(c, m.cookies[victim]) < 0) {
				victim = i
			}
		}
		return victim
	}
	use := func(a, b *modelled) int {
		return cmp.Or(a.accessed.Compare(b.accessed), cmp.Compare(a.created, b.created))
	}
	first := func(yes func(*modelled) bool) func(a, b *modelled) int {
		return func(a, b *modelled) int {
			if yes(a) != yes(b) {
				if yes(a) {
					return -1
				}
				return 1
			}
			return use(a, b)
		}
	}
	if count() > m.perDomain {
		m.cookies = slices.DeleteFunc(m.cookies, func(c *modelled) bool { return of(c) && c.gone() })
	}
	for count() > m.perDomain {
		i := worst(of, first(func(c *modelled) bool { return !c.secure }))
		m.cookies = slices.Delete(m.cookies, i, i+1)
	}
	for len(m.cookies) > m.n {
		i := worst(func(*modelled) bool { return true }, first((*modelled).gone))
		m.cookies = slices.Delete(m.cookies, i, i+1)
	}
}

func (m *model) header(u *url.URL) string {
	var found []*modelled
	for _, c := range m.cookies {
		if !c.gone() && (c.domain == u.Host || !c.hostOnly && domainMatch(u.Host, c.domain)) &&
			modelPathMatch(u.Path, c.path) && (!c.secure || u.Scheme == "https") {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *modelled) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.created, b.created))
	})
	var pairs []string
	for _, c := range found {
		c.accessed = time.Now()
		pairs = append(pairs, c.name+"="+c.value)
	}
	return strings.Join(pairs, "; ")
}

// A jar does what the model does, whatever comes.
func TestModel(t *testing.T) {
	pick := func(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }
	randomURL := func(r *rand.Rand) *url.URL {
		return &url.URL{
			Scheme: pick(r, "https", "https", "http"),
			Host:   pick(r, "a.example.com", "b.example.com", "example.com", "x.a.example.com", "example.net"),
			Path:   pick(r, "/", "/x", "/x/", "/x/y", "/xy"),
		}
	}
	kept := 0
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			m := &model{perDomain: 2 + r.IntN(4), n: 4 + r.IntN(8)}
			j := newJar(t, &cookiejar.Options{MaxPerDomain: m.perDomain, Max: m.n})
			var log []string
			for step := range 150 {
				time.Sleep(time.Duration(1 + r.IntN(int(time.Second))))
				u := randomURL(r)
				switch r.IntN(20) {
				case 0:
					log = append(log, "clear "+u.Host)
					j.ClearHost(u.Host)
					m.cookies = slices.DeleteFunc(m.cookies, func(c *modelled) bool { return domainMatch(c.domain, u.Host) })
				case 1:
					log = append(log, "clear session")
					j.ClearSession()
					m.cookies = slices.DeleteFunc(m.cookies, func(c *modelled) bool { return c.expires.IsZero() })
				case 2, 3, 4, 5, 6, 7, 8:
					got, want := j.Header(u), m.header(u)
					log = append(log, fmt.Sprintf("header %v: %s", u, want))
					if got != want {
						t.Fatalf("seed %d, step %d: got %q, want %q, after\n%s", seed, step, got, want, strings.Join(log, "\n"))
					}
					kept += len(want)
				default:
					c := modelled{name: pick(r, "a", "b", "c", "d"), value: fmt.Sprint(step), domain: u.Host, hostOnly: true}
					field := c.name + "=" + c.value
					if c.path = pick(r, "", "", "/", "/x", "/x/y"); c.path != "" {
						field += "; Path=" + c.path
					} else if c.path = u.Path[:max(1, strings.LastIndex(u.Path, "/"))]; r.IntN(2) == 0 {
						field += "; Path=none"
					}
					if domain := pick(r, "", "", "example.com", "a.example.com"); domain != "" && domainMatch(u.Host, domain) {
						field, c.domain, c.hostOnly = field+"; Domain="+domain, domain, false
					}
					if r.IntN(3) == 0 {
						field, c.secure = field+"; Secure", true
					}
					if r.IntN(3) == 0 {
						age := r.IntN(60)
						field, c.expires = fmt.Sprint(field, "; Max-Age=", age), time.Now().Add(time.Duration(age)*time.Second)
					}
					log = append(log, fmt.Sprintf("receive %v: %s", u, field))
					j.Receive(u, []string{field})
					m.receive(u, c)
				}
			}
		})
	}
	if kept == 0 {
		t.Error("no cookies were ever sent")
	}
}
