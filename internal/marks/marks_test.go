package marks_test

import (
	"context"
	"testing"

	"github.com/authtrip/authtrip/internal/marks"
)

type owner struct{ _ int }

func TestMarks(t *testing.T) {
	a, b := new(owner), new(owner)
	type key struct{}
	none := context.WithValue(t.Context(), key{}, a)
	off := marks.WithoutCredentials(none)
	renewing := func(ctx context.Context, o any) context.Context {
		ctx, _ = marks.WithRenewal(ctx, o)
		return ctx
	}
	renewal := renewing(none, a)
	ended, end := marks.WithRenewal(renewing(none, b), a)
	end()
	tests := []struct {
		name          string
		ctx           context.Context
		off, ofA, ofB bool
	}{
		{"none", none, false, false, false},
		{"off", off, true, false, false},
		{"renewal", renewal, false, true, false},
		{"off within a renewal", marks.WithoutCredentials(renewal), true, true, false},
		{"renewal within off", renewing(off, a), false, true, false},
		{"ended renewal within another's", ended, false, false, true},
		{"renewal within another's", renewing(renewal, b), false, true, true},
		{"below", context.WithValue(context.WithoutCancel(renewal), key{}, b), false, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := marks.Of(tt.ctx)
			if m.Renewing() != (tt.ofA || tt.ofB) {
				t.Errorf("Renewing is %v", m.Renewing())
			}
			if m.Off() != tt.off || m.Renewal(a) != tt.ofA || m.Renewal(b) != tt.ofB {
				t.Errorf("got %v, %v, %v, want %v, %v, %v", m.Off(), m.Renewal(a), m.Renewal(b), tt.off, tt.ofA, tt.ofB)
			}
		})
	}
	if marks.Of(none) != nil {
		t.Error("a context without marks has some")
	}
}

// Sources may be of any type, functions and nil included.
func TestRenewalOfUncomparable(t *testing.T) {
	ctx, _ := marks.WithRenewal(marks.WithoutCredentials(t.Context()), new(owner))
	m := marks.Of(ctx)
	for _, o := range []any{nil, func() {}, []int{1}, map[int]int{}, struct{ f func() }{}} {
		if m.Renewal(o) {
			t.Errorf("a %T has a renewal", o)
		}
	}
}

// That there are newer cookies says nothing of the other marks.
func TestNewCookies(t *testing.T) {
	a := new(owner)
	renewal, _ := marks.WithRenewal(t.Context(), a)
	for _, tt := range []struct {
		name         string
		ctx          context.Context
		off, renewal bool
	}{
		{"alone", t.Context(), false, false},
		{"within off", marks.WithoutCredentials(t.Context()), true, false},
		{"within a renewal", renewal, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if marks.Of(tt.ctx).NewCookies() {
				t.Error("there are new cookies before")
			}
			for _, ctx := range []context.Context{
				marks.WithNewCookies(tt.ctx), marks.WithNewCookies(marks.WithNewCookies(tt.ctx)),
			} {
				if m := marks.Of(ctx); !m.NewCookies() || m.Off() != tt.off || m.Renewal(a) != tt.renewal {
					t.Errorf("got %v, off %v, renewal %v", m.NewCookies(), m.Off(), m.Renewal(a))
				}
			}
		})
	}
	if m := marks.Of(marks.WithoutCredentials(marks.WithNewCookies(t.Context()))); !m.Off() || !m.NewCookies() {
		t.Error("a later mark hides an older one")
	}
}

func TestJoin(t *testing.T) {
	none, a := t.Context(), new(owner)
	off := marks.WithoutCredentials(none)
	renewal, _ := marks.WithRenewal(none, a)
	if !marks.Of(marks.Join(none, renewal)).Renewal(a) {
		t.Error("the marks are not taken over")
	}
	if m := marks.Of(marks.Join(off, renewal)); !m.Off() || m.Renewal(a) {
		t.Error("marks of its own are replaced")
	}
	if marks.Join(none, none) != none {
		t.Error("there is another context, with nothing to join")
	}
}
