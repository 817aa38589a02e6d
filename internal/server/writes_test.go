package server_test

import (
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
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
	admin := servertest.FreeAddress(t)
	w := newWorld(t, "MERGEGATE_ADMIN_LISTEN="+admin)
	w.Check(event("on-merge"))
	w.Built(commit('1'), "success")
	if res := w.Do(http.MethodGet, "/readyz?full", "", nil); res.Status != http.StatusOK {
		t.Errorf("before: answered %d %s", res.Status, res.Body)
	}
	w.Equal("nothing is left of the probe", 1, len(w.Settled()))
	postgrestest.Exec(t, w.Database, diskFull)
	var full servertest.Response
	w.Eventually("/readyz?full says so", func() bool {
		full = w.Do(http.MethodGet, "/readyz?full", "", nil)
		return full.Status == http.StatusServiceUnavailable
	})
	if !strings.Contains(string(full.Body), "the database's disk is full") || strings.Contains(string(full.Body), "base/1/2") {
		t.Errorf("answered %s", full.Body)
	}
	if res := w.Do(http.MethodGet, "/readyz", "", nil); res.Status != http.StatusOK {
		t.Errorf("/readyz is answered %d %s", res.Status, res.Body)
	}
	if res := w.Post("/webhooks/appveyor", servertest.WebhookSecret, `{"eventName":"none","eventData":{"buildId":1}}`); res.Status != http.StatusServiceUnavailable {
		t.Errorf("a webhook is answered %d %s", res.Status, res.Body)
	}
	if a := w.Check(event("on-merge")); !a.Success {
		t.Errorf("a merge check is answered %q", a.Message)
	}
	if w.Metrics(admin)[`mergegate_database_write_failures_total{reason="disk_full"}`] == 0 {
		t.Error("no metric says so")
	}
	lines := 0
	for line := range strings.Lines(w.Log()) {
		if strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, "can't be stored: the database's disk is full") {
			lines++
		}
	}
	w.Equal("ERROR lines", 1, lines)
	postgrestest.Exec(t, w.Database, `DROP TRIGGER disk_full ON deliveries`)
	w.Eventually("/readyz?full goes back", func() bool { return w.Do(http.MethodGet, "/readyz?full", "", nil).Status == http.StatusOK })
}
