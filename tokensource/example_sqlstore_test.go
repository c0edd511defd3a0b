package tokensource_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// These statements are for PostgreSQL. Two names with the same hash share a lock, which
// costs time but nothing else.
const (
	createTable = `CREATE TABLE IF NOT EXISTS authtrip_records (name text PRIMARY KEY, record bytea NOT NULL)`
	loadRecord  = `SELECT record FROM authtrip_records WHERE name = $1`
	saveRecord  = `INSERT INTO authtrip_records (name, record) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET record = excluded.record`
	lockRecord = `SELECT pg_advisory_lock(hashtextextended('authtrip:' || $1, 0))`
)

// A sqlStore is a Store and a Locker over a table in PostgreSQL: one row for each name.
//
// The lock belongs to a database connection of its own, and ends with it. If the process
// is killed, the server closes the connection and frees the lock. If a machine vanishes,
// the server notices by TCP keepalives: set tcp_keepalives_idle to some seconds.
//
// Connect to the primary server: a replica may return an old record. Do not connect
// through a pool that changes the server connection between statements, such as
// PgBouncer with pool_mode=transaction: the lock would stay on a connection of others.
type sqlStore struct {
	db   *sql.DB
	name string // of the identity

	mu   sync.Mutex
	held *sql.Conn // the connection with the lock; nil: this process does not have it
}

var (
	_ tokensource.Store  = (*sqlStore)(nil)
	_ tokensource.Locker = (*sqlStore)(nil)
)

func (s *sqlStore) Load(ctx context.Context) ([]byte, error) {
	var record []byte
	err := s.conn().QueryRowContext(ctx, loadRecord, s.name).Scan(&record)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("sqlStore: loading %q: %w", s.name, err)
	}
	return record, nil
}

func (s *sqlStore) Save(ctx context.Context, record []byte) error {
	if _, err := s.conn().ExecContext(ctx, saveRecord, s.name, record); err != nil {
		return fmt.Errorf("sqlStore: saving %q: %w", s.name, err)
	}
	return nil
}

func (s *sqlStore) Lock(ctx context.Context) (unlock func(), err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqlStore: locking %q: %w", s.name, err)
	}
	if _, err := conn.ExecContext(ctx, lockRecord, s.name); err != nil {
		discard(conn)
		return nil, fmt.Errorf("sqlStore: locking %q: %w", s.name, err)
	}
	s.mu.Lock()
	s.held = conn
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		if s.held == conn {
			s.held = nil
		}
		s.mu.Unlock()
		discard(conn)
	}, nil
}

// conn returns the connection with the lock, if there is one. A process that has lost
// this connection has lost the lock too, and cannot save over the next holder's record.
func (s *sqlStore) conn() interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return s.held
	}
	return s.db
}

// discard closes a connection, so that no lock goes back into the pool with it.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// The processes of many machines share an identity in a database that they have anyway.
// Of two processes that need a new token, one makes the exchange.
func Example_sqlStore() {
	ctx := context.Background()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // import _ "github.com/jackc/pgx/v5/stdlib"
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, createTable); err != nil {
		fmt.Println(err)
		return
	}

	// Somebody signs in, in any process.
	signIn := &tokensource.Session{Store: &sqlStore{db: db, name: "billing"}}
	if err := signIn.Set(ctx, &oauth2.Token{RefreshToken: "refresh-1"}); err != nil {
		fmt.Println(err)
		return
	}

	var mu sync.Mutex
	exchanges := 0
	grant := func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		mu.Lock()
		defer mu.Unlock()
		exchanges++
		return &oauth2.Token{AccessToken: "access-2", RefreshToken: "refresh-2"}, nil
	}
	var processes sync.WaitGroup
	for range 2 {
		session := &tokensource.Session{Grant: grant, Store: &sqlStore{db: db, name: "billing"}}
		processes.Go(func() {
			token, err := session.Token(ctx)
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(token.AccessToken)
		})
	}
	processes.Wait()
	fmt.Println("exchanges:", exchanges)
	// Output:
	// access-2
	// access-2
	// exchanges: 1
}
