package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mergegate/internal/app"
	"mergegate/internal/postgres"
	"mergegate/internal/terminal"
)

// withDatabase gives f the database's URL, "" when there is none to be had.
func (d *doctor) withDatabase(ctx context.Context, f func(url string)) {
	url, err := app.CommandDatabase(ctx, d.cfg)
	switch {
	case errors.Is(err, app.ErrNoDatabase):
		d.warn("database", "DATABASE_URL is not set, and no mergegate serve is running on "+d.cfg.DataDir, "start mergegate serve, which makes a database there, or set DATABASE_URL")
	case err != nil:
		d.fault("database", err.Error(), "set DATABASE_URL, or give MERGEGATE_DATA_DIR a folder of mergegate's own")
	}
	f(url)
}

func (d *doctor) checkDatabase(ctx context.Context, url string) {
	if url == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	server, err := postgres.Examine(ctx, url)
	if err != nil {
		d.fault("database", "can't use the database: "+postgres.Cause(err), "see that the server runs and that DATABASE_URL names it, with a user who may connect")
		return
	}
	d.clocks = append(d.clocks, clock{of: "the database", ahead: server.Ahead})
	for _, f := range judgeServer(server) {
		d.add(f)
	}
	d.checkMigrations(ctx, url)
}

// judgeServer says what is wrong with a database server, a finding of each check.
func judgeServer(s postgres.Server) []Finding {
	found := func(check, okay string, worst Finding) Finding {
		if worst.State == "" {
			return Finding{Check: check, State: OK, Detail: okay}
		}
		worst.Check = check
		return worst
	}
	var version, writable, durable, sessions Finding
	if s.Old {
		version = Finding{State: Fault, Detail: "the server is PostgreSQL " + s.Version, Fix: "use PostgreSQL 14 or newer"}
	}
	switch {
	case s.Standby:
		writable = Finding{State: Fault, Detail: "the server is a standby, which can't be written to", Fix: "name the primary in DATABASE_URL, or every host with target_session_attrs=read-write"}
	case s.ReadOnly:
		writable = Finding{State: Fault, Detail: "transactions are read-only", Fix: "set default_transaction_read_only=off for the database and the user"}
	case !s.MayMigrate:
		writable = Finding{State: Fault, Detail: "the user may not make tables", Fix: "GRANT CREATE ON SCHEMA public, or make the user the database's owner"}
	}
	switch {
	case !s.Fsync || !s.FullPages:
		durable = Finding{State: Fault, Detail: "fsync or full_page_writes is off: a crash of the machine loses the database", Fix: "set both to on in postgresql.conf"}
	case !s.Synchronous:
		durable = Finding{State: Warning, Detail: "synchronous_commit is off: a crash loses what was acknowledged just before", Fix: "set synchronous_commit=on"}
	}
	if s.Pooled {
		sessions = Finding{State: Fault, Detail: "connections share sessions, as behind a pooler in transaction mode: advisory locks and notifications don't work", Fix: "connect to PostgreSQL itself, or set the pooler to session mode"}
	}
	return []Finding{
		found("database", "PostgreSQL "+s.Version, version),
		found("database writable", "it can be written to", writable),
		found("database durability", "what is committed survives a crash", durable),
		found("database sessions", "each connection has a session of its own", sessions),
	}
}

func (d *doctor) checkMigrations(ctx context.Context, url string) {
	const check = "database migrations"
	migrations, err := postgres.MigrationStatus(ctx, url)
	var newer *postgres.NewerSchemaError
	if errors.As(err, &newer) {
		d.fault(check, newer.Error(), "install the mergegate that made the schema; mergegate version shows this one's")
		return
	}
	if err != nil {
		d.fault(check, err.Error(), "see the other checks of the database")
		return
	}
	pending := 0
	for _, m := range migrations {
		if m.AppliedOn.IsZero() {
			pending++
		}
	}
	if pending > 0 {
		d.warn(check, fmt.Sprintf("%d of %d are pending", pending, len(migrations)), "start serve, which applies them, or run mergegate migrate up")
		return
	}
	d.ok(check, "all %d are applied", len(migrations))
}

// openStore opens the database where it can be used, so that others' credentials
// and policies are known.
func (d *doctor) openStore(ctx context.Context, url string) {
	if url == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ExternalTimeout)
	defer cancel()
	store, err := postgres.Open(context.WithoutCancel(ctx), url, postgres.Options{MaxConns: 2, StatementTimeout: ExternalTimeout})
	if err != nil {
		return // the configuration's check has told
	}
	if store.Ping(ctx) != nil {
		store.Close() // the migrations' check has told
		return
	}
	d.store = store
	projects, err := store.Projects(ctx)
	if err != nil {
		d.fault("database", err.Error(), "see the other checks of the database")
	}
	for _, p := range projects {
		if p.Repository != "" && !p.Forgotten {
			d.repositories[p.WorkspaceUUID] = p.Repository
		}
	}
}

// clock is how far a clock is ahead of this machine's.
type clock struct {
	of     string
	ahead  time.Duration
	coarse bool // told to the second
}

const (
	// skewNoticed is beyond what NTP and the time an answer takes explain.
	skewNoticed = 5 * time.Second
	// skewTooMuch is the leeway that Forge's tokens are given, which live for 25 s.
	skewTooMuch = 30 * time.Second
)

// heard notes the time of an answer's Date header.
func (d *doctor) heard(of string, on, asked time.Time) {
	if on.IsZero() {
		return
	}
	answered := time.Now()
	d.clocks = append(d.clocks, clock{of: of, ahead: on.Sub(asked.Add(answered.Sub(asked) / 2)), coarse: true})
}

// checkClocks compares the clocks of everything that answered.
func (d *doctor) checkClocks() {
	const check = "clocks"
	worst, wrong := time.Duration(0), ""
	for _, c := range d.clocks {
		off := c.ahead.Abs()
		if c.coarse {
			off = max(0, off-time.Second)
		}
		if off > worst {
			worst, wrong = off, fmt.Sprintf("the clock of %s is %s off this machine's", c.of, c.ahead.Abs().Round(time.Second))
		}
	}
	const fix = "run NTP (chrony, systemd-timesyncd) on this machine and the database's"
	switch {
	case len(d.clocks) == 0:
		d.warn(check, "no server told its time", "see the other checks")
	case worst > skewTooMuch:
		d.fault(check, wrong+": Forge's tokens are refused", fix)
	case worst > skewNoticed:
		d.warn(check, wrong, fix)
	default:
		d.ok(check, "%s agree with this machine's", terminal.Counted(len(d.clocks), "clock"))
	}
}
