package bitbuckettest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/bitbucket"
)

func TestTheClientApproves(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{Token: "ci"})
	ctx := t.Context()
	for _, step := range []struct {
		name   string
		do     func() error
		status int
		shows  string
	}{
		{name: "approve", do: func() error { return client.Approve(ctx, "ws", "repo", 7) }, shows: "approved"},
		{name: "approve again", do: func() error { return client.Approve(ctx, "ws", "repo", 7) }, status: http.StatusConflict, shows: "approved"},
		{name: "request changes", do: func() error { return client.RequestChanges(ctx, "ws", "repo", 7) }, shows: "changes_requested"},
		{name: "unapprove", do: func() error { return client.Unapprove(ctx, "ws", "repo", 7) }, status: http.StatusNotFound, shows: "changes_requested"},
		{name: "withdraw", do: func() error { return client.WithdrawChanges(ctx, "ws", "repo", 7) }},
		{name: "of no pull request", do: func() error { return client.Approve(ctx, "ws", "repo", 9) }, status: http.StatusNotFound},
	} {
		if err := step.do(); statusCode(err) != step.status {
			t.Errorf("%s: %v", step.name, err)
		}
		if shows := server.Participant("ws/repo", 7, "ci"); shows != step.shows {
			t.Errorf("%s: shows %q", step.name, shows)
		}
	}
	noViolations(t, server)
}

func TestTheClientComments(t *testing.T) {
	t.Parallel()
	server := start(t)
	client, other := clientOf(t, server, bitbucket.Config{Token: "ci"}), clientOf(t, server, bitbucket.Config{Token: "other"})
	ctx := t.Context()
	for range 150 { // more than a page
		server.Comment("ws/repo", 7, "other", "noise")
	}
	id, err := client.CreateComment(ctx, "ws", "repo", 7, "with a mark-1")
	if err != nil {
		t.Fatal(err)
	}
	copied := server.Comment("ws/repo", 7, "other", "a copy of mark-1")
	found, err := client.FindComments(ctx, "ws", "repo", 7, "mark-1")
	if diff := cmp.Diff([]int64{id, copied}, found); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if err := client.UpdateComment(ctx, "ws", "repo", 7, id, "changed"); err != nil {
		t.Error(err)
	}
	if err := other.UpdateComment(ctx, "ws", "repo", 7, id, "mine"); statusCode(err) != http.StatusForbidden {
		t.Errorf("another's comment: %v", err)
	}
	if err := client.DeleteComment(ctx, "ws", "repo", 7, id); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"delete": client.DeleteComment(ctx, "ws", "repo", 7, id), "update": client.UpdateComment(ctx, "ws", "repo", 7, id, "x"),
	} {
		if statusCode(err) != http.StatusNotFound {
			t.Errorf("%s a deleted comment: %v", name, err)
		}
	}
	noViolations(t, server)
}

func TestTheClientKeepsTasks(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{Token: "ci"})
	ctx := t.Context()
	id, err := client.CreateTask(ctx, "ws", "repo", 7, "wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.UpdateTask(ctx, "ws", "repo", 7, id, "wait", bitbucket.TaskResolved); err != nil || !server.Tasks("ws/repo", 7)[0].Resolved {
		t.Errorf("%v, %+v", err, server.Tasks("ws/repo", 7))
	}
	for name, since := range map[string]time.Time{"1": time.Now().Add(-time.Minute), "0": time.Now().Add(time.Minute)} {
		found, err := client.FindTasks(ctx, "ws", "repo", 7, "wait", since)
		if err != nil || (name == "1") != (len(found) == 1) {
			t.Errorf("found %v, %v", found, err)
		}
	}
	if err := client.DeleteTask(ctx, "ws", "repo", 7, id); err != nil || len(server.Tasks("ws/repo", 7)) > 0 {
		t.Error(err)
	}
	noViolations(t, server)
}

func TestTheClientReports(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{Token: "ci"})
	ctx := t.Context()
	report := bitbucket.Report{
		Title: "Builds", Details: "One failed", Reporter: "mergegate", Type: "TEST", Result: bitbucket.ReportFailed,
		Link: "https://ci.appveyor.com/x", Data: []bitbucket.ReportData{{Title: "Tests", Type: "NUMBER", Value: 3}},
	}
	for range 2 {
		if err := client.PutReport(ctx, "ws", "repo", head, "mergegate-pr-7", report); err != nil {
			t.Fatal(err)
		}
	}
	if shown := server.Reports("ws/repo", head); len(shown) != 1 || shown[0].Result != "FAILED" || shown[0].Data[0].Value != 3.0 {
		t.Errorf("shows %+v", shown)
	}
	if err := client.PutReport(ctx, "ws", "repo", next, "mergegate-pr-8", report); statusCode(err) != http.StatusNotFound {
		t.Errorf("on a fork's commit: %v", err)
	}
	for range 2 {
		if err := client.DeleteReport(ctx, "ws", "repo", head, "mergegate-pr-7"); err != nil {
			t.Error(err)
		}
	}
	if shown := server.Reports("ws/repo", head); len(shown) > 0 {
		t.Errorf("shows %+v", shown)
	}
	report.Details = strings.Repeat("x", 2001)
	if err := client.PutReport(ctx, "ws", "repo", head, "mergegate-pr-7", report); statusCode(err) != http.StatusBadRequest {
		t.Errorf("too much: %v", err)
	}
	noViolations(t, server)
}

// TestScopes goes by the document's: approving writes, all the rest reads.
func TestScopes(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := clientOf(t, server, bitbucket.Config{Token: "ci"})
	server.AllowToken("ci", "ws")
	ctx := t.Context()
	report := bitbucket.Report{Title: "t", Details: "d", Reporter: "r", Type: "TEST", Result: "PASSED", Data: []bitbucket.ReportData{}}
	for _, tt := range []struct {
		scope                     string
		report, comments, approve bool
	}{
		{scope: "repository", report: true},
		{scope: "pullrequest", report: true, comments: true},
		{scope: "pullrequest:write", report: true, comments: true, approve: true},
		{scope: "webhook"},
	} {
		server.LimitToken("ci", tt.scope)
		_, commented := client.CreateComment(ctx, "ws", "repo", 7, "x")
		for what, got := range map[string]struct {
			err error
			may bool
		}{
			"report":  {client.PutReport(ctx, "ws", "repo", head, "r", report), tt.report},
			"comment": {commented, tt.comments},
			"approve": {client.Approve(ctx, "ws", "repo", 7), tt.approve},
		} {
			if may := statusCode(got.err) != http.StatusForbidden; may != got.may {
				t.Errorf("%s with scope %s: %v", what, tt.scope, got.err)
			}
		}
	}
	noViolations(t, server)
}
