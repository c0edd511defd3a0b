package redisstore

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Four values, separated by spaces, are in the ledger of a Key:
//
//	last    the highest number given out
//	owner   who has taken the lock and not released it; nobody if none has
//	saved   the number of the lock under which the record was saved
//	change  the number of that save
//
// A number is the time in microseconds, or last + 1 if that is higher. Numbers
// therefore keep rising after Redis has lost the ledger, as by eviction or failover.
// Redis computes in doubles. They hold such numbers exactly until the year 2255.
//
// The ledger lasts for a day longer than the record, so that no record is without its
// number.
const (
	nobody = "-"
	day    = int64(24 * time.Hour / time.Millisecond)

	ledgerScript = `
local function open(key)
	local last, owner, saved, change = string.match(redis.call('GET', key) or '', '^(%d+) (%S+) (%d+) (%d+)$')
	return {last = tonumber(last or 0), owner = owner or '-', saved = tonumber(saved or 0), change = tonumber(change or 0)}
end

local function close(key, l, ttl)
	local text = string.format('%.0f %s %.0f %.0f', l.last, l.owner, l.saved, l.change)
	if ttl then
		redis.call('SET', key, text, 'PX', string.format('%.0f', ttl))
	else
		redis.call('SET', key, text)
	end
end

-- life returns how long a ledger lasts for the sake of a record: false is forever.
local function life(record, day)
	local ttl = redis.call('PTTL', record)
	return ttl ~= -1 and math.max(ttl, 0) + day
end

local function number(l)
	local now = redis.call('TIME')
	l.last = math.max(now[1] * 1000000 + now[2], l.last + 1)
	return l.last
end
`
)

var (
	// takeScript takes the lock KEYS[2] for owner ARGV[1] and ARGV[2] ms. It returns the
	// lock's number. If another process has the lock, it returns an empty number, for how
	// many ms, and the number of the last save. It may be sent again after its answer was
	// lost.
	//
	// KEYS: ledger, lock, record. ARGV[3] is a day in ms.
	takeScript = redis.NewScript(ledgerScript + `
local l = open(KEYS[1])
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[2]) ~= ARGV[1] then
	return {'', redis.call('PTTL', KEYS[2]), string.format('%.0f', l.change)}
end
local n = number(l)
l.owner = ARGV[1]
close(KEYS[1], l, life(KEYS[3], ARGV[3]))
return {string.format('%.0f', n), 0, ''}
`)

	// keepScript has the lock KEYS[2] last for ARGV[2] ms more. It returns 1 if owner
	// ARGV[1] has the lock, and 0 if not.
	//
	// Where Redis has lost both keys, it cannot tell a lock from one that was released. It
	// then returns 2, and takes the lock again only if the owner insists, by the record's
	// name and a day in ms. It never does so if a number as high as the owner's, ARGV[3], was
	// given out.
	//
	// KEYS: ledger, lock and, to insist, record.
	keepScript = redis.NewScript(ledgerScript + `
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 0 end
if not owner then
	local l = open(KEYS[1])
	if l.owner ~= ARGV[1] then
		if l.last >= tonumber(ARGV[3]) then return 0 end
		if not ARGV[4] then return 2 end
		l.last, l.owner = tonumber(ARGV[3]), ARGV[1]
		close(KEYS[1], l, life(KEYS[3], ARGV[4]))
	end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
`)

	// releaseScript gives up the lock KEYS[2] of owner ARGV[1], and tells the processes
	// that wait for it. The ledger says so too: from then on, no keepScript that comes
	// late takes the lock again.
	//
	// KEYS: ledger, lock. ARGV[2] is the channel.
	releaseScript = redis.NewScript(ledgerScript + `
local l = open(KEYS[1])
local held = redis.call('GET', KEYS[2]) == ARGV[1]
if held then redis.call('DEL', KEYS[2]) end
if l.owner == ARGV[1] then
	l.owner = '-'
	local ttl = redis.call('PTTL', KEYS[1])
	close(KEYS[1], l, ttl > 0 and ttl)
elseif not held then
	return 0
end
redis.pcall('PUBLISH', ARGV[2], 'free')
return 1
`)

	// saveScript saves record ARGV[2] under number ARGV[1]; an empty number is the next.
	// The record expires after ARGV[3] ms; 0 is never. It returns 0 if a record was saved
	// under a higher number. With GET, SET refuses to replace what is not a string.
	//
	// KEYS: record, ledger. ARGV[4] is a day in ms.
	saveScript = redis.NewScript(ledgerScript + `
local l = open(KEYS[2])
local n, ttl = tonumber(ARGV[1]), tonumber(ARGV[3])
if n and n < l.saved then return 0 end
l.change = number(l)
l.saved = n or l.change
if ttl > 0 then
	redis.call('SET', KEYS[1], ARGV[2], 'GET', 'PX', ARGV[3])
	close(KEYS[2], l, ttl + ARGV[4])
else
	redis.call('SET', KEYS[1], ARGV[2], 'GET')
	close(KEYS[2], l)
end
redis.pcall('PUBLISH', KEYS[1], string.format('saved %.0f', l.change))
return 1
`)
)

// A ledger is what this process needs to know of the ledger in Redis.
type ledger struct {
	last   time.Time // when the last number was given out, by Redis's clock
	busy   bool      // somebody has taken the lock and not released it
	change string    // the number of the last save
}

// parseLedger returns the zero ledger for what no script has written.
func parseLedger(text string) ledger {
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return ledger{change: "0"}
	}
	last, _ := strconv.ParseInt(fields[0], 10, 64)
	return ledger{time.UnixMicro(last), fields[1] != nobody, fields[3]}
}

// later reports whether number a, as a script has printed it, is higher than b.
func later(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}
