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
	"digest", "once", "short", "counted", // Apache
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

// htdigest has lines for each user and realm. lighttpd tells hash functions apart
// by the length of a hash, so that there can be one of 256 bits in each realm. It
// finds hashed user names in a last column, which Apache does not know.
func htdigest() string {
	var b strings.Builder
	for _, realm := range realms {
		for _, u := range Users {
			strong := sha256.New
			if realm == "sha512" {
				strong = sha512.New512_256
			}
			for _, h := range []func() hash.Hash{md5.New, strong} {
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

// htdigestSquid has the one realm of Squid.
func htdigestSquid() string {
	var b strings.Builder
	for _, u := range Users {
		fmt.Fprintf(&b, "%s:squid:%s\n", u.Name, sum(md5.New(), u.Name, "squid", u.Password))
	}
	return b.String()
}

// sum returns the hash of parts joined by colons, in hexadecimal.
func sum(h hash.Hash, parts ...string) string {
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}
