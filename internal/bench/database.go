package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is a PostgreSQL made for this run, with default settings but for where it
// listens and how many may connect: what a commit costs is what it costs elsewhere.
type database struct {
	folder, programs string
	port, pid        int
	credential       *syscall.Credential // whom it runs as where this is root; else nil
}

// startDatabase starts one in folder. Where statements is set it counts what each statement
// costs, which costs something too.
func startDatabase(ctx context.Context, folder string, statements bool) (*database, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	d := &database{folder: filepath.Join(folder, "postgres"), programs: programs, port: port}
	if err := os.Mkdir(d.folder, 0o755); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if err := d.runAs("postgres"); err != nil {
			return nil, err
		}
	}
	if err := d.run(ctx, "initdb", "-D", d.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories= -c max_connections=300", d.port)
	if statements {
		settings += " -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track_planning=on"
	}
	if err := d.run(ctx, "pg_ctl", "-D", d.data(), "-l", filepath.Join(d.folder, "log"), "-o", settings, "-w", "start"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	d.pid, err = strconv.Atoi(line)
	return d, err
}

// findPrograms is the folder of the newest PostgreSQL's programs, pgbench among them.
func findPrograms() (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		if _, err := exec.LookPath(filepath.Join(filepath.Dir(path), "initdb")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is well formed
	if len(folders) == 0 {
		return "", errors.New("PostgreSQL's programs were not found: install postgresql, or put the folder of pgbench and initdb on PATH")
	}
	return filepath.Dir(slices.Max(folders)), nil
}

func (d *database) runAs(name string) error {
	account, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	d.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(uidErr, gidErr, os.Chown(d.folder, int(uid), int(gid)))
}

func (d *database) data() string { return filepath.Join(d.folder, "data") }

func (d *database) url(name string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", d.port, name)
}

func (d *database) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.programs, name), args...)
	cmd.Dir, cmd.Env = d.folder, []string{"PATH=" + d.programs + ":" + os.Getenv("PATH"), "HOME=" + d.folder, "LC_ALL=C"}
	if d.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.credential}
	}
	return cmd
}

// run has a program's output in a file: a server that it starts would hold a pipe open.
func (d *database) run(ctx context.Context, name string, args ...string) error {
	output, err := os.CreateTemp("", "mergegate-bench-*.out")
	if err != nil {
		return err
	}
	defer os.Remove(output.Name()) //nolint:errcheck // it is in a temporary folder
	defer output.Close()           //nolint:errcheck // it was only read
	cmd := d.command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name()) // what it said is wanted, but not needed
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

func (d *database) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = d.run(ctx, "pg_ctl", "-D", d.data(), "-m", "immediate", "-w", "stop") // its folder goes away
}

func (d *database) exec(ctx context.Context, name string, statements ...string) error {
	conn, err := pgx.Connect(ctx, d.url(name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%.80s: %w", sql, err)
		}
	}
	return nil
}

// number is the number that a query answers.
func (d *database) number(ctx context.Context, name, sql string) (n float64, err error) {
	conn, err := pgx.Connect(ctx, d.url(name))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	err = conn.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// log is the write-ahead log so far. What backends report of it comes late; its position doesn't.
type log struct{ bytes, syncs float64 }

func (d *database) log(ctx context.Context) (l log, err error) {
	conn, err := pgx.Connect(ctx, d.url("postgres"))
	if err != nil {
		return l, err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	err = conn.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn() - '0/0', wal_sync FROM pg_stat_wal`).Scan(&l.bytes, &l.syncs)
	return l, err
}

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// pgbench runs a script with prepared statements over so many connections: what the
// server does of it at most.
func (d *database) pgbench(ctx context.Context, name, script string, connections int, duration time.Duration) (load, error) {
	file := filepath.Join(d.folder, "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil { //nolint:gosec // another account reads it
		return load{}, err
	}
	prefix := filepath.Join(d.folder, "latency")
	output, err := d.command(ctx, "pgbench", "-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", "1", "-T", strconv.Itoa(int(duration.Seconds())),
		"-l", "--sampling-rate=0.2", "--log-prefix="+prefix, "-f", file, d.url(name)).CombinedOutput()
	match := tpsLine.FindSubmatch(output)
	if err != nil || match == nil {
		return load{}, fmt.Errorf("pgbench: %w: %s", err, output)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return load{}, err
	}
	return load{answered: int(rate * duration.Seconds()), wall: duration, latencies: readLatencies(prefix)}, nil
}

// readLatencies reads pgbench's logs of single transactions, and removes them.
func readLatencies(prefix string) (list []time.Duration) {
	files, _ := filepath.Glob(prefix + "*") // the pattern is well formed
	for _, file := range files {
		text, _ := os.ReadFile(file) // fewer latencies, where one can't be read
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 2 {
				us, _ := strconv.Atoi(fields[2])
				list = append(list, time.Duration(us)*time.Microsecond)
			}
		}
		_ = os.Remove(file)
	}
	slices.Sort(list)
	return list
}

// statements are those that took longest since the last call, for each of n requests.
func (d *database) statements(ctx context.Context, n float64) (list []string, err error) {
	conn, err := pgx.Connect(ctx, d.url("mergegate"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing can be lost
	if _, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `
		SELECT calls / $1::float8, 1000 * total_exec_time / $1, plans / $1, 1000 * total_plan_time / $1, regexp_replace(left(query, 110), '\s+', ' ', 'g')
		FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'mergegate')
		ORDER BY total_exec_time + total_plan_time DESC LIMIT 25`, n)
	if err != nil {
		return nil, err
	}
	var calls, executing, plans, planning float64
	var query string
	_, err = pgx.ForEachRow(rows, []any{&calls, &executing, &plans, &planning, &query}, func() error {
		list = append(list, fmt.Sprintf("%6.2f calls %6.0f µs, %6.2f plans %6.0f µs: %s", calls, executing, plans, planning, query))
		return nil
	})
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT pg_stat_statements_reset()")
	}
	return list, err
}
