package postgres

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool lets tests look at rows that the store has no reader for.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Query lets tests explain what a list costs.
func (f BuildFilter) Query(r Repository) (sql string, args pgx.NamedArgs) { return f.query(r) }
