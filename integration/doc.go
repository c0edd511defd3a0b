// Package integration tests authtrip against authorization servers, web servers
// and a proxy that others have written, over real connections. It is a module of
// its own, so that what those need never reaches the library's go.sum.
//
// Web servers that are not installed are skipped, or with
// AUTHTRIP_SERVERS=required in the environment are a failure. On Debian:
//
//	apt-get install apache2-bin lighttpd nginx squid python3-django curl
package integration
