// Package simulate drives tokensource.Session and transport.Refresh through
// generated schedules, in fake time: requests, expiries, revocations, sign-ins and
// sign-outs in several processes, slow and failing servers and stores, failovers,
// clocks that are wrong, other programs that write to the store, callers that go
// away, and processes that are killed. Everything around the two is a model. It knows
// the truth: which tokens are good, what has been sent, which records were saved. It
// checks these invariants.
//
// Of requests and renewals:
//
//  1. A request fails only for a reason that the model has given it: its own
//     context, a fault of its own, a renewal that has just failed and may not be
//     made again yet, or a grant that is gone.
//  2. There are never two exchanges at once, none without need, none sooner after a
//     failure than allowed, and none after a look into the store that has failed. No
//     refresh token is sent again after its answer has arrived and was saved, or
//     after it was refused.
//  3. Once a caller has been given a token, nobody is given an older one.
//  4. A caller returns by its deadline.
//  5. Bodies of requests are closed once, bodies of responses are closed, and an
//     accepted request has had its whole body.
//  6. No goroutine is left.
//  7. A renewed token is saved, or that was tried, before it is given to anybody.
//
// Of records:
//
//  8. Each save follows a load, and does not replace a newer record that the load
//     has returned. Nothing replaces the record of a later version. Where the store
//     is a Locker, only a sign-out is saved without the lock.
//  9. A sign-in or sign-out acts at once. From then on nobody is given a token of the
//     session before, and no exchange for it begins. If Set or Clear has returned
//     without an error, the store had the record.
//  10. A process that has seen a newer record gives no token of an older one.
//  11. A renewal keeps the time of the sign-in, and counts. Only Set and SignIn make
//     the record of a sign-in.
//  12. A record of a sign-out has nothing of the record before.
//  13. Extra fields outlive renewals and restarts, unless another program has dropped
//     them.
//  14. A refresh token is not sent for another client.
//  15. What another program wrote is taken up once, and not if the process has or had
//     that token.
//  16. After SignOut, neither the token that it found nor one that a renewal has
//     brought since is good.
//  17. While one process signs in under its lease, no other does.
//
// And when the faults are over, requests succeed, and all processes have the record
// that the store has.
//
// Two sign-ins of which neither could see the other may end either way. So may a
// sign-in and what another program wrote unseen. There is never a third outcome.
//
// A schedule is made from a number, its seed. Everything that happens draws its
// times from that and happens at an instant of its own, so that the same seed
// gives the same run.
package simulate
