package redisstore

import "github.com/redis/go-redis/v9"

// The hash at KEYS[1] has the fields
//
//	token   what is saved
//	fence   the number under which that, or its removal, was done
//	locked  the highest number given out
//
// A number is the time in microseconds, or one more than the last if that is
// higher: numbers keep rising when Redis has lost the last of them, as by eviction
// or by a failover. Redis computes in doubles, which have such numbers exactly until the
// year 2255, but prints them rounded if it is not told how.
const number = `
local function number()
	local now = redis.call('TIME')
	local n = now[1] * 1000000 + now[2]
	local last = tonumber(redis.call('HGET', KEYS[1], 'locked') or '0')
	if n <= last then n = last + 1 end
	n = string.format('%.0f', n)
	redis.call('HSET', KEYS[1], 'locked', n)
	if redis.call('HEXISTS', KEYS[1], 'token') == 0 then
		-- Numbers are for a while only, unless there is something to guard.
		redis.call('PEXPIRE', KEYS[1], 86400000)
	end
	return n
end
`

var (
	// takeScript takes the lock KEYS[2] for owner ARGV[1] and ARGV[2] ms. It returns
	// the number, or an empty one and for how many ms the lock is another's. It may be
	// sent again if the answer was lost.
	takeScript = redis.NewScript(number + `
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then
	return {'', redis.call('PTTL', KEYS[2])}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {number(), 0}
`)

	// keepScript has the lock KEYS[2] last for ARGV[2] ms more, if it is still owner
	// ARGV[1]'s, or nobody's and there was nobody since number ARGV[3]: Redis has lost it,
	// as by a failover.
	keepScript = redis.NewScript(`
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 0 end
if not owner and tonumber(redis.call('HGET', KEYS[1], 'locked') or '0') > tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
`)

	// releaseScript gives up the lock KEYS[2], if it is owner ARGV[1]'s, and tells
	// those who wait for it.
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
pcall(redis.call, 'PUBLISH', KEYS[1], 'free')
return 1
`)

	// loadScript returns the token.
	loadScript = redis.NewScript(`return redis.call('HGET', KEYS[1], 'token')`)

	// saveScript saves ARGV[2] under number ARGV[1], or removes what was saved if
	// there is no ARGV[2]. An empty number is the next. It returns 0 if something was
	// done under a higher one.
	saveScript = redis.NewScript(number + `
local n = ARGV[1]
if n == '' then n = number() end
if tonumber(n) < tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') then return 0 end
redis.call('HSET', KEYS[1], 'fence', n)
if ARGV[2] then
	redis.call('HSET', KEYS[1], 'token', ARGV[2])
	redis.call('PERSIST', KEYS[1])
else
	redis.call('HDEL', KEYS[1], 'token')
	redis.call('PEXPIRE', KEYS[1], 86400000)
end
return 1
`)
)
