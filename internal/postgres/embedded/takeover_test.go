package embedded

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStartEndsAnEarlierServer(t *testing.T) {
	t.Parallel()
	dir := privateFolder(t)
	s := start(t, dir)
	stop(t, s)
	orphan := serveWithoutLock(t, s.cluster)

	next := start(t, dir)
	<-orphan.ended
	if diff := cmp.Diff("still here", query(t, next.URL(), "select content from kept")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// serveWithoutLock leaves a server on the cluster's data as a process that died would.
func serveWithoutLock(t *testing.T, c *cluster) *process {
	t.Helper()
	log, err := c.openLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child has it
	lone := *c
	lone.log = log
	socket, err := lone.makeSocket(lone.account)
	if err != nil {
		t.Fatal(err)
	}
	p, err := lone.serve(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitDatabase(t.Context(), socket, p.ended); err != nil {
		t.Fatal(err)
	}
	execute(t, connectionURL(socket, databaseName), "create table kept as select 'still here' as content")
	return p
}

// TestRecordedProcess covers what PostgreSQL's record of its process may mean after a crash.
func TestRecordedProcess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, record, want string // want is part of the error; none means a start
	}{
		{name: "its number is another process's now", record: fmt.Sprintf("%d\n", os.Getpid())},
		{name: "it is dead", record: "4194303\n"}, // above what Linux hands out
		{name: "the record is damaged", record: "\n", want: "names no process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := privateFolder(t)
			s := start(t, dir)
			stop(t, s)
			writeFile(t, s.cluster.pidFile(), tt.record, 0o600)
			if err := s.cluster.account.take(s.cluster.pidFile()); err != nil {
				t.Fatal(err)
			}
			next, err := Start(t.Context(), dir, Options{NoSync: true})
			if err == nil {
				stop(t, next)
			}
			if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("Start: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestForeignServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := start(t, privateFolder(t))
	other := *s.cluster
	other.root += "-moved" // recorded in a folder that the running server wasn't started on
	writeFile(t, other.pidFile(), fmt.Sprintf("%d\n", s.process.cmd.Process.Pid), 0o600)
	if err := other.takeOver(t.Context(), s.log); err == nil || !strings.Contains(err.Error(), "did not start") {
		t.Errorf("takeOver: %v, want that the server isn't ours", err)
	}
	if got := query(t, s.URL(), "select 'running'"); got != "running" {
		t.Errorf("the other server is %q", got)
	}
}
