package cookiejar_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEncodeNetscape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := filled(t)
		var text bytes.Buffer
		if err := j.EncodeNetscape(&text); err == nil || !strings.Contains(err.Error(), `"tab"`) || strings.Contains(err.Error(), "a\tb") {
			t.Errorf("got error %v", err)
		}
		want := `# Netscape HTTP Cookie File

127.0.0.1	FALSE	/	FALSE	0	v4	
2001:db8::1	FALSE	/	FALSE	0	v6	
#HttpOnly_.example.com	TRUE	/	TRUE	0	domain	2
www.example.com	FALSE	/dir	FALSE	0	session	1
www.example.com	FALSE	/dir	FALSE	946684860	lasting	a b
www.example.com	FALSE	/dir	FALSE	0		nameless
www.example.com	FALSE	/dir	FALSE	0	lax	
www.example.com	FALSE	/dir	FALSE	0	strict	
` + "www.example.com\tFALSE\t/dir\tFALSE\t0\t\xff\t\xfe\\\"<>&" + `
www.example.com	FALSE	/	TRUE	0	__Host-x	3
`
		if diff := cmp.Diff(want, text.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		again := newJar(t, nil)
		if err := again.DecodeNetscape(&text); err != nil {
			t.Fatal(err)
		}
		for _, c := range all(j) {
			if c.Name == "tab" && !j.Delete(c) {
				t.Errorf("%v is not there", c)
			}
		}
		if diff := cmp.Diff(all(j), all(again), cmpopts.IgnoreFields(cookiejar.Cookie{}, "SameSite", "Created", "Updated", "Accessed")); diff != "" {
			t.Errorf("(-encoded +decoded):\n%s", diff)
		}
	})
}

func TestDecodeNetscape(t *testing.T) {
	later := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	const title = "# Netscape HTTP Cookie File\n"
	for _, tt := range []struct {
		name, text string
		want       []string // Domain, Path, Name=Value and flags
		err        string
	}{
		{"nothing", "", nil, ""},
		{"comments", title + "# x\n\n#\tx\n   \n", nil, ""},
		{"one", title + "example.com\tFALSE\t/\tFALSE\t0\ta\tb\n", []string{"example.com / a=b host-only session"}, ""},
		{"no title, no end", "example.com\tFALSE\t/\tFALSE\t0\ta\tb", []string{"example.com / a=b host-only session"}, ""},
		{"a byte order mark", "\ufeff# HTTP Cookie File\nexample.com\tFALSE\t/\tFALSE\t0\ta\tb", []string{"example.com / a=b host-only session"}, ""},
		{"CRLF", title + "example.com\tFALSE\t/\tFALSE\t0\ta\tb\r\n", []string{"example.com / a=b host-only session"}, ""},
		{"a dot", ".Example.com\tTRUE\t/x\tTRUE\t" + later + "\ta\tb", []string{"example.com /x a=b secure"}, ""},
		{"a dot alone tells", ".example.com\tFALSE\t/\tFALSE\t0\ta\tb", []string{"example.com / a=b session"}, ""},
		{"TRUE alone tells", "example.com\ttrue\t/\tfalse\t0\ta\tb", []string{"example.com / a=b session"}, ""},
		{"HttpOnly", "#HttpOnly_example.com\tFALSE\t/\tFALSE\t0\ta\tb", []string{"example.com / a=b host-only http-only session"}, ""},
		{"no value", "example.com\tFALSE\t/\tFALSE\t0\ta\nexample.com\tFALSE\t/\tFALSE\t0\tb\t", []string{"example.com / a= host-only session", "example.com / b= host-only session"}, ""},
		{"a fraction", "example.com\tFALSE\t/\tFALSE\t" + later + ".5\ta\tb", []string{"example.com / a=b host-only"}, ""},
		{"no expiry", "example.com\tFALSE\t/\tFALSE\t\ta\tb", []string{"example.com / a=b host-only session"}, ""},
		{"a far one", "example.com\tFALSE\t/\tFALSE\t99999999999999999999\ta\tb", []string{"example.com / a=b host-only"}, ""},
		{"one that has passed", "example.com\tFALSE\t/\tFALSE\t1000\ta\tb", nil, ""},
		{"not from a server", "co.uk\tTRUE\t/\tFALSE\t0\ta\tb\nexample.com\tFALSE\t/\tFALSE\t0\t__Host-a\tb\n", nil, ""},
		{"lines that are none", "secret\nexample.com\tFALSE\t/\tFALSE\t0\ta\tb\nexample.com\tMAYBE\t/\tFALSE\t0\tc\td\n\tFALSE\t/\tFALSE\t0\te\tf\nexample.com\tFALSE\t/\tFALSE\tsoon\tg\th\n", []string{"example.com / a=b host-only session"}, "line(s) 1, 3, 4, 5"},
		{"another kind of file", strings.Repeat("secret\n", 100), nil, "line(s) 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."},
		{"a long line", title + strings.Repeat("x", 1<<20), nil, "reading line 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJar(t, nil)
			err := j.DecodeNetscape(strings.NewReader(tt.text))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.HasSuffix(strings.Split(err.Error(), " of a")[0], tt.err) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("got error %v", err)
			}
			var got []string
			for c := range j.All() {
				words := []string{c.Domain, c.Path, c.Name + "=" + c.Value}
				for _, flag := range []struct {
					name string
					is   bool
				}{{"host-only", c.HostOnly}, {"secure", c.Secure}, {"http-only", c.HttpOnly}, {"session", c.Expires.IsZero()}} {
					if flag.is {
						words = append(words, flag.name)
					}
				}
				got = append(got, strings.Join(words, " "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if err := newJar(t, nil).DecodeNetscape(iotest.ErrReader(errFull)); err == nil {
		t.Error("no error from a reader that fails")
	}
}
