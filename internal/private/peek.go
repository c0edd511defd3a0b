package private

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Peek returns the content of a regular file of at most limit bytes that another
// program owns and may be writing. It follows symbolic links. limit is a whole number
// of MiB. info describes the file after the read, so a write that text shows has set
// the modification time in info.
//
// Anything but a regular file is an error at once, even a FIFO that nobody writes to.
// A file system that does not answer blocks Peek. Errors never repeat content.
func Peek(path string, limit int64) (text []byte, info fs.FileInfo, err error) {
	// Opening a device can have an effect of its own, so its type is checked first.
	// The file can be replaced before it is open, so it is checked again then.
	if info, err = os.Stat(path); err != nil {
		return nil, nil, err
	}
	if err := peekable(path, info, limit); err != nil {
		return nil, nil, err
	}
	file, err := openToPeek(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, nil, err
	}
	if err := peekable(path, info, limit); err != nil {
		return nil, nil, err
	}
	if text, err = io.ReadAll(io.LimitReader(file, limit+1)); err != nil {
		return nil, nil, err
	}
	if int64(len(text)) > limit {
		return nil, nil, tooLarge(path, limit)
	}
	if info, err = file.Stat(); err != nil {
		return nil, nil, err
	}
	return text, info, nil
}

func peekable(path string, info fs.FileInfo, limit int64) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file (type %v)", path, info.Mode().Type())
	case info.Size() > limit:
		return tooLarge(path, limit)
	}
	return nil
}

func tooLarge(path string, limit int64) error {
	return fmt.Errorf("%s is larger than %d MiB", path, limit>>20)
}
