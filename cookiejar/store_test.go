package cookiejar_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

func names(j *cookiejar.Jar) string {
	var all []string
	for c := range j.All() {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestEvictionOfADomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, told := loud(t, cookiejar.Options{MaxPerDomain: 4})
		u := parseURL(t, "https://example.com/")
		// Paths keep them from being used together.
		for _, s := range []string{"secure1=; Secure; Path=/1", "plain1=; Path=/2", "expiring=; Secure; Max-Age=1; Path=/3", "plain2=; Path=/4"} {
			time.Sleep(time.Millisecond)
			j.Receive(u, []string{s})
		}
		told()
		time.Sleep(time.Second)
		j.Receive(u, []string{"new1=; Secure"})
		if diff := cmp.Diff([]string{"set new1=", "removed expiring=: expired"}, told()); diff != "" {
			t.Errorf("what has expired goes first (-want +got):\n%s", diff)
		}
		j.Header(parseURL(t, "https://example.com/2")) // uses plain1
		time.Sleep(time.Millisecond)
		j.Receive(u, []string{"new2=; Secure"})
		if diff := cmp.Diff([]string{"set new2=", "removed plain2=: evicted"}, told()); diff != "" {
			t.Errorf("then what is not Secure and was not used for long (-want +got):\n%s", diff)
		}
		j.Receive(u, []string{"new3=; Secure"})
		told()
		j.Header(parseURL(t, "https://example.com/1")) // uses all but none that is not at /
		time.Sleep(time.Millisecond)
		j.Receive(u, []string{"plain3="})
		if diff := cmp.Diff([]string{"set plain3=", "removed plain3=: evicted"}, told()); diff != "" {
			t.Errorf("what is not Secure drives out nothing that is (-want +got):\n%s", diff)
		}
		j.Receive(parseURL(t, "https://www.example.com/"), []string{"other=; Secure"})
		if diff := cmp.Diff([]string{"set other="}, told()); diff != "" {
			t.Errorf("another domain has its own (-want +got):\n%s", diff)
		}
		j.Receive(u, []string{"new4=; Secure; Path=/9"})
		if diff := cmp.Diff([]string{"set new4=", "removed secure1=: evicted"}, told()); diff != "" {
			t.Errorf("last, the least used, or else the oldest (-want +got):\n%s", diff)
		}
	})
}

func TestEvictionOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, told := loud(t, cookiejar.Options{Max: 3})
		at := func(n int) string { return fmt.Sprintf("https://host%d.example/", n) }
		for n := range 3 {
			time.Sleep(time.Millisecond)
			age := ""
			if n == 2 {
				age = "; Max-Age=1"
			}
			j.Receive(parseURL(t, at(n)), []string{fmt.Sprint("c", n, "=", age)})
		}
		time.Sleep(time.Second)
		j.Header(parseURL(t, at(0)))
		told()
		j.Receive(parseURL(t, at(3)), []string{"c3="})
		if diff := cmp.Diff([]string{"set c3=", "removed c2=: expired"}, told()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(time.Millisecond)
		j.Receive(parseURL(t, at(4)), []string{"c4="})
		if diff := cmp.Diff([]string{"set c4=", "removed c1=: evicted"}, told()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// What a hostile server sends is bounded in what it takes.
func TestFlood(t *testing.T) {
	for _, tt := range []struct {
		name    string
		receive func(*cookiejar.Jar)
		want    int
	}{
		{"3,001 fields", func(j *cookiejar.Jar) {
			var fields []string
			for i := range 3001 {
				fields = append(fields, fmt.Sprintf("c%d=%d", i, i))
			}
			j.Receive(parseURL(t, "https://example.com/"), fields)
		}, 180},
		{"20,000 from one host", func(j *cookiejar.Jar) {
			for i := range 20_000 {
				j.Receive(parseURL(t, "https://example.com/"), []string{fmt.Sprintf("c%d=%d", i, i)})
			}
		}, 180},
		{"3,300 from as many hosts", func(j *cookiejar.Jar) {
			for i := range 3300 {
				j.Receive(parseURL(t, fmt.Sprintf("https://host%d.example.com/", i)), []string{"c="})
			}
		}, 3000},
		{"of 100 kB", func(j *cookiejar.Jar) {
			j.Receive(parseURL(t, "https://example.com/"), []string{"c=" + strings.Repeat("x", 100_000)})
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJar(t, nil)
			tt.receive(j)
			n := 0
			for range j.All() {
				n++
			}
			if n != tt.want {
				t.Errorf("%d cookies, want %d", n, tt.want)
			}
		})
	}
}

func TestMaxHeader(t *testing.T) {
	j := newJar(t, &cookiejar.Options{MaxHeader: 20})
	u := parseURL(t, "https://example.com/")
	j.Receive(u, []string{"a=12345678", "b=123456789", "c=123456"})
	if got, want := j.Header(u), "a=12345678; c=123456"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	j = newJar(t, nil)
	for i := range 100 {
		j.Receive(u, []string{fmt.Sprint(i, "=", strings.Repeat("x", 4000))})
	}
	if n := len(j.Header(u)); n > 64<<10 || n < 60<<10 {
		t.Errorf("%d octets", n)
	}
}

func TestDelete(t *testing.T) {
	j, told := loud(t, cookiejar.Options{})
	u := parseURL(t, "https://www.example.com/")
	j.Receive(u, []string{"a=1", "a=2; Domain=example.com", "b=3"})
	told()
	for c := range j.For(u) {
		if c.Name == "a" && !j.Delete(c) {
			t.Errorf("%v was not there", c)
		}
	}
	if got := j.Header(u); got != "b=3" {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"removed a=1: deleted", "removed a=2: deleted"}, told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if j.Delete(cookiejar.Cookie{Name: "a", Domain: "www.example.com", Path: "/"}) {
		t.Error("a cookie that has gone was deleted")
	}
}

func TestClear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		clear func(*cookiejar.Jar)
		want  string
	}{
		{"Clear", (*cookiejar.Jar).Clear, ""},
		{"ClearSession", (*cookiejar.Jar).ClearSession, "lasting"},
		{"ClearHost", func(j *cookiejar.Jar) { j.ClearHost("b.example.com") }, "host lasting v6"},
		{"ClearHost with a port", func(j *cookiejar.Jar) { j.ClearHost("B.example.com.:443") }, "host lasting v6"},
		{"ClearHost of an address", func(j *cookiejar.Jar) { j.ClearHost("2001:db8::1") }, "below host lasting"},
		{"ClearHost of one in brackets", func(j *cookiejar.Jar) { j.ClearHost("[2001:DB8::1]") }, "below host lasting"},
		{"ClearHost of one that ends alike", func(j *cookiejar.Jar) { j.ClearHost("ample.com") }, "below host lasting v6"},
		{"ClearHost of nothing", func(j *cookiejar.Jar) { j.ClearHost("") }, "below host lasting v6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, told := loud(t, cookiejar.Options{})
			j.Receive(parseURL(t, "https://example.com/"), []string{"host=", "lasting=; Max-Age=60"})
			j.Receive(parseURL(t, "https://a.b.example.com/"), []string{"below="})
			j.Receive(parseURL(t, "https://[2001:db8::1]/"), []string{"v6="})
			told()
			tt.clear(j)
			if got := names(j); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, line := range told() {
				if !strings.HasSuffix(line, string(cookiejar.ReasonCleared)) {
					t.Errorf("told %q", line)
				}
			}
			// It is no ban.
			j.Receive(parseURL(t, "https://example.com/"), []string{"new="})
			if got := names(j); !strings.Contains(got, "new") {
				t.Errorf("got %q after another response", got)
			}
		})
	}
}

