package postgres_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// distributable are the tables of facts, which grow with builds: they can be distributed by
// their workspace.
var distributable = []string{
	"builds", "result_reports", "projects", "pull_request_heads", "pull_requests", "branch_heads", "decisions",
	"commit_distances", "changed_paths", "pull_request_verdicts", "rebuilds", "repository_visits",
}

// TestTablesOfFactsCanBeDistributed holds them to what a distributed PostgreSQL asks for.
func TestTablesOfFactsCanBeDistributed(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	for _, table := range distributable {
		keys := query[string](t, store, `
			SELECT i.indexrelid::regclass::text || ' leads with ' || a.attname FROM pg_index i
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			WHERE i.indrelid = $1::regclass AND i.indisunique AND a.attname <> 'workspace_uuid'`, table)
		equal(t, "unique indexes of "+table+" that don't begin with the workspace", nil, keys)
		primary := query[int64](t, store, `SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass AND indisprimary`, table)
		equal(t, "primary keys of "+table, []int64{1}, primary)
		foreign := query[string](t, store, `SELECT conname::text FROM pg_constraint WHERE contype = 'f' AND (conrelid = $1::regclass OR confrelid = $1::regclass)`, table)
		equal(t, "foreign keys from and to "+table, nil, foreign)
		triggers := query[string](t, store, `SELECT tgname::text FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal`, table)
		equal(t, "triggers on "+table, nil, triggers)
		shared := query[string](t, store, `SELECT column_default FROM information_schema.columns WHERE table_name = $1 AND column_default LIKE 'nextval%'`, table)
		equal(t, "sequences that "+table+" shares", nil, shared)
	}
}

// TestTheWorkspaceIsNeverUpdated reads the statements of this package.
func TestTheWorkspaceIsNeverUpdated(t *testing.T) {
	t.Parallel()
	moves := regexp.MustCompile(`(?i)SET[^;]{0,400}?\b(workspace_uuid|repository_uuid)\s*=\s*(@|\$)`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range regexp.MustCompile("(?s)`[^`]*`").FindAllString(string(text), -1) {
			set, _, _ := strings.Cut(statement, "WHERE")
			if moves.MatchString(set) {
				t.Errorf("%s updates a place:\n%s", file.Name(), statement)
			}
		}
	}
}

// TestStatesAndIndexes holds the schema's own text to its rules: what can only be one of a
// few words has a CHECK, and every index says which query needs it.
func TestStatesAndIndexes(t *testing.T) {
	t.Parallel()
	store := openEmpty(t)
	states := []string{"state", "jobs_state", "outcome", "delivery", "source", "kind", "effect", "ended_by", "confirmed_by"}
	free := []string{"pull_requests.state"} // Bitbucket's own word, which may be new
	unchecked := query[string](t, store, `
		SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
		WHERE c.table_schema = 'public' AND c.table_name NOT LIKE 'river%' AND c.column_name = ANY($1) AND c.data_type = 'text'
			AND NOT EXISTS (SELECT FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)
				WHERE k.contype = 'c' AND k.conrelid = (c.table_schema || '.' || c.table_name)::regclass AND a.attname = c.column_name)
		ORDER BY 1`, states)
	unchecked = slices.DeleteFunc(unchecked, func(column string) bool { return slices.Contains(free, column) })
	equal(t, "states without a CHECK", []string{}, unchecked)

	schema, err := os.ReadFile("../../migrations/00002_schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range regexp.MustCompile(`(?s)CREATE (UNIQUE )?INDEX.*?;[^\n]*`).FindAllString(string(schema), -1) {
		if _, after, _ := strings.Cut(statement, ";"); !strings.Contains(after, "-- ") {
			t.Errorf("no query is named beside this index:\n%s", statement)
		}
	}
}
