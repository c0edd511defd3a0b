package tokensource

import "time"

// ParseToken reads the content of a FileSource's file.
var ParseToken = parseToken

// SetClockBack does to f what setting the clock back by d does: the time of the next
// look is later by d.
func (f *FileSource) SetClockBack(d time.Duration) {
	st := *f.load()
	st.next += int64(d)
	f.seen.Store(&st)
}
