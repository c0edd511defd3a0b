package webserver

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed django_site.py
var django string

// python is the one that Debian's packages are for, whatever PATH has.
const python = "/usr/bin/python3"

// Django starts a site made with Django, that the first of the Users can sign in
// to:
//
//	/login/   GET sets the CSRF cookie, POST takes username and password
//	/items/   answers with what was posted, to those who have signed in
//	/end/     ends all sessions
//	/stats/   counts, in JSON
//
// A session ends after lifetime, in whole seconds: Django cuts off what is over
// for the cookie, which would end before its session.
func Django(tb testing.TB, lifetime time.Duration) *Server {
	tb.Helper()
	if err := exec.Command(python, "-c", "import django").Run(); err != nil {
		missing(tb, "Django")
	}
	return start(tb, python, func(s *site) []string {
		s.write("django_site.py", django)
		_ = os.Remove(filepath.Join(s.Dir, "django.sqlite")) // of a try before
		return []string{
			filepath.Join(s.Dir, "django_site.py"),
			fmt.Sprint(s.Port), fmt.Sprint(int(lifetime.Seconds())), Users[0].Name, Users[0].Password,
		}
	})
}