func TestLookingIsNotUsing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJar(t, nil)
		u := parseURL(t, "https://example.com/")
		j.Receive(u, []string{"a=1"})
		start := time.Now()
		time.Sleep(time.Second)
		for range j.For(u) {
		}
		for range j.All() {
			break
		}
		if c, ok := j.Get(u, "a"); !ok || !c.Accessed.Equal(start) {
			t.Errorf("accessed %v, set %v", c.Accessed, start)
		}
		j.Header(u)
		if c, _ := j.Get(u, "a"); !c.Accessed.Equal(time.Now()) {
			t.Errorf("accessed %v, used %v", c.Accessed, time.Now())
		}
		if _, ok := j.Get(u, "b"); ok {
			t.Error("there is no b")
		}
		if _, ok := j.Get(parseURL(t, "ftp://example.com/"), "a"); ok {
			t.Error("no cookies are for ftp")
		}
	})
}

// OnEvent may use the jar, and may panic.
func TestOnEvent(t *testing.T) {
	var j *cookiejar.Jar
	u := parseURL(t, "https://example.com/")
	seen := ""
	j = newJar(t, &cookiejar.Options{OnEvent: func(e cookiejar.Event) {
		seen = j.Header(u)
		if e.Host != "example.com" || e.Reason != "" {
			t.Errorf("got %v", e)
		}
		panic("in OnEvent")
	}})
	j.Receive(u, []string{"a=1"})
	if seen != "a=1" {
		t.Errorf("it has seen %q", seen)
	}
}

func TestConcurrentUse(t *testing.T) {
	j := newJar(t, &cookiejar.Options{MaxPerDomain: 10, Max: 50, OnEvent: func(cookiejar.Event) {}})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				u := parseURL(t, fmt.Sprintf("https://host%d.example.com/", (g+i)%9))
				j.Receive(u, []string{fmt.Sprintf("c%d=%d; Domain=example.com", i%15, i), fmt.Sprintf("d%d=", i%20)})
				j.Header(u)
				switch i % 50 {
				case 7:
					j.ClearHost(u.Host)
				case 23:
					for c := range j.All() {
						j.Delete(c)
						break
					}
				case 49:
					j.ClearSession()
				}
			}
		})
	}
	all.Wait()
	n := 0
	for range j.All() {
		n++
	}
	if n > 50 {
		t.Errorf("%d cookies", n)
	}
}
