package main

import (
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/postgres/postgrestest"
)

// diskFull has PostgreSQL answer to every new delivery and decision as it does when it
// can't extend a file.
const diskFull = `
	CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN RAISE 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$;
	CREATE TRIGGER disk_full BEFORE INSERT ON deliveries EXECUTE FUNCTION disk_full();
	CREATE TRIGGER disk_full BEFORE INSERT ON decisions EXECUTE FUNCTION disk_full();`

func TestFullDiskIsSaid(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	w := newWorld(t, "MERGEGATE_ADMIN_LISTEN="+admin)
	w.check(event("on-merge"))
	w.built(commit('1'), "success")
	if res := w.do(http.MethodGet, "/readyz?full", "", nil); res.status != http.StatusOK {
		t.Errorf("before: answered %d %s", res.status, res.body)
	}
	w.equal("nothing is left of the probe", 1, len(w.settled()))
	postgrestest.Exec(t, w.database, diskFull)
	var full response
	w.eventually("/readyz?full says so", func() bool {
		full = w.do(http.MethodGet, "/readyz?full", "", nil)
		return full.status == http.StatusServiceUnavailable
	})
	if !strings.Contains(string(full.body), "the database's disk is full") || strings.Contains(string(full.body), "base/1/2") {
		t.Errorf("answered %s", full.body)
	}
	if res := w.do(http.MethodGet, "/readyz", "", nil); res.status != http.StatusOK {
		t.Errorf("/readyz is answered %d %s", res.status, res.body)
	}
	if res := w.post("/webhooks/appveyor", webhookSecret, `{"eventName":"none","eventData":{"buildId":1}}`); res.status != http.StatusServiceUnavailable {
		t.Errorf("a webhook is answered %d %s", res.status, res.body)
	}
	if a := w.check(event("on-merge")); !a.Success {
		t.Errorf("a merge check is answered %q", a.Message)
	}
	if w.metrics(admin)[`mergegate_database_write_failures_total{reason="disk_full"}`] == 0 {
		t.Error("no metric says so")
	}
	lines := 0
	for line := range strings.Lines(w.program.output()) {
		if strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, "can't be stored: the database's disk is full") {
			lines++
		}
	}
	w.equal("ERROR lines", 1, lines)
	postgrestest.Exec(t, w.database, `DROP TRIGGER disk_full ON deliveries`)
	w.eventually("/readyz?full goes back", func() bool { return w.do(http.MethodGet, "/readyz?full", "", nil).status == http.StatusOK })
}
