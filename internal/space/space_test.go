package space_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
	"github.com/google/go-cmp/cmp"
)

var (
	here  = origin.Origin{Scheme: "https", Host: "example.com", Port: "443"}
	plain = origin.Origin{Scheme: "http", Host: "example.com", Port: "80"}
	other = origin.Origin{Scheme: "https", Host: "example.com", Port: "8443"}
)

// A lesson is an argument list of Learn.
type lesson struct {
	origin origin.Origin
	realm  string
	paths  []string
}

func TestFind(t *testing.T) {
	tests := []struct {
		name    string
		lessons []lesson
		want    map[string]string // the realm by path on here
	}{
		{"nothing learned", nil, map[string]string{"/": "", "": ""}},
		{"no paths", []lesson{{here, "a", nil}}, map[string]string{"/": ""}},
		{"prefix", []lesson{{here, "a", []string{"/a"}}}, map[string]string{"/a": "a", "/ab": "a", "/a/b": "a", "/": "", "/A": "", "/b/a": ""}},
		{"empty prefix", []lesson{{here, "a", []string{""}}}, map[string]string{"/": "a", "*": "a", "": "a"}},
		{
			"the longest decides",
			[]lesson{{here, "a", []string{"/", "/b/c/"}}, {here, "b", []string{"/b/"}}},
			map[string]string{"/": "a", "/b/": "b", "/b/x": "b", "/b/c/x": "a", "/bx": "a"},
		},
		{
			"the longest decides, the other way round",
			[]lesson{{here, "b", []string{"/b/"}}, {here, "a", []string{"/b/c/", "/"}}},
			map[string]string{"/": "a", "/b/x": "b", "/b/c/x": "a"},
		},
		{"the latest of several", []lesson{{here, "a", []string{"/"}}, {here, "b", []string{"/"}}}, map[string]string{"/": "b"}},
		{
			"the latest lesson, not the latest realm",
			[]lesson{{here, "a", []string{"/"}}, {here, "b", []string{"/"}}, {here, "a", nil}},
			map[string]string{"/": "a"},
		},
		{
			"paths add up",
			[]lesson{{here, "a", []string{"/a/", "/b/"}}, {here, "a", []string{"/c/", "/a/"}}},
			map[string]string{"/a/": "a", "/b/": "a", "/c/": "a", "/": ""},
		},
		{"other origins", []lesson{{plain, "a", []string{"/"}}, {other, "b", []string{"/"}}}, map[string]string{"/": ""}},
		{
			"one realm on several origins",
			[]lesson{{here, "a", []string{"/a/"}}, {plain, "a", []string{"/b/"}}},
			map[string]string{"/a/": "a", "/b/": ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m space.Memory[string]
			for _, l := range tt.lessons {
				paths := slices.Clone(l.paths)
				*m.Learn(l.origin, l.realm, l.paths...) = l.realm
				if diff := cmp.Diff(paths, l.paths); diff != "" {
					t.Errorf("paths passed to Learn (-before +after):\n%s", diff)
				}
			}
			got := map[string]string{}
			for path := range tt.want {
				got[path] = ""
				if value := m.Find(here, path); value != nil {
					got[path] = *value
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("realm by path (-want +got):\n%s", diff)
			}
		})
	}
}

// A space keeps its value for as long as it is known, and no two share one.
func TestLearnReturnsTheSpacesOwnValue(t *testing.T) {
	var m space.Memory[int]
	a, b, c := m.Learn(here, "a", "/a"), m.Learn(here, "b", "/b"), m.Learn(other, "a", "/a")
	if a == b || a == c || b == c {
		t.Error("two spaces share a value")
	}
	if m.Learn(here, "a", "/c") != a || m.Find(here, "/a") != a || m.Find(here, "/c") != a || m.Find(here, "/b") != b || m.Find(other, "/a") != c {
		t.Error("a space has changed its value")
	}
}

func TestBounds(t *testing.T) {
	var m space.Memory[int]
	for i := range 200 {
		*m.Learn(here, fmt.Sprint("realm ", i), fmt.Sprintf("/%d/", i)) = i
		*m.Learn(here, "kept", "/kept/") = -1
	}
	var spaces []int
	for i := range 200 {
		if m.Find(here, fmt.Sprintf("/%d/", i)) != nil {
			spaces = append(spaces, i)
		}
	}
	if len(spaces) != 127 || spaces[0] != 200-127 || m.Find(here, "/kept/") == nil {
		t.Errorf("%d spaces are left, from %v; want the latest 127, and the one that was learned again", len(spaces), spaces)
	}

	var one space.Memory[int]
	for i := range 100 {
		one.Learn(here, "realm", fmt.Sprintf("/%d/", i), "/kept/")
	}
	var paths []int
	for i := range 100 {
		if one.Find(here, fmt.Sprintf("/%d/", i)) != nil {
			paths = append(paths, i)
		}
	}
	if want := []int{85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99}; !slices.Equal(paths, want) || one.Find(here, "/kept/") == nil {
		t.Errorf("paths %v are left, want %v and the one that was learned again", paths, want)
	}
}

// Of several paths learned at once the first are the ones to keep.
func TestBoundOfOneLesson(t *testing.T) {
	var m space.Memory[int]
	var paths []string
	for i := range 20 {
		paths = append(paths, fmt.Sprintf("/%d/", i))
	}
	m.Learn(here, "realm", paths...)
	var got []string
	for _, path := range paths {
		if m.Find(here, path) != nil {
			got = append(got, path)
		}
	}
	if diff := cmp.Diff(paths[:16], got); diff != "" {
		t.Errorf("paths left (-want +got):\n%s", diff)
	}
}

func TestDirectory(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/a": "/", "/a/": "/a/", "/a/b": "/a/", "/a/b/": "/a/b/", "/a%2Fb": "/", "*": "", "": "",
	} {
		if got := space.Directory(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	var m space.Memory[sync.Mutex]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				path := fmt.Sprintf("/%d/", (i+j)%20)
				learned := m.Learn(here, path, path)
				if found := m.Find(here, path+"x"); found != learned {
					t.Errorf("%s: learned %p, found %p", path, learned, found)
				}
			}
		})
	}
	wg.Wait()
}

func TestFindAllocatesNothing(t *testing.T) {
	var m space.Memory[int]
	m.Learn(here, "a", "/", "/v1/")
	path := strings.Repeat("/v1", 10)
	if n := testing.AllocsPerRun(100, func() { m.Find(here, path) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
