// Package cookiejar keeps cookies, and the sessions that servers keep in them,
// as RFC 6265bis has it.
//
// It has the name of net/http/cookiejar and its [New], [Options] and
// [PublicSuffixList], so that one import is changed for the other:
//
//	import "github.com/authtrip/authtrip/cookiejar"
//
//	jar, err := cookiejar.New(nil)
//	client := &http.Client{Jar: jar}
//
// Where both are needed, the other one is called by another name, such as stdjar.
// What this [Jar] adds: today's rules for cookies, with the public suffix list on
// by default; a look at every cookie and what becomes of it; persistence, by
// [OpenFile], in JSON and as cookies.txt; and bounds on what servers can fill it
// with.
//
// # Sessions at the transport
//
// Libraries that take an http.Client or a RoundTripper often leave no way to set a
// jar. The decorators of this package work below any client, on every hop of a
// redirect:
//
//	cookies := &cookiejar.Transport{Jar: jar}
//	xsrf := &cookiejar.XSRF{}
//	login := &cookiejar.Login{Login: func(ctx context.Context, client *http.Client) error { ... }}
//	client := transport.Client(nil, login.Wrap, cookies.Wrap, xsrf.Wrap)
//
// [Transport] sends and stores the cookies, [XSRF] repeats one of them in a header
// field, and [Login] signs in again, once for all requests, when the session has
// ended.
//
// # What a Jar rejects
//
// Options.OnEvent is told of each cookie that did not get in, with a [Reason] that
// names the section of RFC 6265bis.
package cookiejar
