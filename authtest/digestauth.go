package authtest

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/challenge"
)

const (
	digestRealm  = "authtest"
	nonceLife    = 5 * time.Minute
	maxNonces    = 10_000
	maxNonceUses = 1 << 16
)

// nonces are those that /digest has given out.
type nonces struct {
	mu    sync.Mutex
	given map[string]*nonce // guarded by mu
	order []string          // the same, oldest first; guarded by mu
}

type nonce struct {
	issued time.Time
	used   map[uint64]bool // counts, each good for one request
}

func (n *nonces) issue() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.given == nil {
		n.given = make(map[string]*nonce)
	}
	value := rand.Text()
	n.given[value] = &nonce{time.Now(), make(map[uint64]bool)}
	if n.order = append(n.order, value); len(n.order) > maxNonces {
		delete(n.given, n.order[0])
		n.order = n.order[1:]
	}
	return value
}

// use reports whether a nonce is good for one more request, with this count.
func (n *nonces) use(value string, count uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.given[value]
	if g == nil || time.Since(g.issued) > nonceLife || g.used[count] || len(g.used) >= maxNonceUses {
		return false
	}
	g.used[count] = true
	return true
}

// checkDigest is RFC 7616 with qop auth.
func (s *Server) checkDigest(r *http.Request) verdict {
	refuse := func(stale bool) verdict {
		var challenges []string
		for _, algorithm := range []string{"SHA-256", "MD5"} {
			c := fmt.Sprintf(`Digest realm="%s", qop="auth", algorithm=%s, nonce="%s"`, digestRealm, algorithm, s.nonces.issue())
			if stale {
				c += ", stale=true"
			}
			challenges = append(challenges, c)
		}
		return unauthorized(challenges...)
	}
	credentials, ok := authorization(r, "Digest")
	if !ok {
		return refuse(false)
	}
	list, err := challenge.ParseParams([]string{credentials})
	if err != nil {
		return refuse(false)
	}
	params := make(map[string]string)
	for _, p := range list {
		params[strings.ToLower(p.Name)] = p.Value
	}
	count, err := strconv.ParseUint(params["nc"], 16, 32)
	h := map[string]func() hash.Hash{"": md5.New, "MD5": md5.New, "SHA-256": sha256.New}[params["algorithm"]]
	if err != nil || len(params["nc"]) != 8 || h == nil || params["qop"] != "auth" || params["cnonce"] == "" ||
		params["username"] != s.Username || params["realm"] != digestRealm || params["uri"] != r.RequestURI {
		return refuse(false)
	}
	digest := func(s string) string {
		sum := h()
		sum.Write([]byte(s))
		return hex.EncodeToString(sum.Sum(nil))
	}
	// Section 3.4.1.
	respond := func(method string) string {
		return digest(digest(s.Username+":"+digestRealm+":"+s.Password) + ":" + params["nonce"] + ":" + params["nc"] +
			":" + params["cnonce"] + ":auth:" + digest(method+":"+params["uri"]))
	}
	if params["response"] != respond(r.Method) {
		return refuse(false)
	}
	if !s.nonces.use(params["nonce"], count) {
		return refuse(true)
	}
	v := accepted
	// Section 3.5.
	v.header = http.Header{"Authentication-Info": {fmt.Sprintf(
		`qop=auth, rspauth="%s", cnonce=%s, nc=%s`, respond(""), challenge.AppendQuoted(nil, params["cnonce"]), params["nc"],
	)}}
	return v
}
