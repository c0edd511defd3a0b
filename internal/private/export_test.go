package private

import (
	"context"
	"os"
)

var SyncFolder = syncFolder

// Open opens a file for reading, without looking first.
func Open(ctx context.Context, path string) error {
	file, _, err := open(ctx, path, os.O_RDONLY)
	if err != nil {
		return err
	}
	return file.Close()
}
