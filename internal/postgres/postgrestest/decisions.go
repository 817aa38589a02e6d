package postgrestest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// MultiplyDecisions adds copies of every decision, so that there are times as
// many: each copy is of another pull request and a second older. Copies of
// decisions of one second are of the same moment.
func MultiplyDecisions(t testing.TB, address string, times int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `
		INSERT INTO decisions (workspace_uuid, repository_uuid, pull_request_id, trigger, success, code, message,
			head, destination, policy_version, builds, inputs, duration_ms, created_on)
		SELECT workspace_uuid, repository_uuid, pull_request_id + 1000 * n, trigger, success, code, message,
			head, destination, policy_version, builds, inputs, duration_ms, date_trunc('second', created_on) - n * interval '1 second'
		FROM decisions, generate_series(1, $1) n`, times-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `ANALYZE decisions`); err != nil {
		t.Fatal(err)
	}
}
