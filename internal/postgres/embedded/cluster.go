package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
)

// cluster is a data folder with what it takes to run PostgreSQL's programs on it.
type cluster struct {
	folder
	programs programs
	account  account
	log      serverLog
	noSync   bool
}

func openCluster(ctx context.Context, at folder, opts Options) (*cluster, error) {
	major, err := at.madeBy()
	if err != nil {
		return nil, err
	}
	found, err := findPrograms(ctx, opts.folders, major)
	if err != nil {
		return nil, err
	}
	runAs, err := at.account()
	if err != nil {
		return nil, err
	}
	log, err := at.openLog()
	if err != nil {
		return nil, err
	}
	return &cluster{folder: at, programs: found, account: runAs, log: log, noSync: opts.NoSync}, nil
}

// initialise makes the data folder unless it is there. It works in a folder of another name and
// renames that at the end, so that an interrupted initdb can't be taken for a cluster.
func (c *cluster) initialise(ctx context.Context, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(c.data(), "PG_VERSION")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log.InfoContext(ctx, "making a new PostgreSQL cluster", "version", c.programs.major, "folder", c.data())
	if err := c.sweepUnfinished(); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(c.data()), "unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) //nolint:errcheck // what a failure left is swept next time; after the rename there is nothing
	maker := c.account
	if maker.nameless {
		if maker, err = unprivileged(); err != nil { // initdb doesn't run without a name
			return err
		}
	}
	if err := errors.Join(maker.take(fresh), c.initdb(ctx, maker, fresh)); err != nil {
		return err
	}
	if maker != c.account {
		if err := c.account.takeAll(fresh); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, c.data()); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(c.data()))
}

func (c *cluster) sweepUnfinished() error {
	rests, err := filepath.Glob(filepath.Join(filepath.Dir(c.data()), "unfinished-*"))
	for _, rest := range rests {
		err = errors.Join(err, os.RemoveAll(rest))
	}
	return err
}

func (c *cluster) initdb(ctx context.Context, as account, data string) error {
	cmd := c.command(ctx, as, "initdb")
	cmd.Args = append(cmd.Args, "--username="+userName, "--auth=trust", "--encoding=UTF8", "--no-locale",
		"--data-checksums", "--no-instructions")
	if c.noSync {
		cmd.Args = append(cmd.Args, "--no-sync", "--wal-segsize=1") // 1 MiB: less to write and to remove
	}
	if err := cmd.addFolder("-D", data); err != nil {
		return err
	}
	p, err := cmd.launch()
	if err != nil {
		return err
	}
	<-p.ended // bounded: the context kills it
	return p.err
}

// serve starts the server itself, which outlives the context. Settings are given here rather
// than in postgresql.conf, so that a later mergegate's apply to older data too.
func (c *cluster) serve(ctx context.Context, socket string) (*process, error) {
	cmd := c.command(context.WithoutCancel(ctx), c.account, "postgres")
	settings := []string{
		"listen_addresses=", "port=5432", "unix_socket_permissions=0700", "max_connections=100",
		"timezone=UTC", "log_timezone=UTC", "cluster_name=mergegate", c.mark(),
	}
	if c.noSync {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	for _, setting := range settings {
		cmd.Args = append(cmd.Args, "-c", setting)
	}
	if err := errors.Join(cmd.addFolder("-D", c.data()), cmd.addFolder("-k", socket)); err != nil {
		cmd.closeFolders()
		return nil, err
	}
	return cmd.launch()
}

// mark is a setting that PostgreSQL doesn't know and keeps: it names the data folder on the
// command line, where -D may show a descriptor only.
func (c *cluster) mark() string { return "mergegate.data=" + c.data() }

// command is a PostgreSQL program about to be run on a cluster.
type command struct {
	*exec.Cmd
	account account
}

// command prepares a program to run as a user. It gets no variables of ours: PGPORT,
// PGOPTIONS and their like would change what it does.
func (c *cluster) command(ctx context.Context, as account, program string) *command {
	cmd := exec.CommandContext(ctx, filepath.Join(c.programs.dir, program))
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + c.programs.dir + ":/usr/bin:/bin", "LC_ALL=C", "HOME=/"}
	cmd.Stdout, cmd.Stderr = c.log.File, c.log.File
	cmd.SysProcAttr = processAttributes(as)
	return &command{Cmd: cmd, account: as}
}

// addFolder gives the program a folder as an option.
func (c *command) addFolder(option, path string) error {
	path, err := c.passFolder(path)
	if err != nil {
		return err
	}
	c.Args = append(c.Args, option, path)
	return nil
}

// passFolder returns how to name a folder to the program. One that runs as another user gets it
// opened, for it may not be allowed to pass through the folders above, such as root's home.
func (c *command) passFolder(path string) (string, error) {
	if !c.account.other() || !canPassFolders {
		return path, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	c.ExtraFiles = append(c.ExtraFiles, file)
	return fmt.Sprintf("/proc/self/fd/%d", 2+len(c.ExtraFiles)), nil // the first extra file becomes descriptor 3
}

func (c *command) closeFolders() {
	for _, file := range c.ExtraFiles {
		_ = file.Close() // opened for reading only: nothing can be lost
	}
}

// launch runs the program; the folders passed to it are closed on our side.
func (c *command) launch() (*process, error) {
	defer c.closeFolders()
	return launch(c.Cmd)
}

// syncFolder makes a rename in the folder survive a crash of the machine.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
