package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"mergegate/internal/postgres/embedded"
)

const (
	repository = "postgres"
	tag        = "17"
	// lifetime is when the engine stops a container whose test run was killed, in seconds.
	lifetime = 900
)

// startContainer runs PostgreSQL in a container. An image that is there isn't pulled.
func startContainer(ctx context.Context) (string, func() error, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return "", nil, fmt.Errorf("find a container engine: %w", err)
	}
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return "", nil, fmt.Errorf("ask the container engine: %w", err)
	}
	resource, err := pool.RunWithOptions(containerOptions(), func(host *docker.HostConfig) {
		host.AutoRemove = true
		host.Tmpfs = map[string]string{"/var/lib/postgresql/data": ""}
	})
	if err != nil {
		return "", nil, fmt.Errorf("run a PostgreSQL container: %w", err)
	}
	cancel := expire(ctx, pool, resource)
	stop := func() error {
		defer pool.Client.HTTPClient.CloseIdleConnections()
		defer cancel()
		return resource.Close()
	}
	address := containerURL(resource.GetHostPort("5432/tcp"))
	if err := pool.Retry(func() error { return ping(ctx, address) }); err != nil {
		return "", nil, errors.Join(fmt.Errorf("wait for the PostgreSQL container: %w", err), stop())
	}
	return address, stop, nil
}

// expire has the engine stop the container after its lifetime. The engine answers when it has, and
// some not even then once the container is removed, so the returned function gives up asking.
func expire(ctx context.Context, pool *dockertest.Pool, resource *dockertest.Resource) func() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var asking sync.WaitGroup
	asking.Go(func() { _ = pool.Client.StopContainerWithContext(resource.Container.ID, lifetime, ctx) }) // best effort
	return func() { cancel(); asking.Wait() }
}

// containerOptions give up durability: nothing in the container is to outlive it.
func containerOptions() *dockertest.RunOptions {
	return &dockertest.RunOptions{
		Repository: repository,
		Tag:        tag,
		Env:        []string{"POSTGRES_USER=mergegate", "POSTGRES_PASSWORD=mergegate"},
		Cmd:        []string{"postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"},
	}
}

func containerURL(hostPort string) string {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword("mergegate", "mergegate"),
		Host: hostPort, Path: "/mergegate", RawQuery: "sslmode=disable",
	}
	return address.String()
}

func ping(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

const localPattern = "mergegate-postgrestest-*"

// startLocal runs the PostgreSQL that is installed, with its data in a temporary folder.
func startLocal(ctx context.Context) (string, func() error, error) {
	if err := sweepFolders(os.TempDir(), time.Now().Add(-oldAge)); err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", localPattern)
	if err != nil {
		return "", nil, err
	}
	s, err := embedded.Start(ctx, dir, embedded.Options{NoSync: true})
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s.URL(), func() error { return errors.Join(s.Stop(), os.RemoveAll(dir)) }, nil
}

// sweepFolders removes what test runs that were killed left under parent before the limit.
// Another user's folders are that user's to remove.
func sweepFolders(parent string, limit time.Time) error {
	dirs, err := filepath.Glob(filepath.Join(parent, localPattern))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err == nil && info.ModTime().Before(limit) {
			_ = os.RemoveAll(dir) // best effort: another test binary may be doing the same
		}
	}
	return nil
}
