package transport

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
)

// buffer returns a request like req whose body can be had again, if it ends
// within limit bytes, else one whose body is the same stream as before. Either
// owns req's body, which has been closed if err is not nil.
func buffer(ctx context.Context, req *http.Request, limit int64) (*http.Request, error) {
	type result struct {
		read []byte
		err  error
	}
	done := make(chan result, 1)
	limit = min(limit, math.MaxInt64-1)
	go func() {
		// invariant: a body is not cut where the buffer ends
		read, err := io.ReadAll(io.LimitReader(req.Body, limit+1))
		done <- result{read, err}
	}()
	r := *req
	select {
	case res := <-done:
		if res.err != nil {
			req.Body.Close()
			return nil, res.err
		}
		if int64(len(res.read)) > limit {
			r.Body = &restored{io.MultiReader(bytes.NewReader(res.read), req.Body), req.Body}
			return &r, nil
		}
		req.Body.Close()
		r.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(res.read)), nil
		}
		r.Body, _ = r.GetBody()
		return &r, nil
	case <-ctx.Done():
		// What was being read ends with Close, or is its owner's to end.
		req.Body.Close()
		return nil, ctx.Err()
	}
}
