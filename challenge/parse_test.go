package challenge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/challenge"
	"github.com/google/go-cmp/cmp"
)

// of makes a challenge of a scheme and of names and values in turn.
func of(scheme string, params ...string) challenge.Challenge {
	return challenge.Challenge{Scheme: scheme, Params: list(params...)}
}

func list(params ...string) []challenge.Param {
	var l []challenge.Param
	for i := 0; i < len(params); i += 2 {
		l = append(l, challenge.Param{Name: params[i], Value: params[i+1]})
	}
	return l
}

func token68(scheme, value string) challenge.Challenge {
	return challenge.Challenge{Scheme: scheme, Token68: value}
}

func all(c ...challenge.Challenge) []challenge.Challenge { return c }

// Where an error is, and what.
const (
	long        = "the fields are too long"
	many        = "too many challenges"
	none        = "no challenge"
	manyParams  = "too many parameters"
	junk        = "neither a scheme nor a parameter"
	noScheme    = "a parameter without a scheme"
	afterScheme = "a scheme is followed by something else than a space or comma"
	badScheme   = "a scheme is followed by neither a token68 nor parameters"
	duplicate   = "a parameter occurs twice"
	noValue     = "a parameter has no value"
	unquoted    = "a quoted-string has no end"
	control     = "a quoted-string has a control character"
	afterValue  = "a parameter is followed by something else than a comma"
)

func at(value, i int, what string) string {
	return fmt.Sprintf("challenge: field value %d, byte %d: %s", value, i, what)
}

