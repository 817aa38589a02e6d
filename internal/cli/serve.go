package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"mergegate/internal/app"
	"mergegate/internal/config"
)

type serveCommand struct{}

// Help explains serve.
func (serveCommand) Help() string {
	return `Without DATABASE_URL it runs a PostgreSQL of its own under MERGEGATE_DATA_DIR.

Examples:
  mergegate serve
  DATABASE_URL=postgres://mergegate@db/mergegate MERGEGATE_LISTEN=:8080 mergegate serve`
}

// Run serves until the context ends.
func (serveCommand) Run(p *program) error {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	return app.Serve(p.ctx, cfg, app.NewLogger(cfg, p.stderr, slog.LevelInfo), func(string) {})
}

type healthcheckCommand struct{}

// Run asks the service on this machine.
func (healthcheckCommand) Run(p *program) error {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(cfg.Listen) // config.Load checked it
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the service does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the service answers %s", strings.ToLower(res.Status))
	}
	return nil
}
