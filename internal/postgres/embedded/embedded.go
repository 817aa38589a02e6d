// Package embedded runs a PostgreSQL of mergegate's own as a child process, so that the first
// minute needs no database server: the programs come from the machine, the data stays in a folder
// between runs, and only a Unix socket in a private folder leads to it.
//
//	db, err := embedded.Start(ctx, "/var/lib/mergegate", embedded.Options{Log: log})
//	if err != nil {
//		return err
//	}
//	defer db.Stop()
//	pool, err := pgxpool.New(ctx, db.URL())
//
// The child belongs to whoever called Start: a second Start on the folder is refused, and other
// processes reach the running server with Attach. PostgreSQL refuses to run as root, so as root
// the child runs as a user of its own, whom no other program runs as; where the system has none for
// it, as the user postgres, else nobody.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// startTimeout leaves room for crash recovery; a clean start takes 50 ms, initdb a second.
	startTimeout = 60 * time.Second
	// stopTimeout is how long a fast shutdown may take before it becomes an immediate one.
	stopTimeout = 30 * time.Second
	// immediateTimeout bounds each harder way of stopping.
	immediateTimeout = 5 * time.Second
)

var (
	// ErrInUse says that another process runs the PostgreSQL of this folder.
	ErrInUse = errors.New("the data folder is in use by another mergegate")
	// ErrNotRunning says that no PostgreSQL runs on this folder.
	ErrNotRunning = errors.New("no embedded PostgreSQL is running on the data folder")
)

// Options tune Start. The zero value is durable and silent.
type Options struct {
	// Log is told of starts, stops and takeovers; nil is silent. PostgreSQL's own messages go to
	// the file postgres/log in the data folder.
	Log *slog.Logger
	// NoSync gives up durability for speed: a crash of the machine may ruin the data. For tests.
	NoSync bool

	// folders are searched for PostgreSQL's programs; nil means the usual places, then $PATH.
	folders []string
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Server is a running PostgreSQL. Only Start makes one.
type Server struct {
	cluster *cluster
	lock    *os.File
	process *process
	url     string
	log     *slog.Logger

	once    sync.Once
	stopErr error
}

// Start starts the PostgreSQL whose data lives under dir, after initialising it the first time,
// and returns when it answers. It fails with ErrInUse when another process runs it, with a
// *NoBinariesError when the machine has no suitable PostgreSQL, and otherwise with the end of
// PostgreSQL's log. The context bounds only the start.
func Start(ctx context.Context, dir string, opts Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	at, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	lock, err := at.lock()
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock, log: opts.log()}
	if err := s.start(ctx, at, opts); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, at folder, opts Options) error {
	began := time.Now()
	c, err := openCluster(ctx, at, opts)
	if err != nil {
		return err
	}
	s.cluster = c
	if err := c.takeOver(ctx, s.log); err != nil {
		return err
	}
	if err := c.initialise(ctx, s.log); err != nil {
		return c.explain(fmt.Errorf("initialise PostgreSQL: %w", err))
	}
	if err := s.launch(ctx); err != nil {
		return c.explain(fmt.Errorf("start PostgreSQL: %w", err))
	}
	s.log.InfoContext(ctx, "embedded PostgreSQL is running", "version", c.programs.major,
		"folder", at.data(), "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// launch starts the server and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	socket, err := s.cluster.makeSocket(s.cluster.account)
	if err != nil {
		return err
	}
	s.url = connectionURL(socket, databaseName)
	if s.process, err = s.cluster.serve(ctx, socket); err != nil {
		return err
	}
	if err := awaitDatabase(ctx, socket, s.process.ended); err != nil {
		return errors.Join(err, s.process.stop())
	}
	return nil
}

// URL returns the pgx connection URL of the database. It keeps its meaning until Stop.
func (s *Server) URL() string { return s.url }

// Done returns a channel that is closed once the child has ended, by itself or by Stop. Whoever
// sees it closed without having called Stop has lost the database; Stop then tells why.
func (s *Server) Done() <-chan struct{} { return s.process.ended }

// Stop disconnects all clients, shuts the server down in order and gives the folder free. It
// fails when the server had ended by itself or had to be forced. Further calls return the same.
func (s *Server) Stop() error {
	s.once.Do(func() {
		s.stopErr = s.cluster.explain(s.process.stop())
		s.stopErr = errors.Join(s.stopErr, s.release())
		s.log.Info("embedded PostgreSQL has stopped", "folder", s.cluster.data())
	})
	return s.stopErr
}

// release gives back what Start took; the lock comes last, so that whoever gets it finds no rest.
func (s *Server) release() error {
	var err error
	if s.cluster != nil {
		err = errors.Join(s.cluster.removeSocket(), s.cluster.log.Close())
	}
	return errors.Join(err, unlock(s.lock))
}

// explain adds the end of PostgreSQL's log to an error, and what running as another user means.
func (c *cluster) explain(err error) error {
	if err == nil {
		return nil
	}
	if c.account.other() {
		err = fmt.Errorf("%w (it runs as user %s, since PostgreSQL refuses to run as root; if that user "+
			"cannot use %s, choose another folder with MERGEGATE_DATA_DIR)", err, strconv.Quote(c.account.name), c.root)
	}
	if tail := c.log.tail(); tail != "" {
		err = fmt.Errorf("%w\nthe end of %s:\n%s", err, c.logFile(), tail)
	}
	return err
}
