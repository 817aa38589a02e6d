package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"mergegate/migrations"
)

// countedRows is how far rows are counted: who is about to lose them wants to know whether
// they are many, not to wait for the sum.
const countedRows = 100_000

// Rollback is what [MigrateDown] would do.
type Rollback struct {
	Migration string   // its name, such as 00002_schema.sql
	Tables    []Losing // what it drops, by name
}

// Losing is a table, or a column as table.column, that is dropped with what is in it.
type Losing struct {
	Name string
	Rows int64 // at most 100,000 are counted
	More bool  // there are more of them
}

// NextDown tells what MigrateDown would take back and delete. It fails with ErrNothingApplied
// when no migration is left.
func NextDown(ctx context.Context, url string) (r Rollback, err error) {
	err = withProvider(ctx, url, func(ctx context.Context, db *sql.DB, p *goose.Provider) error {
		version, err := newestApplied(ctx, db)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(p.ListSources(), func(s *goose.Source) bool { return s.Version == version })
		if at < 0 {
			return ErrNothingApplied
		}
		source := p.ListSources()[at]
		r.Migration = nameOf(source)
		names, err := dropped(ctx, db, source)
		if err != nil {
			return err
		}
		for _, name := range names {
			losing, err := countLosing(ctx, db, name)
			if err != nil {
				return err
			}
			r.Tables = append(r.Tables, losing)
		}
		return nil
	})
	return r, err
}

var (
	dropTable  = regexp.MustCompile(`(?is)\bdrop\s+table\s+(?:if\s+exists\s+)?([^;]+);`)
	alterTable = regexp.MustCompile(`(?is)\balter\s+table\s+(?:if\s+exists\s+)?(\w+)\s([^;]*);`)
	dropColumn = regexp.MustCompile(`(?is)\bdrop\s+column\s+(?:if\s+exists\s+)?(\w+)`)
)

// dropped are the tables and columns that a migration drops on its way down, by name.
func dropped(ctx context.Context, db *sql.DB, source *goose.Source) ([]string, error) {
	if source.Type == goose.TypeGo {
		return jobQueueTables(ctx, db)
	}
	text, err := fs.ReadFile(migrations.FS, source.Path)
	if err != nil {
		return nil, err
	}
	_, down, found := strings.Cut(string(text), "-- +goose Down")
	if !found {
		return nil, fmt.Errorf("%s has no way down", source.Path)
	}
	names := droppedBy(down)
	slices.Sort(names)
	return names, nil
}

func droppedBy(statements string) (names []string) {
	for _, match := range dropTable.FindAllStringSubmatch(statements, -1) {
		for name := range strings.SplitSeq(match[1], ",") {
			names = append(names, strings.Fields(name)[0]) // without CASCADE
		}
	}
	for _, match := range alterTable.FindAllStringSubmatch(statements, -1) {
		for _, column := range dropColumn.FindAllStringSubmatch(match[2], -1) {
			names = append(names, match[1]+"."+column[1])
		}
	}
	return names
}

// jobQueueTables are River's, but for the one in which it notes its own versions.
func jobQueueTables(ctx context.Context, db *sql.DB) (names []string, err error) {
	rows, err := db.QueryContext(ctx, `select tablename::text from pg_tables where schemaname = current_schema() and tablename like 'river\_%' and tablename <> 'river_migration' order by 1`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// countLosing counts the rows of a table, or those that have something in a column.
func countLosing(ctx context.Context, db *sql.DB, name string) (Losing, error) {
	table, column, isColumn := strings.Cut(name, ".")
	query := "select 1 from " + pgx.Identifier{table}.Sanitize()
	if isColumn {
		query += " where " + pgx.Identifier{column}.Sanitize() + " is not null"
	}
	losing := Losing{Name: name}
	if name == "write_probe" {
		return losing, nil // its one row is written to see that writing works
	}
	err := db.QueryRowContext(ctx, fmt.Sprintf("select count(*) from (%s limit %d) as counted", query, countedRows+1)).Scan(&losing.Rows)
	if losing.Rows > countedRows {
		losing.Rows, losing.More = countedRows, true
	}
	return losing, err
}
