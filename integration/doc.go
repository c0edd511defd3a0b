// Package integration tests authtrip against authorization servers that
// others have written, over real connections. It is a module of its own, so
// that what those servers need never reaches the library's go.sum.
package integration
