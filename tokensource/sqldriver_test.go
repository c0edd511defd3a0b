package tokensource_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// The driver stands in for PostgreSQL under the name of a real one. It knows the
// statements of a sqlStore. The module integration runs the same tests on a server.
func init() {
	sql.Register("pgx", &sqlServer{
		rows: make(map[string][]byte), locks: make(map[string]*sqlConn), freed: make(chan struct{}),
	})
}

type sqlServer struct {
	mu    sync.Mutex // guards the fields below
	rows  map[string][]byte
	locks map[string]*sqlConn // by name: the connection with the lock
	freed chan struct{}       // closed and replaced when a lock is free
}

func (s *sqlServer) Open(string) (driver.Conn, error) { return &sqlConn{server: s}, nil }

// A sqlConn is used by one goroutine at a time.
type sqlConn struct{ server *sqlServer }

func (c *sqlConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("not prepared for this")
}

func (c *sqlConn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions") }

// Close frees the locks of c, as the server does when a connection ends.
func (c *sqlConn) Close() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for name, holder := range c.server.locks {
		if holder == c {
			delete(c.server.locks, name)
			close(c.server.freed)
			c.server.freed = make(chan struct{})
		}
	}
	return nil
}

func (c *sqlConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	switch query {
	case createTable:
	case saveRecord:
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.server.rows[args[0].Value.(string)] = slices.Clone(args[1].Value.([]byte))
	case lockRecord:
		return driver.ResultNoRows, c.lock(ctx, args[0].Value.(string))
	default:
		return nil, fmt.Errorf("unknown statement: %s", query)
	}
	return driver.ResultNoRows, nil
}

func (c *sqlConn) lock(ctx context.Context, name string) error {
	for {
		c.server.mu.Lock()
		holder, freed := c.server.locks[name], c.server.freed
		if holder == nil {
			c.server.locks[name] = c
		}
		c.server.mu.Unlock()
		if holder == nil {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *sqlConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if query != loadRecord {
		return nil, fmt.Errorf("unknown query: %s", query)
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	var rows sqlRows
	if record, ok := c.server.rows[args[0].Value.(string)]; ok {
		rows = append(rows, record)
	}
	return &rows, nil
}

type sqlRows [][]byte

func (r *sqlRows) Columns() []string { return []string{"record"} }

func (r *sqlRows) Close() error { return nil }

func (r *sqlRows) Next(dest []driver.Value) error {
	if len(*r) == 0 {
		return io.EOF
	}
	dest[0], *r = (*r)[0], (*r)[1:]
	return nil
}
