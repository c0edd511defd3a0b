// Package redisstore keeps a [tokensource.Session]'s token in Redis, for the
// processes of many machines that share one identity. It is a module of its own,
// so that nobody else depends on a Redis client.
//
//	session := &tokensource.Session{
//		Grant: tokensource.RefreshToken(config),
//		Store: &redisstore.Store{Client: client, Key: "billing"},
//	}
//
// # What is in Redis
//
// For each Key there is a hash, authtrip:{Key}, and while a process renews the
// token, a lock, authtrip:{Key}:lock. Both are in one slot of a Redis Cluster, and
// so is the channel authtrip:{Key}, by which those who wait for the lock hear that
// it is free. The hash has the token and a fencing number: each time the lock is
// taken it has a higher one, and what was saved under one number is not replaced
// under a lower. A process that has stopped for longer than its lock lasts cannot
// overwrite what others have done since; see [ErrFenced].
//
// Reads go to the master, by a script, even if the client is one that reads
// from replicas: an old token that is read as a new one would be exchanged twice.
//
// The hash must not be evicted: use a database whose maxmemory-policy spares it
// (noeviction, or volatile-lru and its kin, since a hash with a token has no time
// to live).
//
// # Permissions
//
// A user of Redis who can do no more than a Store has to:
//
//	ACL SETUSER authtrip on >password resetkeys ~authtrip:* resetchannels &authtrip:* -@all
//	    +eval +evalsha +get +set +del +pttl +pexpire +persist +hget +hset +hdel +hexists +time
//	    +publish +subscribe +unsubscribe +ping +hello +wait
//
// wait is for Store.Replicas alone. Where subscribing is not allowed, those who wait
// look every quarter of a second.
package redisstore
