package apikey

import (
	"errors"
	"slices"
	"strings"
)

// conceal returns err with its text rid of the secrets, if any error in its
// tree tells one: a Base may have errors that repeat the URL it was given.
func conceal(err error, secrets []string) error {
	causes, all := silent(err, secrets)
	if all {
		return err
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return &concealed{
		text:    replace(err.Error(), secrets, "[redacted]"),
		causes:  causes,
		timeout: ok && timeout.Timeout(),
	}
}

// silent returns the largest parts of err's tree that tell none of the secrets,
// and whether that is all of it.
func silent(err error, secrets []string) (parts []error, all bool) {
	text := err.Error()
	all = !slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
	for _, inner := range wrapped(err) {
		below, allBelow := silent(inner, secrets)
		parts = append(parts, below...)
		all = all && allBelow
	}
	if all {
		return []error{err}, true
	}
	return parts, false
}

// wrapped returns what err wraps directly.
func wrapped(err error) []error {
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if inner := err.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return err.Unwrap()
	}
	return nil
}

// A concealed is an error that prints without the key. It wraps what in the
// tree does not tell it.
type concealed struct {
	text    string
	causes  []error
	timeout bool
}

func (e *concealed) Error() string   { return e.text }
func (e *concealed) Unwrap() []error { return e.causes }

// Timeout reports whether the cause was a timeout; url.Error asks.
func (e *concealed) Timeout() bool { return e.timeout }
