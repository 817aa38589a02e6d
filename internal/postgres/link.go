package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"mergegate/internal/mergecheck"
)

// LinkRepository records what Bitbucket told of a repository: its UUIDs and its
// name now. What was kept under the name alone moves to it: builds, projects,
// heads and commit statuses, and so does what was kept under names that it had before.
// Another repository that had the name loses it.
func (s *Store) LinkRepository(ctx context.Context, r Repository, formerly ...string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := lockLinks(ctx, tx); err != nil {
			return err
		}
		for _, name := range append(formerly, r.FullName) {
			if err := lockName(ctx, tx, name, exclusive); err != nil {
				return err
			}
			named := Repository{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, FullName: name}
			if err := s.link(ctx, tx, move{from: unlinked(name), to: named}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("link repository %s: %w", r.FullName, err)
	}
	return nil
}

// lockLinks lets one repository be linked at a time: two that swap their names
// would wait for each other.
func lockLinks(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('link repositories', 0))`)
	return err
}

// move is from the place of a name to the repository that has it.
type move struct{ from, to Repository }

func (m move) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"workspace": m.to.WorkspaceUUID, "repository": m.to.RepositoryUUID, "full_name": m.to.FullName,
		"from_workspace": m.from.WorkspaceUUID, "from_repository": m.from.RepositoryUUID,
	}
}

func (s *Store) link(ctx context.Context, tx pgx.Tx, m move) error {
	var renamed bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM repositories WHERE workspace_uuid = $1 AND repository_uuid = $2 AND full_name IS DISTINCT FROM $3)`,
		m.to.WorkspaceUUID, m.to.RepositoryUUID, m.to.FullName).Scan(&renamed)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM repositories WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`,
		`UPDATE repositories SET full_name = NULL WHERE lower(full_name) = lower(@full_name)
			AND (workspace_uuid, repository_uuid) <> (@workspace::uuid, @repository::uuid)`,
		`INSERT INTO former_names (name, workspace_uuid, repository_uuid)
			SELECT lower(full_name), workspace_uuid, repository_uuid FROM repositories
			WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND lower(full_name) <> lower(@full_name)
			ON CONFLICT (name) DO UPDATE SET workspace_uuid = excluded.workspace_uuid, repository_uuid = excluded.repository_uuid`,
		`DELETE FROM former_names WHERE name = lower(@full_name)`,
		`INSERT INTO repositories (workspace_uuid, repository_uuid, full_name) VALUES (@workspace, @repository, @full_name)
			ON CONFLICT (workspace_uuid, repository_uuid) DO UPDATE SET full_name = excluded.full_name`,
	} {
		if _, err := tx.Exec(ctx, statement, m.args()); err != nil {
			return err
		}
	}
	args := m.args()
	args["most"] = maxMoved
	rows, err := tx.Query(ctx, movedPullRequests, args)
	if err != nil {
		return err
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	// In the order in which recording a build, which may be under another name of
	// the repository, locks them: build, project, status.
	pullRequests, err := moved[int64](ctx, tx, moveBuilds, m)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, moveProjects, m.args()); err != nil {
		return err
	}
	if err := s.moveStatuses(ctx, tx, m); err != nil {
		return err
	}
	if renamed {
		_, err := s.retryRefused(ctx, tx, NameChanges, Refused{WorkspaceUUID: m.to.WorkspaceUUID, RepositoryUUID: m.to.RepositoryUUID})
		if err != nil {
			return err
		}
	}
	withHeads, err := moved[int64](ctx, tx, moveHeads, m)
	if err != nil {
		return err
	}
	if err := s.settleMoved(ctx, tx, m.to, append(pullRequests, withHeads...)); err != nil {
		return err
	}
	return s.wantMoved(ctx, tx, m.to, known)
}

// maxMoved bounds of how many pull requests, the newest, the effects are looked
// at when their repository gets its place.
const maxMoved = 100

const movedPullRequests = `
	SELECT DISTINCT pull_request_id FROM builds
	WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository ORDER BY pull_request_id DESC LIMIT @most`

func (s *Store) wantMoved(ctx context.Context, tx pgx.Tx, r Repository, pullRequests []int64) error {
	slices.Sort(pullRequests)
	for _, id := range pullRequests {
		if err := s.wantEffects(ctx, tx, PullRequestKey{r.WorkspaceUUID, r.RepositoryUUID, id}); err != nil {
			return err
		}
	}
	return nil
}

func moved[T any](ctx context.Context, tx pgx.Tx, statement string, m move) ([]T, error) {
	rows, err := tx.Query(ctx, statement, m.args())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// A project that was seen under both names stays forgotten if it was.
const moveProjects = `
	WITH moved AS (
		DELETE FROM projects WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository
		RETURNING project_id, account, slug, named_by, first_seen_on, forgotten_on
	)
	INSERT INTO projects AS p (workspace_uuid, repository_uuid, project_id, account, slug, named_by, first_seen_on, forgotten_on)
	SELECT @workspace, @repository, * FROM moved
	ON CONFLICT (workspace_uuid, repository_uuid, project_id) DO UPDATE SET
		account = CASE WHEN p.named_by < excluded.named_by THEN excluded.account ELSE p.account END,
		slug = CASE WHEN p.named_by < excluded.named_by THEN excluded.slug ELSE p.slug END,
		named_by = greatest(p.named_by, excluded.named_by),
		first_seen_on = least(p.first_seen_on, excluded.first_seen_on)`

// moveBuilds returns the pull requests of builds that heads may be found for.
const moveBuilds = `
	WITH moved AS (
		UPDATE builds SET workspace_uuid = @workspace, repository_uuid = @repository
		WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository
		RETURNING pull_request_id, reported_commit
	)
	SELECT DISTINCT pull_request_id FROM moved WHERE length(reported_commit) < 40`

// moveHeads returns the pull requests that got heads.
const moveHeads = `
	WITH moved AS (
		DELETE FROM pull_request_heads WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository
		RETURNING pull_request_id, first_seen_on, commit, last_seen_on
	)
	INSERT INTO pull_request_heads (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit, last_seen_on)
	SELECT @workspace, @repository, * FROM moved ON CONFLICT DO NOTHING
	RETURNING pull_request_id`

// joinStatuses finds statuses that both places have, as after a rename: the one
// kept under the name alone goes, and the other waits for whoever is posting it.
const joinStatuses = `
	WITH gone AS (
		DELETE FROM commit_statuses f USING commit_statuses t
		WHERE f.workspace_uuid = @from_workspace AND f.repository_uuid = @from_repository
			AND t.workspace_uuid = @workspace AND t.repository_uuid = @repository AND t.commit = f.commit AND t.key = f.key
		RETURNING f.leased_until, t.id
	)
	UPDATE commit_statuses s SET leased_until = greatest(s.leased_until, gone.leased_until) FROM gone
	WHERE s.id = gone.id RETURNING s.id`

const moveStatuses = `
	UPDATE commit_statuses SET workspace_uuid = @workspace, repository_uuid = @repository
	WHERE workspace_uuid = @from_workspace AND repository_uuid = @from_repository`

// renameStatuses has what is still to be posted posted under the new name.
const renameStatuses = `
	UPDATE commit_statuses SET repository = @full_name, source_repository =
		CASE WHEN lower(source_repository) = lower(repository) THEN @full_name ELSE source_repository END
	WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND repository <> @full_name`

func (s *Store) moveStatuses(ctx context.Context, tx pgx.Tx, m move) error {
	joined, err := moved[int64](ctx, tx, joinStatuses, m)
	if err != nil {
		return err
	}
	for _, statement := range []string{moveStatuses, renameStatuses} {
		if _, err := tx.Exec(ctx, statement, m.args()); err != nil {
			return err
		}
	}
	for _, id := range joined {
		if err := s.joinStatus(ctx, tx, m.to, id); err != nil {
			return err
		}
	}
	return s.stopMoved(ctx, tx, m)
}

// stopMoved ends what is in progress on pull requests that closed before it was
// known which repository they are of.
func (s *Store) stopMoved(ctx context.Context, tx pgx.Tx, m move) error {
	pullRequests, err := moved[int64](ctx, tx, `
		SELECT DISTINCT b.pull_request_id FROM commit_statuses c JOIN builds b USING (workspace_uuid, repository_uuid, build_id)
		WHERE workspace_uuid = @workspace AND repository_uuid = @repository AND c.state = 'INPROGRESS' ORDER BY 1`, m)
	if err != nil {
		return err
	}
	for _, id := range pullRequests {
		if err := s.stopStatuses(ctx, tx, PullRequestKey{m.to.WorkspaceUUID, m.to.RepositoryUUID, id}); err != nil {
			return err
		}
	}
	return nil
}

// joinStatus makes a status that two became that of the newest build, and has it
// posted whatever the two had come to.
func (s *Store) joinStatus(ctx context.Context, tx pgx.Tx, r Repository, id int64) error {
	rows, err := tx.Query(ctx, `
		SELECT `+buildColumns+` FROM builds WHERE workspace_uuid = $1 AND repository_uuid = $2
			AND (pull_request_id, project_id, source_commit) = (
				SELECT b.pull_request_id, b.project_id, c.commit FROM commit_statuses c JOIN builds b USING (workspace_uuid, build_id)
				WHERE c.id = $3)
		ORDER BY build_id DESC LIMIT 1`, r.WorkspaceUUID, r.RepositoryUUID, id)
	newest, err := all[buildRow](rows, err)
	if err != nil {
		return err
	}
	for _, row := range newest {
		waiver, err := waiverFor(ctx, tx, r, row.build())
		if err != nil {
			return err
		}
		if _, err := upsertStatus(ctx, tx, r, row.build(), mergecheck.StatusOf(row.build(), waiver)); err != nil {
			return err
		}
	}
	_, err = s.wantAgain(ctx, tx, id)
	return err
}

// settleMoved queues telling again which heads the pull requests' builds are of,
// where heads are known.
func (s *Store) settleMoved(ctx context.Context, tx pgx.Tx, r Repository, pullRequests []int64) error {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT pull_request_id FROM pull_request_heads
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND pull_request_id = ANY($3) ORDER BY 1`,
		r.WorkspaceUUID, r.RepositoryUUID, pullRequests)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		job := SettleHeads{WorkspaceUUID: r.WorkspaceUUID, RepositoryUUID: r.RepositoryUUID, PullRequestID: id}
		if err := s.enqueue(ctx, tx, job); err != nil {
			return err
		}
	}
	return nil
}
