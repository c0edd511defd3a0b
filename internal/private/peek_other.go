//go:build !unix

package private

import "os"

func openToPeek(path string) (*os.File, error) { return os.Open(path) }
