package postgres

import "github.com/jackc/pgx/v5/pgxpool"

// Pool lets tests look at rows that the store has no reader for.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }
