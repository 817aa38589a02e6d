package cli

import (
	"errors"
	"fmt"
	"log/slog"

	"mergegate/internal/app"
	"mergegate/internal/client"
	"mergegate/internal/config"
	"mergegate/internal/terminal"
)

// remote is where a command finds the service: a running one, or none. Without one the
// service's API answers in this process, on the database that is configured.
type remote struct {
	URL   string `placeholder:"URL" help:"Service to ask, such as https://mergegate.example.com; default MERGEGATE_URL, else the database"`
	Token string `placeholder:"TOKEN" help:"API token of the service; keep it in MERGEGATE_TOKEN or MERGEGATE_TOKEN_FILE instead"`
}

// withAPI gives f the API: of a running service, else of one that exists for this command
// alone, with everything allowed to its operator.
func (p *program) withAPI(r remote, operator app.Operator, f func(c *client.Client) error) error {
	base, token, err := r.resolve(p.environ)
	if err != nil {
		return err
	}
	if base != "" {
		return asUsage(f(client.New(base, token)))
	}
	cfg, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	return app.WithAPI(p.ctx, cfg, app.NewLogger(cfg, p.stderr, slog.LevelError), operator, func(c *client.Client) error { return asUsage(f(c)) })
}

// asUsage makes a fault of whoever called what the API says is one.
func asUsage(err error) error {
	if client.IsRefusedParameter(err) || errors.Is(err, client.ErrRepository) || errors.Is(err, client.ErrLimit) {
		return usageError{err}
	}
	return err
}

// command is who does what a command does, where nobody is named.
func command(name string) app.Operator { return app.Operator{Name: "mergegate " + name} }

// resolve is the service to ask and the token to ask with, "" for none.
func (r remote) resolve(environ config.Environ) (base, token string, err error) {
	service, err := config.LoadService(environ, config.Service{URL: r.URL, Token: r.Token})
	if err != nil || service.URL == "" {
		return "", "", err
	}
	if service.Token == "" {
		return "", "", usageError{errors.New("MERGEGATE_TOKEN is empty; make a token with mergegate token create where the service runs")}
	}
	return service.URL, service.Token, nil
}

// unknownRepository says what to do about a repository that the API doesn't know.
func unknownRepository(err error, name string) error {
	return unknown(err, fmt.Sprintf("repository %s is not known: nothing of it was built or asked yet, or the token does not cover it; mergegate projects list shows what is",
		terminal.Plain(name)))
}

// unknown says in other words that something isn't there, and leaves other errors as they
// are.
func unknown(err error, words string) error {
	if client.IsNotFound(err) {
		return errors.New(words)
	}
	return err
}

// operator is who runs a command, as far as the machine tells.
func (p *program) operator() string {
	if user := p.environ.Get("USER"); user != "" {
		return "command line of " + user
	}
	return "command line"
}

// progress shows one line that changes on a terminal, and nothing elsewhere.
func (p *program) progress() (show func(line string), done func()) {
	if !terminal.Is(p.stderr) {
		return func(string) {}, func() {}
	}
	raw, shown := terminal.Raw(p.stderr), false
	show = func(line string) {
		shown = true
		fmt.Fprintf(raw, "\r\x1b[K%s", terminal.Plain(line))
	}
	return show, func() {
		if shown {
			fmt.Fprintln(raw)
		}
	}
}
