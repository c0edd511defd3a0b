package digest

import (
	"net/url"

	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
)

// Use pretends that the nonces that are free for u have been used n times.
func (t *Transport) Use(u *url.URL, n uint64) { use(&t.spaces, u, n) }

// Use pretends that the nonces that are free for the proxy have been used n
// times.
func (p *Proxy) Use(proxy *url.URL, n uint64) { use(&p.spaces, proxy, n) }

func use(m *space.Memory[known], u *url.URL, n uint64) {
	o, _ := origin.Of(u)
	for _, s := range m.Find(o, path(u)).free {
		s.count.Store(n)
	}
}
