// Package simulate drives tokensource.Session and transport.Refresh through
// generated schedules, in fake time: requests, expiries, revocations, slow and
// failing servers and stores, callers that go away, processes that are killed.
// Everything around the two is a model that knows the truth (which tokens are
// good, what has been sent, what has been saved), and it checks what they do by
// these invariants:
//
//  1. A request fails only for a reason that the model has given it: its own
//     context, a fault of its own, a renewal that has just failed and may not be
//     made again yet, or a grant that is gone.
//  2. There are never two exchanges at once, none without need, none sooner after a
//     failure than allowed, and no refresh token is sent again after its answer has
//     arrived, if that could be saved.
//  3. Once a caller has been given a token, nobody is given an older one; nor,
//     after a sign-in or a sign-out, one from before.
//  4. A caller returns by its deadline.
//  5. Bodies of requests are closed once, bodies of responses are closed, and an
//     accepted request has had its whole body.
//  6. No goroutine is left.
//  7. A token is saved, or that was tried, before it is given to anybody.
//  8. When the faults are over, requests succeed.
//
// A schedule is made from a number, its seed. Everything that happens draws its
// times from that and happens at an instant of its own, so that the same seed
// gives the same run.
package simulate
