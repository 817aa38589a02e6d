package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"mergegate/internal/builds"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
	"mergegate/internal/server/servertest"
)

// TestPagesShowEachBuildOnce follows pages while builds come in, newer and older
// ones: each that was there at the start is seen exactly once.
func TestPagesShowEachBuildOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store, err := postgres.Open(t.Context(), w.Database, postgres.Options{})
	w.Must(err)
	defer store.Close()
	w.Must(store.LinkRepository(t.Context(), postgres.Repository{WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID, FullName: repository}))
	const there = 120
	for i := range there {
		w.Must(recordNumbered(t.Context(), store, int64(1000+10*i)))
	}
	w.Must(reportNumbered(t.Context(), store, 1005))

	ctx, stop := context.WithCancel(t.Context())
	var adding sync.WaitGroup
	adding.Go(func() {
		for ctx.Err() == nil { // until everybody has seen the last page
			_ = recordNumbered(ctx, store, 1000+rand.Int64N(there*10+500)) //nolint:gosec // chance, no secret
		}
	})
	for _, query := range []string{"?pagelen=7", "?pagelen=1&state=success", "?pagelen=100", "?pagelen=13&project=acme%2Fwidgets", "?pagelen=11&since=2020-01-01"} {
		seen := map[int64]int{}
		for next := servertest.ReportsPath + query; next != ""; {
			var page struct {
				Values []struct {
					BuildID int64 `json:"build_id"`
				}
				Next string
			}
			res := w.Fetch(next)
			w.Must(json.Unmarshal(res.Body, &page))
			for _, b := range page.Values {
				seen[b.BuildID]++
			}
			u, err := url.Parse(page.Next)
			w.Must(err)
			if next = ""; page.Next != "" {
				next = u.RequestURI()
			}
		}
		for i := range there {
			if n := seen[int64(1000+10*i)]; n != 1 {
				t.Errorf("%s: build %d was seen %d times", query, 1000+10*i, n)
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s: build %d was seen %d times", query, id, n)
			}
		}
	}
	stop()
	adding.Wait()
}

func numbered(id int64) mergecheck.Build {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return mergecheck.Build{
		BuildID: id, Project: mergecheck.Project{ID: 12064, Account: "acme", Slug: "widgets"}, Repository: repository, PullRequestID: id % 7,
		State: mergecheck.Success, ReportedCommit: fmt.Sprintf("%040x", id), SourceCommit: fmt.Sprintf("%040x", id), DestinationBranch: "main",
		CreatedOn: now, FinishedOn: now, UpdatedOn: now, ConfirmedBy: mergecheck.ConfirmedByAppVeyor,
	}
}

func recordNumbered(ctx context.Context, store *postgres.Store, id int64) error {
	_, err := builds.Record(ctx, store, numbered(id), 0, false)
	return err
}

func reportNumbered(ctx context.Context, store *postgres.Store, id int64) error {
	b := numbered(id)
	b.ConfirmedBy = mergecheck.ConfirmedByReport
	token, err := store.AddToken(ctx, postgres.Token{Name: "t", Scopes: []string{"report"}, Repository: "**", ReportProject: &b.Project.ID}, []byte("h"))
	if err != nil {
		return err
	}
	_, _, err = store.RecordResultReport(ctx, postgres.Repository{WorkspaceUUID: workspaceUUID, RepositoryUUID: repositoryUUID}, postgres.ResultReport{Build: b, Attempt: 1, TokenID: token})
	return err
}
