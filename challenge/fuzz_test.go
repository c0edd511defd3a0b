package challenge_test

import (
	"strings"
	"testing"

	"github.com/authtrip/authtrip/challenge"
	"github.com/google/go-cmp/cmp"
)

// The values of several fields are one string, a line each.
const separator = "\n"

const maxBytes = 128 << 10

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// check reports what must not be in params, whatever a server sends.
func check(t *testing.T, params []challenge.Param) {
	t.Helper()
	if len(params) > 64 {
		t.Errorf("%d parameters", len(params))
	}
	names := map[string]bool{}
	for _, p := range params {
		if !isToken(p.Name) {
			t.Errorf("name %q is no token", p.Name)
		}
		if strings.ContainsFunc(p.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			t.Errorf("value %q has a control character", p.Value)
		}
		if name := strings.ToLower(p.Name); names[name] {
			t.Errorf("%q occurs twice", p.Name)
		} else {
			names[name] = true
		}
	}
}

// seed adds values; what is there for its length alone would slow all down.
func seed(f *testing.F, values []string) {
	if s := strings.Join(values, separator); len(s) < 1<<10 {
		f.Add(s)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range parse {
		seed(f, tt.values)
	}
	f.Fuzz(func(t *testing.T, fields string) {
		values := strings.Split(fields, separator)
		challenges, err := challenge.Parse(values)
		if err == nil && challenges == nil {
			t.Error("neither a challenge nor an error")
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("error repeats what it read: %v", err)
		}
		if len(challenges) > 64 {
			t.Errorf("%d challenges", len(challenges))
		}
		var again []string
		size := 0
		for _, c := range challenges {
			if !isToken(c.Scheme) || c.Token68 != "" && c.Params != nil {
				t.Errorf("%#v is no challenge", c)
			}
			check(t, c.Params)
			again = append(again, c.String())
			size += len(c.String())
			if len(c.String()) > maxBytes {
				continue
			}
			if got, err := challenge.Parse(again[len(again)-1:]); err != nil || !cmp.Equal([]challenge.Challenge{c}, got) {
				t.Errorf("%#v is printed as %s and read as %#v, %v", c, c, got, err)
			}
		}
		// All together, as values and as one.
		if size+2*len(again) > maxBytes {
			return
		}
		for _, values := range [][]string{again, {strings.Join(again, ", ")}} {
			if got, err := challenge.Parse(values); challenges != nil && err != nil || !cmp.Equal(challenges, got) {
				t.Errorf("%q is read as %#v, %v", values, got, err)
			}
		}
	})
}

func FuzzParseParams(f *testing.F) {
	for _, tt := range parseParams {
		seed(f, tt.values)
	}
	f.Fuzz(func(t *testing.T, fields string) {
		params, err := challenge.ParseParams(strings.Split(fields, separator))
		if err != nil {
			if params != nil || len(err.Error()) > 200 {
				t.Errorf("%v beside error %v", params, err)
			}
			return
		}
		check(t, params)
		var values []string
		size := 0
		for _, p := range params {
			values = append(values, string(challenge.AppendQuoted([]byte(p.Name+"="), p.Value)))
			size += len(values[len(values)-1])
		}
		if size+2*len(values) > maxBytes {
			return
		}
		for _, values := range [][]string{values, {strings.Join(values, ", ")}} {
			if got, err := challenge.ParseParams(values); err != nil || !cmp.Equal(params, got) {
				t.Errorf("%q is read as %#v, %v", values, got, err)
			}
		}
	})
}
