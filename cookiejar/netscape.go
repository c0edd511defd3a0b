package cookiejar

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	netscapeTitle = "# Netscape HTTP Cookie File"
	httpOnlyMark  = "#HttpOnly_"

	maxLine = 64 << 10 // octets; a cookie of the largest size is shorter
)

// EncodeNetscape writes all cookies of the Jar to w as a cookies.txt, which curl,
// wget, Python, yt-dlp and browsers' extensions read. SameSite and the times but
// that of expiry have no place in it. Nor has a cookie with a tab in it: the error
// says so after all others have been written.
func (j *Jar) EncodeNetscape(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(netscapeTitle + "\n\n")
	var err error
	for _, e := range j.entries() {
		if strings.Contains(e.pair+e.path, "\t") {
			err = fmt.Errorf("cookiejar: %v was left out: cookies.txt has no way to write a tab", e.cookie())
			continue
		}
		if e.httpOnly {
			b.WriteString(httpOnlyMark)
		}
		if !e.hostOnly {
			b.WriteByte('.')
		}
		expires := int64(0)
		if !e.session() {
			expires = max(1, e.expires/int64(time.Second))
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.domain, yes(!e.hostOnly), e.path, yes(e.secure), expires, e.name, e.value())
	}
	return errors.Join(b.Flush(), err)
}

func yes(v bool) string {
	if v {
		return "TRUE"
	}
	return "FALSE"
}

// DecodeNetscape adds to the Jar the cookies of a cookies.txt, as if they were
// received now. A cookie that the Jar would not have accepted from a server is
// rejected by itself; lines that are none are passed over, and the error tells
// which. If there is nothing else in it, nothing was added.
func (j *Jar) DecodeNetscape(r io.Reader) error {
	var (
		lines = bufio.NewScanner(io.LimitReader(r, maxDocument))
		all   []*entry
		bad   []string
		n     int
	)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		n++
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		e, ok := parseNetscape(line)
		switch {
		case !ok && len(bad) == 10:
			bad = append(bad, "...")
		case !ok && len(bad) < 10:
			bad = append(bad, strconv.Itoa(n))
		case e != nil:
			all = append(all, e)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cookiejar: reading line %d of a cookies.txt: %w", n+1, err)
	}
	c := change{loud: j.o.OnEvent != nil}
	j.mu.Lock()
	for _, e := range all {
		now := j.tick(time.Now())
		e.created, e.updated = now, now
		e.accessed.Store(now)
		reason := j.readmit(e)
		if reason == "" {
			j.put(e, always, &c)
		} else {
			c.note(EventRejected, e, reason)
		}
	}
	book := j.book
	j.mu.Unlock()
	c.done(j, book)
	if len(bad) > 0 {
		return fmt.Errorf("cookiejar: no cookie is in cookies.txt line(s) %s", strings.Join(bad, ", "))
	}
	return nil
}

// parseNetscape reads one line. A comment is no cookie, and no error.
func parseNetscape(line string) (e *entry, ok bool) {
	line, httpOnly := strings.CutPrefix(line, httpOnlyMark)
	if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
		return nil, true
	}
	f := strings.Split(line, "\t")
	if len(f) == 6 { // as some leave out an empty value
		f = append(f, "")
	}
	if len(f) != 7 {
		return nil, false
	}
	domain, dotted := strings.CutPrefix(f[0], ".")
	tail, ok1 := truth(f[1])
	secure, ok2 := truth(f[3])
	expires, err := strconv.ParseFloat(f[4], 64) // some write fractions
	if !ok1 || !ok2 || err != nil && f[4] != "" || domain == "" {
		return nil, false
	}
	e = &entry{
		key: key{name: f[5], path: f[2], hostOnly: !tail && !dotted}, domain: strings.ToLower(domain), secure: secure, httpOnly: httpOnly,
		sameSite: http.SameSiteDefaultMode, expires: never,
	}
	e.setValue(f[6])
	if expires > 0 {
		e.expires = int64(min(expires, 1<<33) * float64(time.Second))
	}
	return e, true
}

func truth(s string) (v, ok bool) {
	return strings.EqualFold(s, "TRUE"), strings.EqualFold(s, "TRUE") || strings.EqualFold(s, "FALSE")
}