var parse = []struct {
	name   string
	values []string
	want   []challenge.Challenge
	err    string
}{
	{"nothing", nil, nil, ""},
	{"empty", []string{""}, nil, at(0, 0, none)},
	{"two empty", []string{"", " ,\t, "}, nil, at(1, 5, none)},
	{"empty and more", []string{"", "Basic"}, all(of("Basic")), ""},

	{"scheme", []string{"Basic"}, all(of("Basic")), ""},
	{"scheme, spaces", []string{" \t Basic \t "}, all(of("Basic")), ""},
	{"scheme, odd", []string{"!#$%&'*+-.^_`|~0"}, all(of("!#$%&'*+-.^_`|~0")), ""},
	{"scheme, comma", []string{"Basic,"}, all(of("Basic")), ""},
	{"scheme, space, comma", []string{"Basic ,"}, all(of("Basic")), ""},
	{"schemes", []string{"Basic,Digest , Bearer"}, all(of("Basic"), of("Digest"), of("Bearer")), ""},
	{"schemes the same", []string{"Basic,Basic"}, all(of("Basic"), of("Basic")), ""},
	{"values", []string{"Basic", "Digest a=b", "Basic"}, all(of("Basic"), of("Digest", "a", "b"), of("Basic")), ""},

	{"token68", []string{"Negotiate abc"}, all(token68("Negotiate", "abc")), ""},
	{"token68, all there is", []string{"Negotiate aZ09-._~+/=="}, all(token68("Negotiate", "aZ09-._~+/==")), ""},
	{"token68, spaces", []string{"Negotiate \t a= \t "}, all(token68("Negotiate", "a=")), ""},
	{"token68, many =", []string{"Negotiate a====="}, all(token68("Negotiate", "a=====")), ""},
	{"token68 like a name", []string{"Bearer realm="}, all(token68("Bearer", "realm=")), ""},
	{"token68 and a scheme", []string{"Negotiate a==,Basic"}, all(token68("Negotiate", "a=="), of("Basic")), ""},
	{"token68 beside a scheme", []string{"Basic Negotiate"}, all(token68("Basic", "Negotiate")), ""},
	{"token68s", []string{"N a, N b=, N c"}, all(token68("N", "a"), token68("N", "b="), token68("N", "c")), ""},
	{"token68 and parameters", []string{"N a=, b=c, Basic d=e"}, all(token68("N", "a="), of("Basic", "d", "e")), at(0, 7, noScheme)},
	{"= alone", []string{"N =="}, nil, at(0, 2, noScheme)},
	{"= within", []string{"N a==b"}, nil, at(0, 4, noValue)},
	{"token68 with what is none", []string{"N a!"}, nil, at(0, 4, badScheme)},
	{"token68 and more", []string{"N a== b, Basic"}, all(of("Basic")), at(0, 4, noValue)},
	{"token68 and more words", []string{"N a b, Basic"}, all(of("Basic")), at(0, 4, badScheme)},

	{"parameter", []string{`Basic realm="x y"`}, all(of("Basic", "realm", "x y")), ""},
	{"parameter, token", []string{`Basic realm=x`}, all(of("Basic", "realm", "x")), ""},
	{"parameter, odd", []string{"S !#$%&'*+-.^_`|~0=!#$%&'*+-.^_`|~0"}, all(of("S", "!#$%&'*+-.^_`|~0", "!#$%&'*+-.^_`|~0")), ""},
	{"parameter, spaces", []string{"S \t a \t = \t b \t "}, all(of("S", "a", "b")), ""},
	{"parameter, tab alone", []string{"S\ta=b"}, all(of("S", "a", "b")), ""},
	{"parameters", []string{`Digest realm="x",qop=auth , nonce="y"`}, all(of("Digest", "realm", "x", "qop", "auth", "nonce", "y")), ""},
	{"spelling", []string{"DIGEST Realm=X"}, all(of("DIGEST", "Realm", "X")), ""},
	{"empty elements", []string{",,S ,,a=b,, ,c=d,,T,"}, all(of("S", "a", "b", "c", "d"), of("T")), ""},
	{"empty element without a space", []string{"S,,a=b"}, all(of("S")), at(0, 4, noScheme)},
	{"challenges", []string{`A a=b, c="d", B, C e="f"`}, all(of("A", "a", "b", "c", "d"), of("B"), of("C", "e", "f")), ""},
	{"challenge after comma and space", []string{"A , B c=d"}, all(of("A"), of("B", "c", "d")), ""},
	{"challenge of one value", []string{"A b=c", "d=e"}, all(of("A", "b", "c")), at(1, 1, noScheme)},
	{"scheme alone, then parameters", []string{"A", "b=c"}, all(of("A")), at(1, 1, noScheme)},

	{"quoted", []string{`S a="", b=" ", c=",", d="=", e="B c=d"`}, all(of("S", "a", "", "b", " ", "c", ",", "d", "=", "e", "B c=d")), ""},
	{"escapes", []string{`S a="\"", b="\\", c="\a\,", d="x\"y\\z"`}, all(of("S", "a", `"`, "b", `\`, "c", "a,", "d", `x"y\z`)), ""},
	{"escapes of escapes", []string{`S a="\\\\\"", b="\\"`}, all(of("S", "a", `\\"`, "b", `\`)), ""},
	{"tab and beyond ASCII", []string{"S a=\"\t\u00e9\xff\\\t\\\xff\""}, all(of("S", "a", "\t\u00e9\xff\t\xff")), ""},
	{"no end", []string{`S a="b, T`}, nil, at(0, 9, unquoted)},
	{"no end, after others", []string{`R, S a=b, c="`, "T"}, all(of("R"), of("T")), at(0, 13, unquoted)},
	{"no end but an escaped one", []string{`S a="\"`}, nil, at(0, 7, unquoted)},
	{"no end but a backslash", []string{`S a="\`}, nil, at(0, 6, unquoted)},
	{"control", []string{"S a=\"\x00\", T"}, all(of("T")), at(0, 7, control)},
	{"control, escaped", []string{"S a=\"\\\n\", T"}, all(of("T")), at(0, 8, control)},
	{"control, DEL", []string{"S a=\"b\x7f\", c=d, T"}, all(of("T")), at(0, 8, control)},
	{"control, then more", []string{"S a=\"\x00b\", T", "S a=\"\\\x1fb\", T", "S a=\"\x1f\\b\", T"}, all(of("T"), of("T"), of("T")), at(0, 8, control)},
	{"control, ESC and no end", []string{"S a=\"\x1b"}, nil, at(0, 6, unquoted)},

	{"duplicate", []string{"S a=b, a=c, T"}, all(of("T")), at(0, 10, duplicate)},
	{"duplicate in another case", []string{"S a=b, c=d, A=e, f=g, T h=i"}, all(of("T", "h", "i")), at(0, 15, duplicate)},
	{"duplicate, same value", []string{"S a=b, a=b"}, nil, at(0, 10, duplicate)},
	{"twice in two", []string{"S a=b, T a=b"}, all(of("S", "a", "b"), of("T", "a", "b")), ""},

	{"no value", []string{"S a=, b=c, T"}, all(token68("S", "a="), of("T")), at(0, 7, noScheme)},
	{"no value later", []string{"S a=b, c=, d=e, T"}, all(of("T")), at(0, 9, noValue)},
	{"no value at the end", []string{"R, S a=b, c="}, all(of("R")), at(0, 12, noValue)},
	{"value in single quotes", []string{"S a='b'"}, all(of("S", "a", "'b'")), ""},
	{"value with a slash", []string{"S a=b/c, T"}, all(of("T")), at(0, 5, afterValue)},
	{"value with a backslash", []string{`S a=\b, T`}, all(of("T")), at(0, 4, noValue)},
	{"two values", []string{"S a=b c, d=e, T"}, all(of("T")), at(0, 6, afterValue)},
	{"quoted and more", []string{`S a="b"c, T`}, all(of("T")), at(0, 7, afterValue)},
	{"quoted twice", []string{`S a="b" ",T, ", T`}, all(of("T")), at(0, 8, afterValue)},
	{"semicolon", []string{"S a=b; c=d, T"}, all(of("T")), at(0, 5, afterValue)},

	{"no scheme", []string{"a=b, S"}, all(of("S")), at(0, 1, noScheme)},
	{"no scheme, spaces", []string{`a = "b, S", c=d, S`}, all(of("S")), at(0, 2, noScheme)},
	{"quoted-string alone", []string{`"a, S", T`}, all(of("T")), at(0, 0, junk)},
	{"junk", []string{"???, S, {}, T"}, all(of("S"), of("T")), at(0, 0, junk)},
	{"junk in the scheme", []string{"S/1 a=b, T"}, all(of("T")), at(0, 1, afterScheme)},
	{"quote in the scheme", []string{`S"a, T", T`}, all(of("T")), at(0, 1, afterScheme)},
	{"colon", []string{"S: a=b, T"}, all(of("T")), at(0, 1, afterScheme)},
	{"beyond ASCII", []string{"é a=b, T"}, all(of("T")), at(0, 0, junk)},
	{"NUL", []string{"S\x00, T"}, all(of("T")), at(0, 1, afterScheme)},
	{"line break", []string{"S a=b\r\nT c=d, U"}, all(of("U")), at(0, 5, afterValue)},
	{"junk where a parameter should be", []string{"S ?, T"}, all(of("T")), at(0, 2, badScheme)},
	{"junk after a comma", []string{"S , ?, T"}, all(of("S"), of("T")), at(0, 4, junk)},
	{"junk after a parameter", []string{"S a=b, ?, T"}, all(of("S", "a", "b"), of("T")), at(0, 7, junk)},
	{"no name after a comma", []string{"S ,=b, T"}, all(of("S"), of("T")), at(0, 3, junk)},
	{"no name after a parameter", []string{"S a=b, =c, T"}, all(of("S", "a", "b"), of("T")), at(0, 7, junk)},
	{"the first error", []string{"?", `S a="`}, nil, at(0, 0, junk)},
	{"an error in a later value", []string{"S", "T a="}, all(of("S"), token68("T", "a=")), ""},
	{"an error in the third value", []string{"S", "T", "U a=b c"}, all(of("S"), of("T")), at(2, 6, afterValue)},

	{"64 challenges", []string{strings.Repeat("S,", 64)}, slices.Repeat(all(of("S")), 64), ""},
	{"65 challenges", []string{strings.Repeat("S,", 65), "T"}, slices.Repeat(all(of("S")), 64), at(0, 128, many)},
	{"65 challenges and junk", []string{strings.Repeat("?,", 65) + strings.Repeat("S,", 64), "T"}, slices.Repeat(all(of("S")), 64), at(0, 0, junk)},
	{"65 challenges in 65 values", slices.Repeat([]string{"S"}, 65), slices.Repeat(all(of("S")), 64), at(64, 0, many)},
	{"64 parameters", []string{"S " + numbered(64) + ", T"}, all(of("S", pairs(64)...), of("T")), ""},
	{"65 parameters", []string{"S " + numbered(65) + ", T"}, all(of("T")), at(0, len("S "+numbered(65)), manyParams)},
	{"128 KiB", []string{"S a=" + strings.Repeat("b", 1<<16-4), "T a=" + strings.Repeat("b", 1<<16-4)}, all(of("S", "a", strings.Repeat("b", 1<<16-4)), of("T", "a", strings.Repeat("b", 1<<16-4))), ""},
	{"128 KiB and a byte", []string{"S", strings.Repeat(",", 128<<10)}, all(of("S")), at(0, 1, long)},
	{"too long, then short", []string{strings.Repeat(",", 128<<10+1), "S"}, nil, at(0, 0, long)},
}

// pairs are the names and values of n parameters, numbered what a server sends.
func pairs(n int) []string {
	var l []string
	for i := range n {
		l = append(l, fmt.Sprint("p", i), fmt.Sprint(i))
	}
	return l
}

func numbered(n int) string {
	var l []string
	for i := range n {
		l = append(l, fmt.Sprintf("p%d=%d", i, i))
	}
	return strings.Join(l, ",")
}

func TestParse(t *testing.T) {
	for _, tt := range parse {
		t.Run(tt.name, func(t *testing.T) {
			got, err := challenge.Parse(tt.values)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("challenges (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// RFC 9110 section 11.2. What stands between is not within a token, so that it can
// be a token68 only.
func TestToken68(t *testing.T) {
	const octets = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	for c := range 0x100 {
		value := "/" + string([]byte{byte(c)}) + "/"
		got, err := challenge.Parse([]string{"N " + value})
		if ok := cmp.Equal(all(token68("N", value)), got); ok != (strings.IndexByte(octets, byte(c)) >= 0) || ok && err != nil {
			t.Errorf("%#x: %v, %v", c, got, err)
		}
	}
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

var parseParams = []struct {
	name   string
	values []string
	want   []challenge.Param
	err    string
}{
	{"nothing", nil, nil, ""},
	{"empty", []string{"", " ,\t"}, nil, ""},
	{
		"RFC 7616 section 3.5",
		[]string{`nextnonce="47364c23432d2e131a5fb210812c", qop=auth, rspauth="6629fae49393a05397450978507c4ef1", cnonce="0a4f113b", nc=00000001`},
		list("nextnonce", "47364c23432d2e131a5fb210812c", "qop", "auth", "rspauth", "6629fae49393a05397450978507c4ef1", "cnonce", "0a4f113b", "nc", "00000001"),
		"",
	},
	{"two values", []string{"a=b", ",c = \"d\\\"\" ,,", ""}, list("a", "b", "c", `d"`), ""},
	{"empty quoted", []string{`a=""`}, list("a", ""), ""},
	{"spelling", []string{"NextNonce=X"}, list("NextNonce", "X"), ""},
	{"scheme", []string{"Digest a=b"}, nil, at(0, 7, junk)},
	{"name alone", []string{"a=b, c"}, nil, at(0, 6, junk)},
	{"name and comma", []string{"a,b=c"}, nil, at(0, 1, junk)},
	{"no name", []string{"=b"}, nil, at(0, 0, junk)},
	{"junk", []string{"a=b", "?"}, nil, at(1, 0, junk)},
	{"no value", []string{"a="}, nil, at(0, 2, noValue)},
	{"no end", []string{"a=b", `c="`}, nil, at(1, 3, unquoted)},
	{"control", []string{"a=\"\x1f\""}, nil, at(0, 5, control)},
	{"no comma", []string{"a=b c=d"}, nil, at(0, 4, afterValue)},
	{"duplicate", []string{"a=b, A=b"}, nil, at(0, 8, duplicate)},
	{"duplicate in two values", []string{"a=b", "a=b"}, nil, at(1, 3, duplicate)},
	{"64", []string{numbered(64)}, list(pairs(64)...), ""},
	{"65", []string{numbered(64), "x=y"}, nil, at(1, 3, manyParams)},
	{"128 KiB", []string{strings.Repeat(",", 128<<10-3), "a=b"}, list("a", "b"), ""},
	{"128 KiB and a byte", []string{"a=b", strings.Repeat(",", 128<<10-2)}, nil, at(0, 3, long)},
}

func TestParseParams(t *testing.T) {
	for _, tt := range parseParams {
		t.Run(tt.name, func(t *testing.T) {
			got, err := challenge.ParseParams(tt.values)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
