package cookiejar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/internal/crash"
)

func TestMain(m *testing.M) { crash.Main(m, saveForEver) }

// saveForEver saves a cookie with one value after the other, and tells what it has.
func saveForEver(path string) error {
	f, err := cookiejar.OpenFile(path, &cookiejar.FileOptions{Debounce: -1})
	if err != nil {
		return err
	}
	name := fmt.Sprint("c", os.Getpid())
	// A domain of its own: there is a limit to what one has.
	u := &url.URL{Scheme: "https", Host: name + ".example.com"}
	for n := 1; ; n++ {
		f.Jar().Receive(u, []string{fmt.Sprintf("%s=%d; Max-Age=3600", name, n)})
		if err := f.Save(context.Background()); err != nil {
			return err
		}
		fmt.Println(name, n)
	}
}

// Four processes save at once and are killed at any moment, 500 saves long. The
// file is whole all the time, and has what a Save has confirmed.
func TestFileSurvivesKill(t *testing.T) {
	const saves = 500
	path := filepath.Join(folder(t), "cookies.json")
	confirmed := make(map[string]int) // the last value of each cookie
	count := 0
	crash.Kill(t, path, func(lines []string) (enough bool) {
		for _, line := range lines {
			var name string
			var n int
			if _, err := fmt.Sscan(line, &name, &n); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			confirmed[name] = n
		}
		count += len(lines)
		text, err := os.ReadFile(path)
		if err == nil {
			err = new(cookiejar.Jar).Decode(bytes.NewReader(text))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is not whole: %v", err)
		}
		return count >= saves
	})
	have := make(map[string]int)
	for c := range open(t, path, manual).Jar().All() {
		n, err := strconv.Atoi(c.Value)
		if err != nil {
			t.Error(err)
		}
		have[c.Name] = n
	}
	for name, n := range confirmed {
		if have[name] < n {
			t.Errorf("%s=%d was saved, and there is %d", name, n, have[name])
		}
	}
	t.Logf("%d saves", count)
}
