// Package extra reads and writes what an oauth2.Token carries beside its own
// fields: the extra fields of a token endpoint's response, which x/oauth2 cannot
// list, and values that authtrip's packages attach to a token.
package extra

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strconv"
	"unicode/utf8"

	"golang.org/x/oauth2"
)

// The hidden keys. Their values have types of this package, so that no field of a
// response can pass for one. Both types are functions, because fmt prints an
// oauth2.Token with all of its map: a map that holds itself would never end.
const (
	fieldsKey = "\x00authtrip fields"
	boundKey  = "\x00authtrip bound"
)

type (
	lister func() map[string]any
	bound  func() any
)

// With returns a copy of t with fields, which must not be modified afterwards, and
// with the value attached to t, if there is one.
func With(t *oauth2.Token, fields map[string]any) *oauth2.Token {
	return with(t, fields, t.Extra(boundKey))
}

// Attach returns a copy of t with v attached, and with t's fields as far as they
// can be listed. Fields of names that cannot be listed are looked up.
func Attach(t *oauth2.Token, v any, names ...string) *oauth2.Token {
	return with(t, Fields(t, names...), bound(func() any { return v }))
}

func with(t *oauth2.Token, fields map[string]any, b any) *oauth2.Token {
	raw := make(map[string]any, len(fields)+2)
	maps.Copy(raw, fields)
	raw[fieldsKey] = lister(func() map[string]any { return fields })
	if b, ok := b.(bound); ok {
		raw[boundKey] = b
	}
	return t.WithExtra(raw)
}

// Attached returns the value attached to t, nil if there is none.
func Attached(t *oauth2.Token) any {
	if b, ok := t.Extra(boundKey).(bound); ok {
		return b()
	}
	return nil
}

// Fields returns the extra fields of t, which must not be modified. If another
// package made t, these are the fields among names. The result is nil if there are
// none.
func Fields(t *oauth2.Token, names ...string) map[string]any {
	if list, ok := t.Extra(fieldsKey).(lister); ok {
		return list()
	}
	var fields map[string]any
	for _, name := range names {
		// A form response has "" for a field that is absent.
		if v := t.Extra(name); v != nil && v != "" {
			if fields == nil {
				fields = make(map[string]any)
			}
			fields[name] = v
		}
	}
	return fields
}

// ErrNotObject is Decode's error for text that is not one JSON object.
var ErrNotObject = errors.New("not a JSON object")

// Decode returns the members of a JSON object. A number is a float64 as in
// x/oauth2, or a [json.Number] if a float64 would change it.
func Decode(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var members map[string]any
	if !utf8.Valid(text) || d.Decode(&members) != nil || members == nil { // invalid UTF-8 would be changed
		return nil, ErrNotObject
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, ErrNotObject
	}
	for name, v := range members {
		members[name] = numbers(v)
	}
	return members, nil
}

// numbers replaces the json.Numbers in v.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && exact(v.String(), f) {
			return f
		}
	case map[string]any:
		for name, member := range v {
			v[name] = numbers(member)
		}
	case []any:
		for i, element := range v {
			v[i] = numbers(element)
		}
	}
	return v
}

// exact reports whether f is written with the digits of text. A number with an
// exponent or trailing zeros is taken as exact if it is short.
func exact(text string, f float64) bool {
	return len(text) <= 15 || strconv.FormatFloat(f, 'f', -1, 64) == text
}
