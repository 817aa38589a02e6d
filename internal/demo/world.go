package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mergegate/api"
	"mergegate/internal/app"
	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/client"
	"mergegate/internal/config"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/postgres"
)

// Secrets and names of the demo's world. Nothing outside it knows them.
const (
	webhookSecret  = "demo-webhook-secret"
	bitbucketToken = "demo-bitbucket-token"
	repositoryName = "acme/widgets"
	repositoryUUID = "15a31549-1cff-45dc-9d0d-310114c5038b"
	projectID      = 12064
)

// world is the service as in production, and stand-ins for all it talks to.
type world struct {
	appveyor  *appveyortest.Server
	bitbucket *bitbuckettest.Server
	forge     *forgetest.Issuer

	database string // of the caller's server; empty: the service runs its own
	where    string // the database is, for people
	folder   string
	env      map[string]string
	url      string // of the service
	token    string // of its API, scope admin

	lost context.CancelCauseFunc // ends the story when the service ends
	undo []func() error

	newBitbucket func() (*bitbuckettest.Server, error)
}

// newWorld starts a world. Whatever it started is stopped again when it
// fails; else stop does that. lost is called if the service ends by itself.
func newWorld(ctx context.Context, lost context.CancelCauseFunc, o Options) (*world, error) {
	w := &world{lost: lost, newBitbucket: bitbuckettest.New}
	if o.bitbucket != nil {
		w.newBitbucket = o.bitbucket
	}
	var err error
	if w.database, err = config.DatabaseURL(o.Environ); err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{
		w.makeFolder, w.startStandIns, w.fillStandIns, w.setEnvironment, w.makeDatabase, w.startService, w.makeToken,
	} {
		if err := start(ctx); err != nil {
			return nil, errors.Join(err, w.stop())
		}
	}
	return w, nil
}

// stop undoes what was started, the last first. Stopping twice is fine.
func (w *world) stop() error {
	var err error
	for i := len(w.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, w.undo[i]())
	}
	w.undo = nil
	return err
}

func (w *world) makeFolder(context.Context) (err error) {
	if w.folder, err = os.MkdirTemp("", "mergegate-demo-"); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	w.undo = append(w.undo, func() error { return os.RemoveAll(w.folder) })
	return nil
}

func (w *world) startStandIns(context.Context) (err error) {
	if w.appveyor, err = appveyortest.New(); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { w.appveyor.Close(); return nil })
	if w.bitbucket, err = w.newBitbucket(); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { w.bitbucket.Close(); return nil })
	if w.forge, err = forgetest.New(); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { w.forge.Close(); return nil })
	return nil
}

// fillStandIns has one repository at Bitbucket and the AppVeyor project that
// builds it, and besides somebody else's project that claims to build it too.
func (w *world) fillStandIns(context.Context) error {
	w.bitbucket.AllowToken(bitbucketToken, "acme")
	return errors.Join(
		w.bitbucket.AddRepository(bitbuckettest.Repository{
			WorkspaceUUID: forgetest.WorkspaceUUID, UUID: repositoryUUID, FullName: repositoryName,
		}),
		w.bitbucket.AddRepository(bitbuckettest.Repository{
			WorkspaceUUID: "0c3a7799-53ae-4a5b-9e7e-03338980abb5", UUID: "ffe76500-0627-43f6-a9c5-4d6373a5e4eb",
			FullName: "someone/widgets", Private: true,
		}),
		w.appveyor.AddProject(appveyortest.Project{ID: projectID, Account: "acme", Slug: "widgets", RepositoryName: repositoryName}),
		w.appveyor.AddProject(appveyortest.Project{ID: 666, Account: "mallory", Slug: "widgets", RepositoryName: repositoryName}),
	)
}

// setEnvironment makes what an operator would: nothing of the caller's gets in.
func (w *world) setEnvironment(context.Context) error {
	w.env = map[string]string{
		"MERGEGATE_DATA_DIR":                w.folder,
		"MERGEGATE_LISTEN":                  "127.0.0.1:0",
		"MERGEGATE_APPVEYOR_ACCOUNTS":       "acme=acme",
		"MERGEGATE_APPVEYOR_URL":            w.appveyor.URL,
		"MERGEGATE_APPVEYOR_WEBHOOK_SECRET": webhookSecret,
		"MERGEGATE_BITBUCKET_API_URL":       w.bitbucket.URL,
		"MERGEGATE_BITBUCKET_TOKEN":         bitbucketToken,
		"MERGEGATE_FORGE_APP_ID":            forgetest.AppID,
		"MERGEGATE_FORGE_JWKS_URL":          w.forge.URL,
		"MERGEGATE_RECONCILE_INTERVAL":      "1s",
		"MERGEGATE_LOG_FORMAT":              "text",
	}
	return nil
}

// makeDatabase makes a database of the demo's own where the caller names a
// server: nothing that is there already may be disturbed.
func (w *world) makeDatabase(ctx context.Context) error {
	if w.database == "" {
		w.where = "a PostgreSQL of the service's own, in a temporary folder"
		return nil
	}
	scratch, err := postgres.NewScratch(ctx, w.database)
	if err != nil {
		err = fmt.Errorf("the demo wants a database of its own on the server of DATABASE_URL (unset it to do without that server): %w", err)
		if postgres.IsUnavailable(err) {
			return err
		}
		return config.NewError(err)
	}
	w.env["DATABASE_URL"] = scratch.URL
	w.where = scratch.Name + " on the server of DATABASE_URL, dropped at the end"
	w.undo = append(w.undo, scratch.Drop)
	return nil
}

func (w *world) logFile() string { return filepath.Join(w.folder, "service.log") }

// startService runs the service until stop. It goes on when ctx ends, since the
// story ends before the service does.
func (w *world) startService(ctx context.Context) error {
	cfg, err := config.Load(config.EnvironOf(w.env))
	if err != nil {
		return err
	}
	file, err := os.Create(w.logFile())
	if err != nil {
		return fmt.Errorf("make the service's log: %w", err)
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan string, 1), make(chan error, 1)
	go w.serve(serving, cfg, file, ready, ended)
	w.undo = append(w.undo, func() error {
		cancel()
		return errors.Join(<-ended, file.Close())
	})
	select {
	case address := <-ready:
		w.url = "http://" + address
		return nil
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serve is the service itself. How it ended is for whoever asks first: for who
// waits for it to start, else for who stops it.
func (w *world) serve(ctx context.Context, cfg config.Config, log io.Writer, ready chan<- string, ended chan<- error) {
	started := false
	ended <- app.Serve(ctx, cfg, app.NewLogger(cfg, log, slog.LevelInfo), func(address string) { started = true; ready <- address })
	close(ended)
	if started {
		w.lost(errors.New("the service ended in the middle of the story"))
	}
}

// makeToken makes a token as the command does.
func (w *world) makeToken(ctx context.Context) error {
	cfg, err := config.Load(config.EnvironOf(w.env))
	if err != nil {
		return err
	}
	request := api.TokenRequest{Name: "demo", Scopes: []string{api.ScopeAdmin}, Repository: "**", ExpiresOn: new(time.Now().Add(24 * time.Hour))}
	return app.WithAPI(ctx, cfg, slog.New(slog.DiscardHandler), app.Operator{Name: "mergegate demo"}, func(c *client.Client) error {
		token, err := c.CreateToken(ctx, request)
		w.token = token.Secret
		return err
	})
}

// lastLog returns the end of the service's log.
func (w *world) lastLog(lines int) []string {
	content, _ := os.ReadFile(w.logFile()) // shown after a failure, of which it is not the point
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return all[max(0, len(all)-lines):]
}
