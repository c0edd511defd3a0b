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
	ClearFails
	StoreSlow
	LockFails
	LockContended
	Overwritten // another process's newer token, by what could not be saved before

	// Processes.
	SecondProcess
	Killed
	KilledInExchange
	KilledBeforeSave
	SignedIn // again
	SignedOut

	// What came of it.
	ExchangeRetried   // with the same refresh token, since no answer had come
	ExchangeRepeated  // with a refresh token whose answer had been lost, or could not be saved
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
	"save fails", "save reports a failure", "load fails", "clear fails", "store slow", "lock fails", "lock contended", "overwritten late",
	"second process", "killed", "killed in an exchange", "killed before saving", "signed in again", "signed out",
	"exchange retried", "exchange repeated", "grace used", "reuse detected", "renewals limited", "request sent again", "rejection returned",
}

func (k Kind) String() string { return names[k] }
