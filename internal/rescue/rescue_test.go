package rescue_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/rescue"
)

type value string

// call is what a decorator does around a caller's function.
func call(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = rescue.Error("a Source", v)
		}
	}()
	f()
	return nil
}

func here(skip int) string {
	_, file, line, _ := runtime.Caller(skip + 1)
	return fmt.Sprintf("%s:%d", file[strings.LastIndexByte(file, '/')+1:], line)
}

func TestErrorSaysWhereNotWhat(t *testing.T) {
	var where string
	write := func(m map[string]int) { where = here(0); m["secret"] = 1 }
	tests := []struct {
		name string
		f    func()
		want string // the end of the error
	}{
		{"string", func() { where = here(0); panic("secret") }, "with a value of type string"},
		{"own type", func() { where = here(0); panic(value("secret")) }, "with a value of type rescue_test.value"},
		{"error", func() { where = here(0); panic(errors.New("secret")) }, "with a value of type *errors.errorString"},
		{"runtime", func() { where = here(0); _ = []int{}[len(where)] }, "index out of range"},
		{"nil map", func() { write(nil) }, "assignment to entry in nil map"},
		{"nil", func() { where = here(0); panic(nil) }, "panic called with nil argument"},
		{"deeper", func() { func() { where = here(0); panic("secret") }() }, "with a value of type string"},
		{"while panicking", func() { defer func() { where = here(0); panic(1) }(); panic("secret") }, "with a value of type int"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, f := range map[string]func(func()) error{
				"Error": call,
				"Do":    func(f func()) error { return rescue.Do("a Source", func() error { f(); return nil }) },
			} {
				err := f(tt.f)
				if err == nil {
					t.Fatalf("%s: no error", how)
				}
				got := err.Error()
				if !strings.HasPrefix(got, "a Source panicked at "+where+" ") && !strings.HasPrefix(got, "a Source panicked at "+where+": ") {
					t.Errorf("%s: %q does not begin by where it was, %s", how, got, where)
				}
				if !strings.Contains(got, tt.want) || strings.Contains(got, "secret") {
					t.Errorf("%s: %q, want %q and no secret", how, got, tt.want)
				}
			}
		})
	}
}

func TestErrorWrapsTheRuntimes(t *testing.T) {
	err := call(func() { var p *value; _ = *p })
	if _, ok := errors.AsType[runtime.Error](err); !ok {
		t.Errorf("%v does not wrap a runtime.Error", err)
	}
}

func TestErrorWithoutAPanic(t *testing.T) {
	if err := rescue.Error("a Source", "secret"); !strings.Contains(err.Error(), "unknown place") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestDo(t *testing.T) {
	errOwn := errors.New("own")
	if err := rescue.Do("what", func() error { return nil }); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := rescue.Do("what", func() error { return errOwn }); err != errOwn { //nolint:errorlint // the very same
		t.Errorf("got %v, want f's own error", err)
	}
	// As t.FailNow does, in a fake.
	err := rescue.Do("what", func() error { runtime.Goexit(); return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "what ") {
		t.Errorf("after Goexit got %v, want an error that names what", err)
	}
}
