package tokensource

import "time"

// SetClockBack does to s what setting the clock back by d does: all that it has
// noted is later by that.
func (s *Session) SetClockBack(d time.Duration) {
	st := *s.load()
	for _, at := range []*int64{&st.usable, &st.renewal, &st.saving, &st.next, &st.quickEnd} {
		if *at != 0 && *at != never {
			*at += int64(d)
		}
	}
	s.state.Store(&st)
}
