package server_test

import (
	"testing"

	"go.uber.org/goleak"

	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// world is one with what only tests of this package do in it.
type world struct{ *servertest.World }

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	return &world{servertest.New(t, env...)}
}

func idleWorld(t *testing.T, env ...string) *world {
	t.Helper()
	return &world{servertest.Idle(t, env...)}
}

func linked(t *testing.T, policy string, env ...string) *world {
	t.Helper()
	return &world{servertest.Linked(t, policy, env...)}
}

// What nearly every test names.
const (
	repository     = servertest.Repository
	workspaceUUID  = servertest.WorkspaceUUID
	repositoryUUID = servertest.RepositoryUUID
)

func commit(digit byte) string { return servertest.Commit(digit) }

func event(trigger string, more ...string) string { return servertest.Event(trigger, more...) }

func bringing(head string) string { return servertest.Bringing(head) }

// traffic is one with what only tests of this package do with it.
type traffic struct{ *servertest.Traffic }

func newTraffic(w *world, pullRequests int) *traffic {
	return &traffic{servertest.NewTraffic(w.World, pullRequests)}
}
