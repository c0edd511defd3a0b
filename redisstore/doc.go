// Package redisstore keeps the record of a [tokensource.Session] in Redis, for the
// processes of many machines that share one identity. It is a module of its own,
// so that nobody else depends on a Redis client.
//
//	store := &redisstore.Store{Client: client, Key: "billing"}
//	session := &tokensource.Session{
//		Grant: tokensource.RefreshToken(config),
//		Store: tokensource.Sealed(store, "billing", key), // or store, to keep the record as it is
//	}
//	go store.Watch(ctx, session.Reload) // if a sign-out elsewhere must arrive at once
//
// It needs Redis 6.2 or later, or a server that is compatible with that.
//
// # What is in Redis
//
// Each Key has three keys in Redis, and a channel:
//
//	authtrip:{Key}         the record, as the Session or Sealed has written it
//	authtrip:{Key}:lock    the lock, while a process renews the token
//	authtrip:{Key}:ledger  the numbers of locks and saves, who has the lock, and a hash of the record
//	authtrip:{Key}         the channel, for the messages "saved NUMBER" and "free"
//
// In a Redis Cluster the keys are in one slot.
//
// Each lock has a higher number than the one before. A record that was saved under one
// number is not replaced under a lower one. A process that was stopped for longer than
// LockTTL can therefore not overwrite what others have saved since; see [ErrFenced].
//
// A record does not expire, except that of a sign-out, which expires after 30 days.
// The ledger lasts for a day longer than the record.
//
// # Cost
//
// A process that needs a new token loads the record, by one command. If another process
// has renewed the token, this is all. While another process renews it, the first one looks
// at the ledger at growing intervals, by one command each. After a third of a second it
// subscribes to the channel as well. Once the record has changed, it loads that again. The
// process that renews the token sends some twenty commands.
//
// # Replicas
//
// Reads go to the master, also by a client that reads from replicas: an old token
// that passes for the current one would be exchanged twice. The Store uses GETEX for that,
// which each client sends to the master. See also [Store].Replicas.
//
// # Eviction
//
// Redis must not evict the record. Use a database whose maxmemory-policy spares it:
// noeviction, or volatile-lru and its kin, since a record does not expire. If Redis
// loses the record all the same, a process that has the token saves it again when it next
// looks. If Redis loses the ledger, numbers go on rising from the time.
//
// # Permissions
//
// A user of Redis needs no more than this:
//
//	ACL SETUSER authtrip on >password resetkeys ~authtrip:* resetchannels &authtrip:* -@all
//	    +eval +evalsha +get +getex +set +del +pttl +time +publish +subscribe +ping +hello +wait
//
// wait is for [Store].Replicas alone. Without publish or subscribe, processes that wait
// for the lock look at the ledger twice a second at least, and [Store.Watch] returns an
// error. A client may need commands of its own too: go-redis sends client|setinfo to
// Redis 7.2 unless Options.DisableIdentity is set, and cluster, command and readonly to a
// Redis Cluster.
package redisstore
