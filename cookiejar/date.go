package cookiejar

import (
	"strings"
	"time"
)

// parseDate reads a cookie-date (RFC 6265bis section 5.1.1), which is whatever
// has a time, a day, a month and a year in it, in this order of recognition and
// in any order of appearance.
func parseDate(s string) (time.Time, bool) {
	var (
		hour, minute, second, day, month, year int
		hasTime, hasDay, hasMonth, hasYear     bool
	)
	for token := range strings.FieldsFuncSeq(s, isDateDelimiter) {
		var ok bool
		switch {
		case !hasTime && clock(token, &hour, &minute, &second):
			hasTime = true
		case !hasDay && number(token, 1, 2, &day):
			hasDay = true
		case !hasMonth && monthOf(token, &month):
			hasMonth = true
		case !hasYear:
			if ok = number(token, 2, 4, &year); ok {
				hasYear = true
			}
		}
	}
	switch {
	case year >= 70 && year <= 99:
		year += 1900
	case year >= 0 && year <= 69:
		year += 2000
	}
	if !hasTime || !hasDay || !hasMonth || !hasYear ||
		day < 1 || day > 31 || year < 1601 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day // else there is no such date
}

// isDateDelimiter is for ASCII; all else is OCTET to the grammar.
func isDateDelimiter(r rune) bool {
	return r == '\t' || r >= ' ' && r <= '/' || r >= ';' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
}

// digits reads min to max digits at the beginning of s.
func digits(s string, min, max int, to *int) (rest string, ok bool) {
	n, i := 0, 0
	for i < len(s) && i < max && isDigit(s[i]) {
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i < min {
		return s, false
	}
	*to = n
	return s[i:], true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads a token that begins with min to max digits, and no more.
func number(token string, min, max int, to *int) bool {
	n := 0
	rest, ok := digits(token, min, max, &n)
	if !ok || rest != "" && isDigit(rest[0]) {
		return false
	}
	*to = n
	return true
}

// clock reads hours, minutes and seconds.
func clock(token string, hour, minute, second *int) bool {
	var h, m, s int
	token, ok := digits(token, 1, 2, &h)
	if !ok || !strings.HasPrefix(token, ":") {
		return false
	}
	token, ok = digits(token[1:], 1, 2, &m)
	if !ok || !strings.HasPrefix(token, ":") || !number(token[1:], 1, 2, &s) {
		return false
	}
	*hour, *minute, *second = h, m, s
	return true
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

func monthOf(token string, to *int) bool {
	if len(token) < 3 {
		return false
	}
	i := strings.Index(months, strings.ToLower(token[:3]))
	if i < 0 || i%3 != 0 {
		return false
	}
	*to = i/3 + 1
	return true
}
