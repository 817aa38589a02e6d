package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// StandBy starts a PostgreSQL under dir that follows primary, from a copy of it that is made the
// first time, until Promote. It is for tests of what a failover does.
func StandBy(ctx context.Context, dir string, primary *Server, opts Options) (*Server, error) {
	opts.follow = primary.cluster.socketFolder()
	return Start(ctx, dir, opts)
}

// followerAccount is the user who may enter the folder of a server's socket.
func followerAccount(socket string) (account, error) {
	owner, err := ownerOf(socket)
	if err != nil {
		return account{}, err
	}
	return accountOf(owner)
}

// Promote makes a server that follows another one a primary, and returns when it is.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	var done bool
	err = conn.QueryRow(ctx, "select pg_promote()").Scan(&done)
	if err == nil && !done {
		err = errors.New("not within a minute")
	}
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// Crash ends the server like a loss of power would, as far as a process can: an immediate
// shutdown, after which the next start recovers. The folder is given free. Stop then does nothing.
func (s *Server) Crash() error {
	s.once.Do(func() {
		if !s.process.signal(syscall.SIGQUIT, immediateTimeout) {
			s.stopErr = errors.Join(errors.New("PostgreSQL does not end"), s.process.stop())
		}
		s.stopErr = errors.Join(s.stopErr, s.release())
		s.log.Info("embedded PostgreSQL was crashed", "folder", s.cluster.data())
	})
	return s.stopErr
}

// baseBackup makes data a copy of the server that is followed.
func (c *cluster) baseBackup(ctx context.Context, as account, data string) error {
	cmd := c.command(ctx, as, "pg_basebackup")
	cmd.Args = append(cmd.Args, "--username="+userName, "--port=5432", "--wal-method=stream", "--checkpoint=fast", "--no-password")
	if c.noSync {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	if err := errors.Join(cmd.addFolder("-h", c.follow), cmd.addFolder("-D", data)); err != nil {
		cmd.closeFolders()
		return err
	}
	p, err := cmd.launch()
	if err != nil {
		return err
	}
	<-p.ended // bounded: the context kills it
	if p.err != nil {
		return p.err
	}
	signal := filepath.Join(data, "standby.signal")
	return errors.Join(os.WriteFile(signal, nil, 0o600), c.account.take(signal))
}
