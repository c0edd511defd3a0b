package simulate

// A Kind is something that can go wrong in a schedule, or that makes what goes
// wrong more difficult.
type Kind int

// The kinds.
const (
	// Tokens.
	Expired Kind = iota // met an API that knows it
	Revoked
	GrantEnded
	SpuriousRejection // of a token that is good

	// Requests.
	CallerCancelled
	CallerDeadline
	APIDown
	APISlow
	EarlyRejection // before the body was read
	StreamedBody
	BufferedBody
	BodyBeyondBuffer
	GetBodyFails
	BodyFails
	RejectionEmpty
	RejectionShort
	RejectionLong
	RejectionEndless
	RejectionStalled

	// The token endpoint.
	TokenEndpointDown
	TokenEndpointSlow
	TokenEndpointHangs
	TokenServerError
	TokenTooManyRequests // with Retry-After
	TokenAnswerLost
	TokenAnswerMalformed
	TokenAnswerHuge
	TokenRefused // invalid_grant for a grant that is good
	RefreshTokenKept
	AccessTokenKept

	// The store.
	SaveFails
	SaveReportsFailure // but has saved
	LoadFails
	StoreSlow
	LockFails
	LockContended
	LockChanged // ErrChanged, in the place of the lock
	NoLock      // of a store that several processes use
	WentBack    // to older content
	LostContent
	TornContent
	LaterVersion
	SealedStore
	KeyRotated
	UnknownKey

	// What others write.
	ForeignRefresh       // under the lock
	ForeignRefreshNoLock // in the middle of whatever happens
	ForeignSignIn
	ForeignCopy     // of what is there, without the member authtrip
	ForeignFormat   // of what is there, with the member authtrip
	ForeignPrevious // what was there before, without the member authtrip
	SkewedSignIn    // by a clock that is ahead or behind
	SkewedSignOut
	SkewedRenewal

	// Processes.
	SecondProcess
	Killed
	KilledInExchange
	KilledBeforeSave
	KilledSigningIn // with its lease
	SignedIn        // again
	SignedInTwice   // at once, in two processes
	SignedInByLease
	SignedOut
	SignedOutAmidRenewal // of another process
	SignedOutRevoking
	SignedOutInExchange // revoking, while this process or another exchanges
	RevokeFails
	OtherClient

	// What came of it.
	ExchangeRetried   // with the same refresh token, since no answer had come
	ExchangeRepeated  // with a refresh token whose answer had been lost, or could not be saved
	LateRevoked       // what an exchange brought after SignOut
	GraceUsed         // and the server was kind
	ReuseDetected     // and the server was not
	RenewalsLimited   // by MaxForced
	RequestSentAgain  // and accepted
	RejectionReturned // for a body that cannot be sent again

	kinds
)

var names = [kinds]string{
	"token expired", "token revoked", "grant ended", "spurious rejection",
	"caller cancelled", "caller's deadline", "API down", "API slow", "early rejection",
	"streamed body", "buffered body", "body beyond the buffer", "GetBody fails", "body fails",
	"rejection: no body", "rejection: short body", "rejection: long body", "rejection: endless body", "rejection: stalled body",
	"token endpoint down", "token endpoint slow", "token endpoint hangs", "token endpoint: 5xx", "token endpoint: 429",
	"token answer lost", "token answer malformed", "token answer huge", "token refused", "refresh token kept", "access token kept",
	"save fails", "save reports a failure", "load fails", "store slow", "lock fails", "lock contended", "lock changed", "no lock",
	"store went back", "store lost its content", "store torn", "store has a later version", "store sealed", "key rotated", "unknown key",
	"foreign refresh", "foreign refresh without the lock", "foreign sign-in", "foreign copy", "foreign format", "foreign copy of the previous",
	"skewed sign-in", "skewed sign-out", "skewed renewal",
	"second process", "killed", "killed in an exchange", "killed before saving", "killed signing in", "signed in again", "signed in twice at once",
	"signed in under a lease", "signed out", "signed out while others renew", "signed out and revoked", "signed out in an exchange", "revoke fails", "other client",
	"exchange retried", "exchange repeated", "late token revoked", "grace used", "reuse detected", "renewals limited", "request sent again", "rejection returned",
}

func (k Kind) String() string { return names[k] }
