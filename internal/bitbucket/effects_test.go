package bitbucket_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/standin"
)

// TestEffectsTakeNoOtherAnswerForDone has something that isn't Bitbucket answer
// with JSON that says nothing.
func TestEffectsTakeNoOtherAnswerForDone(t *testing.T) {
	t.Parallel()
	const sha = "1111111111111111111111111111111111111111"
	tests := []struct {
		name string
		call func(ctx context.Context, c *bitbucket.Client) error
	}{
		{name: "approve", call: func(ctx context.Context, c *bitbucket.Client) error { return c.Approve(ctx, "ws", "repo", 7) }},
		{name: "unapprove", call: func(ctx context.Context, c *bitbucket.Client) error { return c.Unapprove(ctx, "ws", "repo", 7) }},
		{name: "delete a comment", call: func(ctx context.Context, c *bitbucket.Client) error { return c.DeleteComment(ctx, "ws", "repo", 7, 1) }},
		{name: "delete a report", call: func(ctx context.Context, c *bitbucket.Client) error {
			return c.DeleteReport(ctx, "ws", "repo", sha, "id")
		}},
		{name: "request changes", call: func(ctx context.Context, c *bitbucket.Client) error { return c.RequestChanges(ctx, "ws", "repo", 7) }},
		{name: "create a comment", call: func(ctx context.Context, c *bitbucket.Client) error {
			_, err := c.CreateComment(ctx, "ws", "repo", 7, "text")
			return err
		}},
		{name: "update a comment", call: func(ctx context.Context, c *bitbucket.Client) error {
			return c.UpdateComment(ctx, "ws", "repo", 7, 1, "text")
		}},
		{name: "find comments", call: func(ctx context.Context, c *bitbucket.Client) error {
			_, err := c.FindComments(ctx, "ws", "repo", 7, "text")
			return err
		}},
		{name: "create a task", call: func(ctx context.Context, c *bitbucket.Client) error {
			_, err := c.CreateTask(ctx, "ws", "repo", 7, "text")
			return err
		}},
		{name: "update a task", call: func(ctx context.Context, c *bitbucket.Client) error {
			return c.UpdateTask(ctx, "ws", "repo", 7, 1, "text", bitbucket.TaskResolved)
		}},
		{name: "find tasks", call: func(ctx context.Context, c *bitbucket.Client) error {
			_, err := c.FindTasks(ctx, "ws", "repo", 7, "text", time.Time{})
			return err
		}},
		{name: "put a report", call: func(ctx context.Context, c *bitbucket.Client) error {
			return c.PutReport(ctx, "ws", "repo", sha, "id", bitbucket.Report{Result: bitbucket.ReportPassed})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, err := standin.Start(http.NotFoundHandler())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			server.OnRequest(func(*http.Request) standin.Fault { return standin.Fault{Body: `{"status":"ok"}`} })
			client, err := bitbucket.NewClient(bitbucket.Config{BaseURL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			if err := tt.call(t.Context(), client); err == nil {
				t.Error("it was taken for done")
			}
		})
	}
}
