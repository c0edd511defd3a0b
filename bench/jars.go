package main

import (
	"fmt"
	"net/http"
	stdjar "net/http/cookiejar"
	"net/url"

	"github.com/authtrip/authtrip/bench/internal/measure"
	"github.com/authtrip/authtrip/cookiejar"
	"golang.org/x/net/publicsuffix"
)

// filled has jar keep n cookies, ten for each site, and returns the sites.
func filled(jar http.CookieJar, n int) []*url.URL {
	var sites []*url.URL
	for i := range n {
		if i%10 == 0 {
			sites = append(sites, &url.URL{Scheme: "https", Host: fmt.Sprintf("www.site-%d.example.com", i/10), Path: "/a/b"})
		}
		u := sites[len(sites)-1]
		jar.SetCookies(u, []*http.Cookie{{Name: fmt.Sprint("name-", i%10), Value: "value", Path: "/"}})
	}
	return sites
}

func theirJar() http.CookieJar {
	jar, err := stdjar.New(&stdjar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		panic(err)
	}
	return jar
}

func ourJar() *cookiejar.Jar {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err)
	}
	return jar
}

// jarRows are: theirs, ours by the same interface, and ours as its own Transport
// uses it.
func jarRows(n int) (read, write []func() measure.Workload) {
	reading := func(jar http.CookieJar, read func(*url.URL) int) func() measure.Workload {
		sites := filled(jar, n)
		return func() measure.Workload {
			return func(times int) {
				for i := range times {
					if read(sites[i%len(sites)]) == 0 {
						panic("a jar has lost its cookies")
					}
				}
			}
		}
	}
	their, our := theirJar(), ourJar()
	read = []func() measure.Workload{
		reading(their, func(u *url.URL) int { return len(their.Cookies(u)) }),
		reading(our, func(u *url.URL) int { return len(our.Cookies(u)) }),
		reading(our, func(u *url.URL) int { return len(our.Header(u)) }),
	}
	writing := func(jar http.CookieJar) func() measure.Workload {
		sites := filled(jar, n)
		return func() measure.Workload {
			return func(times int) {
				for i := range times {
					jar.SetCookies(sites[i%len(sites)], []*http.Cookie{{Name: "name-3", Value: "another", Path: "/"}})
				}
			}
		}
	}
	return read, []func() measure.Workload{writing(theirJar()), writing(ourJar())}
}
