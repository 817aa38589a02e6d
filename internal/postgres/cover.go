package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Cover is what a reader may see of lists that name no repository. The zero value
// covers nothing.
type Cover struct {
	everything   bool
	repositories []string // workspace's and repository's UUIDs, one after the other
}

// Everything covers what can't be told to be of any repository, too.
var Everything = Cover{everything: true}

// Cover covers the repositories whose names match now. A repository that lost its
// name to another is not among them.
func (s *Store) Cover(ctx context.Context, matches func(fullName string) bool) (Cover, error) {
	cover := Cover{repositories: []string{}}
	rows, err := s.pool.Query(ctx, `
		SELECT workspace_uuid::text || repository_uuid::text, full_name FROM repositories WHERE full_name IS NOT NULL`)
	if err != nil {
		return cover, fmt.Errorf("list repositories: %w", err)
	}
	var key, name string
	_, err = pgx.ForEachRow(rows, []any{&key, &name}, func() error {
		if matches(name) {
			cover.repositories = append(cover.repositories, key)
		}
		return nil
	})
	if err != nil {
		return cover, fmt.Errorf("list repositories: %w", err)
	}
	return cover, nil
}

// coveredDelivery is the condition for deliveries d that parameters $1 and $2, a
// cover's, let through. An event names its repository by what Bitbucket signed. What
// AppVeyor's webhook says can be written by a build script, so that such a delivery is
// of the repository that the confirmed build is of, and else of none that is known.
const coveredDelivery = `($1 OR (d.workspace_uuid::text || d.repository_uuid::text) = ANY($2)
	OR (SELECT bool_and((b.workspace_uuid::text || b.repository_uuid::text) = ANY($2)) FROM builds b WHERE b.build_id = d.build_id))`

// CoversStatus reports whether a commit status with this id is there and covered.
func (s *Store) CoversStatus(ctx context.Context, cover Cover, id int64) (covered bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox
		WHERE kind = 'commit_status' AND ($1 OR (workspace_uuid::text || repository_uuid::text) = ANY($2)) AND id = $3)`,
		cover.everything, cover.repositories, id).Scan(&covered)
	if err != nil {
		return false, fmt.Errorf("look at commit status %d: %w", id, err)
	}
	return covered, nil
}

// CoversWorkspace reports whether any repository of the workspace is covered.
func (c Cover) CoversWorkspace(workspaceUUID string) bool {
	for _, key := range c.repositories {
		if strings.HasPrefix(key, workspaceUUID) {
			return true
		}
	}
	return c.everything
}
