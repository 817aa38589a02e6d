package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDroppedBy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, statements string
		want             []string
	}{
		{name: "nothing", statements: "CREATE INDEX i ON t (a);"},
		{name: "tables", statements: "DROP TABLE a,\n  b;\ndrop table if exists c cascade;", want: []string{"a", "b", "c"}},
		{name: "columns", statements: "ALTER TABLE a DROP COLUMN b, DROP COLUMN IF EXISTS c;", want: []string{"a.b", "a.c"}},
		{name: "something else of a table", statements: "ALTER TABLE a ADD COLUMN b int, DROP CONSTRAINT c;"},
		{name: "a function", statements: "DROP FUNCTION f;"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, droppedBy(tt.statements)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
