package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"mergegate/internal/mergecheck"
)

// Decision is one answer to a merge check, with what it was decided from.
type Decision struct {
	ID            int64
	PullRequestID int64
	Trigger       string
	Success       bool
	Code          string
	Message       string
	Head          string
	Destination   string
	PolicyVersion *int64
	Builds        []int64
	Inputs        []byte // JSON, see [mergecheck.Facts.Inputs]; nil: there were none
	Checked       string // what AppVeyor said when it was checked again for a merge, "" where it wasn't
	DurationMs    int
	CreatedOn     time.Time
}

// keptDecision is a decision with the pull request that it is on.
type keptDecision struct {
	pullRequest PullRequestKey
	decision    Decision
}

// AddDecision keeps d; it is committed when it returns, with those of others who ask at the
// same time.
func (s *Store) AddDecision(ctx context.Context, pr PullRequestKey, d Decision) error {
	if _, err := s.decisions.do(ctx, keptDecision{pr, d}); err != nil {
		return fmt.Errorf("keep decision on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// AddDecision keeps d with what follows from it.
func (tx *Tx) AddDecision(ctx context.Context, pr PullRequestKey, d Decision) error {
	if err := addDecisions(ctx, tx.db, []keptDecision{{pr, d}}); err != nil {
		return fmt.Errorf("keep decision on pull request %d: %w", pr.PullRequestID, err)
	}
	return nil
}

// addDecisions keeps decisions in their order.
func addDecisions(ctx context.Context, db execer, list []keptDecision) error {
	n := len(list)
	texts := [9][]string{}
	for i := range texts {
		texts[i] = make([]string, n)
	}
	pullRequests, durations, successes := make([]int64, n), make([]int64, n), make([]bool, n)
	versions, inputs := make([]*int64, n), make([]*string, n)
	for i, k := range list {
		d := k.decision
		for column, text := range [...]string{
			k.pullRequest.WorkspaceUUID, k.pullRequest.RepositoryUUID, d.Trigger, d.Code, d.Message, d.Head, d.Destination, arrayOf(d.Builds), d.Checked,
		} {
			texts[column][i] = text
		}
		pullRequests[i], durations[i], successes[i], versions[i] = k.pullRequest.PullRequestID, int64(d.DurationMs), d.Success, d.PolicyVersion
		if d.Inputs != nil {
			inputs[i] = new(string(d.Inputs))
		}
	}
	_, err := db.Exec(ctx, `
		INSERT INTO decisions (workspace_uuid, repository_uuid, pull_request_id, trigger, success, code, message,
			head, destination, policy_version, builds, inputs, checked, duration_ms)
		SELECT workspace, repository, pull_request, trigger, success, code, message, head, destination, version, builds::bigint[], inputs::jsonb, checked, duration
		FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
			$11::text[], $12::text[], $13::text[], $14::bigint[]) WITH ORDINALITY
			AS d(workspace, repository, pull_request, trigger, success, code, message, head, destination, version, builds, inputs, checked, duration, n)
		ORDER BY n`,
		texts[0], texts[1], pullRequests, texts[2], successes, texts[3], texts[4], texts[5], texts[6], versions, texts[7], inputs, texts[8], durations)
	return err
}

// arrayOf is an array of numbers as PostgreSQL writes it, since arrays of one call have to
// be of one length.
func arrayOf(numbers []int64) string {
	text := []byte{'{'}
	for i, n := range numbers {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, n, 10)
	}
	return string(append(text, '}'))
}

const decisionColumns = `id, pull_request_id, trigger, success, code, message, head, destination, policy_version, builds,
	inputs, checked, duration_ms, created_on`

// Decisions lists the answers given for a pull request, or with id 0 for a whole
// repository, newest first, at most limit of those with an id below before (0: no
// bound).
func (s *Store) Decisions(ctx context.Context, pr PullRequestKey, before int64, limit int) ([]Decision, error) {
	where, args := ``, []any{pr.WorkspaceUUID, pr.RepositoryUUID, below(before), limit}
	if pr.PullRequestID != 0 {
		where, args = ` AND pull_request_id = $5`, append(args, pr.PullRequestID)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+decisionColumns+` FROM decisions
		WHERE workspace_uuid = $1 AND repository_uuid = $2 AND id < $3`+where+` ORDER BY id DESC LIMIT $4`, args...)
	list, err := all[Decision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions on pull request %d: %w", pr.PullRequestID, err)
	}
	return list, nil
}

// MergeDecision is the answer to somebody who wanted to merge, with what it was
// decided from.
type MergeDecision struct {
	ID             int64
	RepositoryUUID string
	FullName       string // "" while Bitbucket has not told it
	PullRequestID  int64
	Success        bool
	Code           string
	Inputs         []byte // nil: none were recorded
	CreatedOn      time.Time
}

// Only a check on merging stops a merge; others inform.
const onMerging = `workspace_uuid = $1 AND trigger = '` + mergecheck.TriggerOnMerge + `' AND created_on >= $2`

// MergeDecisions lists a workspace's decisions on merging since a time, oldest
// first, at most limit of those after one of them (zero: from the first).
func (s *Store) MergeDecisions(ctx context.Context, workspaceUUID string, since time.Time, after MergeDecision, limit int) ([]MergeDecision, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, d.repository_uuid, coalesce(full_name, '') AS full_name, pull_request_id, success, code, inputs, d.created_on
		FROM (SELECT * FROM decisions WHERE `+onMerging+` AND (created_on, id) > ($3, $4)
			ORDER BY created_on, id LIMIT $5) d
		LEFT JOIN repositories r USING (workspace_uuid, repository_uuid)
		ORDER BY d.created_on, id`, workspaceUUID, since, after.CreatedOn, after.ID, limit)
	list, err := all[MergeDecision](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list decisions of workspace %s: %w", workspaceUUID, err)
	}
	return list, nil
}

// CountMergeDecisions is how many there are since a time.
func (s *Store) CountMergeDecisions(ctx context.Context, workspaceUUID string, since time.Time) (n int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM decisions WHERE `+onMerging, workspaceUUID, since).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count decisions of workspace %s: %w", workspaceUUID, err)
	}
	return n, nil
}
