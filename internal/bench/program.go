package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mergegate/internal/forge/forgetest"
)

// program is one that is measured.
type program struct {
	name, database string
	address        string // where it serves
	memory         string // URL of its memory counters
	environ        []string
	command        *exec.Cmd
	output         string // file
	token          string // of the API
}

// startBare starts this very program as the bare one.
func startBare(ctx context.Context, folder string, d *database, w *world, name string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	p := &program{name: name, database: "bare", address: fmt.Sprintf("127.0.0.1:%d", port), output: filepath.Join(folder, name+".log")}
	p.memory = "http://" + p.address + "/memory"
	p.command = exec.CommandContext(ctx, self, "-serve", name, "-address", p.address, "-database", d.url("bare"), "-keys", w.forge.URL)
	err = p.start(ctx, p.memory)
	return p, err
}

// startMergegate starts the built program as anybody would: on the database, or where own
// isn't "" with a PostgreSQL of its own in that folder.
func startMergegate(ctx context.Context, path, folder string, d *database, w *world, own string) (*program, error) {
	ports := [2]int{}
	for i := range ports {
		var err error
		if ports[i], err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	p := &program{name: "mergegate", database: "mergegate", address: fmt.Sprintf("127.0.0.1:%d", ports[0]), output: filepath.Join(folder, "mergegate.log")}
	admin := fmt.Sprintf("127.0.0.1:%d", ports[1])
	p.memory = "http://" + admin + "/metrics"
	p.environ = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "MERGEGATE_RECONCILE_INTERVAL=24h", // what forget drops isn't looked for
		"MERGEGATE_LISTEN=" + p.address, "MERGEGATE_ADMIN_LISTEN=" + admin, "MERGEGATE_PUBLIC_URL=https://gate.example",
		"MERGEGATE_APPVEYOR_ACCOUNTS=" + account + "=acme", "MERGEGATE_APPVEYOR_URL=" + w.appveyor.URL, "MERGEGATE_APPVEYOR_WEBHOOK_SECRET=" + webhookSecret,
		"MERGEGATE_BITBUCKET_API_URL=" + w.bitbucket.URL, "MERGEGATE_BITBUCKET_TOKEN=" + bitbucketKey,
		"MERGEGATE_FORGE_APP_ID=" + forgetest.AppID, "MERGEGATE_FORGE_JWKS_URL=" + w.forge.URL,
		"MERGEGATE_SECRET_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}
	if own == "" {
		p.environ = append(p.environ, "DATABASE_URL="+d.url("mergegate"), "MERGEGATE_DATA_DIR="+filepath.Join(folder, "data"))
	} else {
		p.environ = append(p.environ, "MERGEGATE_DATA_DIR="+own)
	}
	p.command = exec.CommandContext(ctx, path, "serve")
	p.command.Env = p.environ
	err := p.start(ctx, "http://"+p.address+"/readyz")
	return p, err
}

// start returns once the program answers at url.
func (p *program) start(ctx context.Context, url string) error {
	output, err := os.Create(p.output)
	if err != nil {
		return err
	}
	defer output.Close() //nolint:errcheck // the program has it open
	p.command.Stdout, p.command.Stderr = output, output
	p.command.Cancel = func() error { return p.command.Process.Signal(syscall.SIGTERM) }
	p.command.WaitDelay = 10 * time.Second
	if err := p.command.Start(); err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, err = get(deadline, url); err == nil {
			return nil
		}
		select {
		case <-deadline.Done():
			text, _ := os.ReadFile(p.output) // what it said is wanted, but not needed
			return fmt.Errorf("%s isn't ready: %w: %s", p.name, err, text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop ends the program, and waits until it has ended.
func (p *program) stop() {
	if p == nil || p.command == nil || p.command.Process == nil {
		return
	}
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait() // it was told to end
}

func (p *program) pid() int { return p.command.Process.Pid }

// counter is the sum of a metric's series; zero where there is none.
func (p *program) counter(ctx context.Context, name string) (sum float64, err error) {
	text, err := get(ctx, p.memory)
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if labelled, _, _ := strings.Cut(series, "{"); ok && labelled == name {
			n, parseErr := strconv.ParseFloat(value, 64)
			sum, err = sum+n, errors.Join(err, parseErr)
		}
	}
	return sum, err
}

// readToken makes an API token that reads, by the command that makes them.
func (p *program) readToken(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.command.Path, "token", "create", "--name", "bench", "--scope", "read")
	cmd.Env = p.environ
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("make an API token: %w: %s", err, output)
	}
	p.token = strings.TrimSpace(string(output))
	return nil
}

// get reads what answers with 200.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d: %.300s", url, response.StatusCode, text)
	}
	return string(text), err
}
