package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxLinks bounds the symbolic links on the way to a target, as Linux does.
const maxLinks = 40

// target returns the file that Path leads to. info is nil if it does not exist. A file
// that must not be used is an error.
func (f *File) target() (path string, info fs.FileInfo, err error) {
	if f.absolute == "" {
		f.absolute, err = absolute(f.Path)
	}
	if err == nil {
		path, err = follow(f.absolute)
	}
	if err != nil {
		return "", nil, err
	}
	info, err = os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil, nil
	case err != nil:
		return "", nil, err
	}
	return path, info, check(path, info)
}

// prepare is target for an operation that makes a file beside the target.
func (f *File) prepare(ctx context.Context) (path string, info fs.FileInfo, err error) {
	if path, info, err = f.target(); err == nil {
		err = f.folder(ctx, filepath.Dir(path))
	}
	if err == nil {
		err = ctx.Err()
	}
	return path, info, err
}

// absolute returns the path without resolving any "..", whose meaning depends on the
// links before it.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	if runtime.GOOS == "windows" { // where some relative paths name a drive
		return filepath.Abs(path)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return dir + "/" + path, nil
}

// follow resolves all links in a path, also to and through what does not exist.
func follow(path string) (string, error) {
	done, rest := cut(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		next := filepath.Join(done, name)
		info, err := os.Lstat(next)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		case err != nil, info.Mode()&fs.ModeSymlink == 0:
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: the links form a loop", path)
		}
		link, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		root, names := cut(link)
		switch {
		case filepath.IsAbs(link):
			done = root
		case root != "": // on Windows, a path of the current drive
			done = filepath.VolumeName(done) + root
		}
		rest = append(names, rest...)
	}
	return done, nil
}

// cut splits a path into its root, which a relative path does not have, and its names.
func cut(path string) (root string, names []string) {
	volume := len(filepath.VolumeName(path))
	end := volume
	for end < len(path) && os.IsPathSeparator(path[end]) {
		end++
	}
	if root = path[:volume]; end > volume {
		root += string(filepath.Separator)
	}
	return root, strings.FieldsFunc(path[end:], func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}

// check refuses what is not a file for the secrets of this user alone.
func check(path string, info fs.FileInfo) error {
	owner, ok := ownerOf(info)
	switch {
	case !info.Mode().IsRegular():
		return notRegular(path)
	case ok && owner != os.Geteuid():
		// Its owner could read and change it whatever the mode is.
		return fmt.Errorf("%s belongs to another user: choose another path", path)
	case ok && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s can be read or written by others (mode %#o): chmod 600", path, info.Mode().Perm())
	}
	return nil
}

func notRegular(path string) error {
	return fmt.Errorf("%s is not a regular file: remove it, or choose another path", path)
}

// open opens a regular file that passes the check. The caller has looked that the path
// is not a device, whose opening may have effects, and this looks again at what is open.
func open(ctx context.Context, path string, flag int) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, flag|careful, 0)
	for isBusy(err) { // somebody has a lease, and is being asked to give it up
		if err := pause(ctx); err != nil {
			return nil, nil, fmt.Errorf("%s is leased: %w", path, err)
		}
		file, err = os.OpenFile(path, flag|careful, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = check(path, info)
	}
	if err != nil {
		return nil, nil, both(err, file.Close())
	}
	return file, info, nil
}

// folder refuses a folder in which others could put a file of theirs in a file's place.
// With MakeFolder, it makes a folder that does not exist.
func (f *File) folder(ctx context.Context, dir string) error {
	err := checkFolder(dir)
	if !f.MakeFolder || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist); parent = filepath.Dir(parent) {
		if err = checkFolder(parent); parent == filepath.Dir(parent) {
			break
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	return checkFolder(dir) // somebody else may have made it meanwhile
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := ownerOf(info)
	ours := owner == os.Geteuid()
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case ok && !ours && owner != 0:
		return fmt.Errorf("%s belongs to another user: choose another folder", dir)
	case ok && info.Mode().Perm()&0o022 != 0 && ours && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("others can write to %s (mode %#o): chmod go-w, or choose another folder", dir, info.Mode().Perm())
	case ok && info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to %s (mode %#o): choose another folder", dir, info.Mode().Perm())
	}
	return nil
}
