package digest

import (
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// An algorithm is one of the hash functions of RFC 7616 section 6.1, by
// strength.
type algorithm int

const (
	unknown algorithm = iota
	md5sum
	sha256sum
	sha512sum // SHA-512/256
)

// algorithmOf reads the algorithm parameter. Without one it is MD5.
func algorithmOf(name string) (a algorithm, session bool) {
	if !isASCII(name) {
		return unknown, false // letters exist that fold to ASCII's
	}
	if len(name) > len("-sess") && strings.EqualFold(name[len(name)-len("-sess"):], "-sess") {
		name, session = name[:len(name)-len("-sess")], true
	}
	switch {
	case name == "", strings.EqualFold(name, "MD5"):
		if fips140.Enforced() {
			return unknown, false // md5 would panic
		}
		return md5sum, session
	case strings.EqualFold(name, "SHA-256"):
		return sha256sum, session
	case strings.EqualFold(name, "SHA-512-256"):
		return sha512sum, session
	}
	return unknown, false
}

// append appends the hash of data to b, in hexadecimal.
func (a algorithm) append(b, data []byte) []byte {
	switch a {
	case md5sum:
		sum := md5.Sum(data)
		return hex.AppendEncode(b, sum[:])
	case sha256sum:
		sum := sha256.Sum256(data)
		return hex.AppendEncode(b, sum[:])
	default:
		sum := sha512.Sum512_256(data)
		return hex.AppendEncode(b, sum[:])
	}
}

// sum returns the hash of data, in hexadecimal.
func (a algorithm) sum(data string) string { return string(a.append(nil, []byte(data))) }

func (a algorithm) new() hash.Hash {
	switch a {
	case md5sum:
		return md5.New()
	case sha256sum:
		return sha256.New()
	default:
		return sha512.New512_256()
	}
}
