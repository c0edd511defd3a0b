// Package rescue turns a panic in a caller's function into an error.
package rescue

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// Error describes a panic with value v in what, for use in a deferred function
// that has just recovered v. It says where the panic began and, unless the
// runtime raised it, only the type of v: a panic value may well hold the
// credential at hand.
func Error(what string, v any) error {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	where := "an unknown place"
	for panicking := false; ; {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if panicking && !inRuntime {
			where = fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
			break
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			break
		}
	}
	if err, ok := v.(runtime.Error); ok {
		return fmt.Errorf("%s panicked at %s: %w", what, where, err)
	}
	return fmt.Errorf("%s panicked at %s with a value of type %T", what, where, v)
}

var errExited = errors.New("ended its goroutine")

// Do calls f and reports a panic in it, or its end by runtime.Goexit, as an
// error that names what. f runs in a goroutine of its own, so that the caller
// goes on in either case.
func Do(what string, f func() error) error {
	err := fmt.Errorf("%s %w", what, errExited)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = Error(what, v)
			}
		}()
		err = f()
	}()
	<-done
	return err
}
