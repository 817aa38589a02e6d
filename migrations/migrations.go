// Package migrations holds the database's schema as the SQL files that build it up, in goose's
// format and named by their version. Package postgres runs them:
//
//	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS)
//
// Version 1 isn't a file: it is the job queue's own schema, which package postgres brings.
package migrations

import "embed"

// FS holds the SQL files at its top.
//
//go:embed *.sql
var FS embed.FS
