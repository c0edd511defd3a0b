package webserver

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// realms are those of Digest, at any of the servers.
var realms = []string{
	"digest", "rfc2069", "once", "short", "counted", // Apache
	"md5", "sha256", "sha512", "many", "hashed", // lighttpd
}

// htpasswd has a user a line with the password's SHA-1. That is weak, as the
// many requests of a test want it.
func htpasswd() string {
	var b strings.Builder
	for _, u := range Users {
		sum := sha1.Sum([]byte(u.Password))
		fmt.Fprintf(&b, "%s:{SHA}%s\n", u.Name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return b.String()
}

// htpasswdMD5 has the password's MD5, which Squid's helper has instead of SHA-1.
func htpasswdMD5() string {
	var b strings.Builder
	for _, u := range Users {
		fmt.Fprintf(&b, "%s:%x\n", u.Name, md5.Sum([]byte(u.Password)))
	}
	return b.String()
}

// htdigest has a line for each user, realm and hash function. A reader that
// knows MD5 alone has to find that first. lighttpd finds a hashed user name in
// the last column, which Apache takes for part of the hash; so it is there in
// one realm only.
func htdigest() string {
	var b strings.Builder
	for _, realm := range realms {
		for _, u := range Users {
			for _, h := range []func() hash.Hash{md5.New, sha256.New, sha512.New512_256} {
				fmt.Fprintf(&b, "%s:%s:%s", u.Name, realm, sum(h(), u.Name, realm, u.Password))
				if realm == "hashed" {
					fmt.Fprintf(&b, ":%s", sum(h(), u.Name, realm))
				}
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// htdigestSquid has the realm of the proxy.
func htdigestSquid() string {
	var b strings.Builder
	for _, u := range Users {
		fmt.Fprintf(&b, "%s:proxy:%s\n", u.Name, sum(md5.New(), u.Name, "proxy", u.Password))
	}
	return b.String()
}

// sum returns the hash of parts joined by colons, in hexadecimal.
func sum(h hash.Hash, parts ...string) string {
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}
