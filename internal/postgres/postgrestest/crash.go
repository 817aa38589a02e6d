package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/postgres/embedded"
)

// Crash ends the server that runs on dir like a loss of power would, as far as a process can: an immediate shutdown,
// after which the next start recovers. The folder is given free.
func Crash(server *embedded.Server, dir string) error {
	text, err := os.ReadFile(filepath.Join(dataOf(dir), "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("crash PostgreSQL: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 1 {
		return fmt.Errorf("crash PostgreSQL: %q is no process", first)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("crash PostgreSQL: %w", err)
	}
	select {
	case <-server.Done():
	case <-time.After(10 * time.Second):
		return errors.New("PostgreSQL does not end")
	}
	_ = server.Stop() // says that it ended by itself, and gives the folder free
	return nil
}

// copyServer makes dir a folder whose server follows the one that runs on primaryDir.
func copyServer(ctx context.Context, primary *embedded.Server, primaryDir, dir string) error {
	var programs string
	if err := ask(ctx, primary.URL(), "select setting from pg_config where name = 'BINDIR'", &programs); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dataOf(dir)), 0o700); err != nil {
		return err
	}
	backup := exec.CommandContext(ctx, filepath.Join(programs, "pg_basebackup"), "--dbname="+primary.URL(), "--pgdata="+dataOf(dir),
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-password")
	if said, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the primary: %w: %s", err, said)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return shareOwner(dataOf(primaryDir), dataOf(dir))
}

// shareOwner has the copy run as the primary's user, which is let in at the primary's socket, and lets that user
// through the folders above it.
func shareOwner(primary, standby string) error {
	info, err := os.Stat(primary)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	err = filepath.WalkDir(standby, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(owner.Uid), int(owner.Gid)))
	})
	for range 3 {
		primary = filepath.Dir(primary)
		err = errors.Join(err, os.Chmod(primary, 0o711)) //nolint:gosec // it may pass, not look
	}
	return err
}

func dataOf(dir string) string { return filepath.Join(dir, "postgres", "data") }

// ask reads one value.
func ask(ctx context.Context, address, query string, answer any) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return errors.Join(conn.QueryRow(ctx, query).Scan(answer), conn.Close(ctx))
}
