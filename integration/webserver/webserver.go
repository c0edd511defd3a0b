// Package webserver runs the web servers and proxies that clients meet inside a
// test: Apache httpd, nginx, lighttpd, Squid and Django, as Debian packages them. Each is
// started on a free port of loopback with a configuration of its own in a
// directory of its own, and is gone with the test; nothing of the packages'
// configuration or services is used.
//
// Behind a web server is a [Backend], which answers with what has reached it.
//
// A server that is not installed is a reason to skip the test. With
// AUTHTRIP_SERVERS=required in the environment it is a failure.
package webserver

import (
	"bytes"
	"embed"
	"fmt"
	"path/filepath"
	"testing"
	"text/template"
)

// A User is somebody the servers know.
type User struct{ Name, Password string }

// Users are all whom the servers know. The first can be written in ASCII.
var Users = []User{
	{"Mufasa", "Circle of Life"},
	{"Jäsøn Doe", "Secret, or not?"},
	{"王小明", `пароль "\ :`},
}

// APIKey is the key that nginx lets in.
const APIKey = "k3y-0123456789abcdef"

// A Server is a running web server.
type Server struct {
	Name string // of the program
	URL  string // http://127.0.0.1:port

	dir string
}

// Apache starts Apache httpd before b. These paths ask for credentials, each in
// a realm of that name:
//
//	/basic/    Basic
//	/digest/   Digest with MD5
//	/once/     Digest with nonces that are good for one request
//	/short/    Digest with nonces that live for one second
//	/counted/  Digest where nc must go up
//	/form/     a session of mod_auth_form, which ends when it was not used for two seconds
//
// A POST of httpd_username and httpd_password to /sign-in begins such a session.
//
// Below /reflected the same paths are not b's: what is posted there comes back
// as it is, and with it what does not go with b's answers, Authentication-Info
// and in challenges the domain. That of /reflected/digest/ is the two paths of
// that name.
func Apache(tb testing.TB, b *Backend) *Server {
	tb.Helper()
	return web(tb, "apache2", b, "-DFOREGROUND", "-f")
}

// Lighttpd starts lighttpd before b. These paths ask for credentials, each in a
// realm of that name:
//
//	/basic/   Basic
//	/md5/     Digest with MD5
//	/sha256/  Digest with SHA-256
//	/sha512/  Digest with SHA-512/256
//	/many/    Digest with SHA-256 or MD5
//	/hashed/  Digest with SHA-256 and hashed user names
func Lighttpd(tb testing.TB, b *Backend) *Server {
	tb.Helper()
	return web(tb, "lighttpd", b, "-D", "-f")
}

// Nginx starts nginx before b. These paths ask for credentials:
//
//	/basic/   Basic
//	/header/  APIKey in the field X-API-Key
//	/query/   APIKey in the query's parameter api_key
//	/cookie/  APIKey in the cookie api_key
//	/moved/   APIKey in the query; redirects to the same below /query, with the query
func Nginx(tb testing.TB, b *Backend) *Server {
	tb.Helper()
	return web(tb, "nginx", b, "-c")
}

// Squid starts a forward proxy for everything, http and CONNECT alike, that asks
// for credentials in the given schemes: "basic", "digest" or both.
func Squid(tb testing.TB, schemes ...string) *Server {
	tb.Helper()
	return squid(tb, 0, schemes)
}

// SquidServer starts Squid as a web server before b, that asks for credentials
// in all of the given schemes, for any path.
func SquidServer(tb testing.TB, b *Backend, schemes ...string) *Server {
	tb.Helper()
	return squid(tb, b.port, schemes)
}

func squid(tb testing.TB, backend int, schemes []string) *Server {
	tb.Helper()
	return start(tb, "squid", func(s *site) []string {
		s.Backend, s.Schemes = backend, schemes
		// -n names the shared memory, which several must not have in common.
		return s.configure("-N", "-n", fmt.Sprint("webserver", s.Port), "-f")
	})
}

// web starts a web server; args are its arguments, the configuration's path the
// last.
func web(tb testing.TB, name string, b *Backend, args ...string) *Server {
	tb.Helper()
	return start(tb, name, func(s *site) []string {
		s.Backend = b.port
		return s.configure(args...)
	})
}

//go:embed *.conf
var configurations embed.FS

var templates = template.Must(template.ParseFS(configurations, "*.conf"))

// A site is what a configuration is made from.
type site struct {
	tb      testing.TB
	name    string
	Dir     string
	Port    int
	Backend int      // its port
	Schemes []string // Squid's
	APIKey  string
}

// configure writes the configuration with what it refers to, and returns args
// with its path.
func (s *site) configure(args ...string) []string {
	s.tb.Helper()
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, s.name+".conf", s); err != nil {
		s.tb.Fatal(err)
	}
	s.write("htpasswd", htpasswd())
	s.write("htpasswd.md5", htpasswdMD5())
	s.write("htdigest", htdigest())
	s.write("htdigest.squid", htdigestSquid())
	s.write(s.name+".conf", b.String())
	return append(args, filepath.Join(s.Dir, s.name+".conf"))
}
