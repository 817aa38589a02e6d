package main

import (
	"strings"
	"testing"

	"mergegate/internal/postgres/postgrestest"
)

// TestMigrateDownWantsToBeAskedTwice rolls a migration back that holds data.
func TestMigrateDownWantsToBeAskedTwice(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.tokenOf("ops", "admin")
	const lost = "00002_schema.sql"
	code, out, errs := w.outcome("", "migrate", "down")
	if code != 2 || out != "" || !strings.Contains(errs, lost) || !strings.Contains(errs, "Lost with them: tokens (1 row)") || !strings.Contains(errs, "add --yes") {
		t.Errorf("without --yes: exit code %d\n%s%s", code, out, errs)
	}
	if list := w.command("token", "list"); !strings.Contains(list, "ops") {
		t.Errorf("without --yes there is left\n%s", list)
	}
	if out := w.command("migrate", "down", "--yes"); !strings.Contains(out, "rolled back "+lost) || !strings.Contains(out, "tokens (1 row)") {
		t.Errorf("with --yes: %s", out)
	}
	if out := w.command("migrate", "status"); !strings.Contains(out, lost+"    pending") || !strings.Contains(out, " UTC") {
		t.Errorf("status afterwards:\n%s", out)
	}
	if out := w.command("migrate", "down", "--yes"); !strings.Contains(out, "No data is lost") {
		t.Errorf("the job queue, which is empty: %s", out)
	}
	if code, _, errs := w.outcome("", "migrate", "down", "--yes"); code != 1 || !strings.Contains(errs, "nothing to roll back") {
		t.Errorf("nothing is left: exit code %d\n%s", code, errs)
	}
}

// TestNewerSchemasAreRefused has a newer mergegate have migrated the database.
func TestNewerSchemasAreRefused(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.command("migrate", "up")
	postgrestest.Exec(t, w.Database, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	for _, args := range []string{"serve", "migrate up", "migrate status", "migrate down", "migrate down --yes", "token list", "policy show", "token create --name x --scope read"} {
		code, out, errs := w.outcome("", strings.Fields(args)...)
		if code != 2 || out != "" || !strings.Contains(errs, "schema version 99, and this mergegate knows versions up to 2") {
			t.Errorf("%s: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	if f := w.diagnose()["database migrations"]; f.State != "fault" || !strings.Contains(f.Detail, "schema version 99") {
		t.Errorf("doctor: %+v", f)
	}
}
