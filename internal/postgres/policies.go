package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrPolicyChanged is returned where another policy is in force than the one that
// was to be replaced.
var ErrPolicyChanged = errors.New("the policy was changed meanwhile")

// Policy is a version of a workspace's policy document. Version 0 stands for
// none.
type Policy struct {
	Version   int64
	Document  string
	AppliedBy string
	AppliedOn time.Time
}

const policyColumns = `version, document, applied_by, applied_on`

// ApplyPolicy makes document the policy in force, and returns it. The document
// that is in force already stays the version it is.
func (s *Store) ApplyPolicy(ctx context.Context, workspaceUUID, document, appliedBy string) (Policy, error) {
	return s.replacePolicy(ctx, workspaceUUID, document, appliedBy, func(int64) bool { return true })
}

// ReplacePolicy is [Store.ApplyPolicy] where version (0: none) is in force, else
// [ErrPolicyChanged].
func (s *Store) ReplacePolicy(ctx context.Context, workspaceUUID string, version int64, document, appliedBy string) (Policy, error) {
	return s.replacePolicy(ctx, workspaceUUID, document, appliedBy, func(inForce int64) bool { return inForce == version })
}

func (s *Store) replacePolicy(ctx context.Context, workspaceUUID, document, appliedBy string, replaces func(int64) bool) (p Policy, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		// Without it two would count from the same version.
		_, err := tx.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('policy ' || $1::uuid::text, 0))`, workspaceUUID)
		if err != nil {
			return err
		}
		inForce, err := newestPolicy(ctx, tx.db, workspaceUUID)
		switch {
		case err != nil:
			return err
		case !replaces(inForce.Version):
			return ErrPolicyChanged
		case inForce.Version > 0 && inForce.Document == document:
			p = inForce
			return nil
		}
		// now() is when the transaction began, which may have waited for a later one.
		rows, err := tx.db.Query(ctx, `
			INSERT INTO policies (workspace_uuid, version, document, applied_by, applied_on)
			VALUES ($1, $2, $3, $4, clock_timestamp()) RETURNING `+policyColumns,
			workspaceUUID, inForce.Version+1, document, appliedBy)
		if p, err = one[Policy](rows, err); err != nil {
			return err
		}
		return tx.Enqueue(ctx, SpreadEffects{WorkspaceUUID: workspaceUUID})
	})
	if err != nil {
		return Policy{}, fmt.Errorf("apply policy to workspace %s: %w", workspaceUUID, err)
	}
	return p, nil
}

// Policy is the policy in force in a workspace, of version 0 where none is set.
func (s *Store) Policy(ctx context.Context, workspaceUUID string) (Policy, error) {
	p, err := newestPolicy(ctx, s.pool, workspaceUUID)
	if err != nil {
		return p, fmt.Errorf("read policy of workspace %s: %w", workspaceUUID, err)
	}
	return p, nil
}

func newestPolicy(ctx context.Context, db querier, workspaceUUID string) (Policy, error) {
	rows, err := db.Query(ctx, `SELECT `+policyColumns+` FROM policies
		WHERE workspace_uuid = $1 ORDER BY version DESC LIMIT 1`, workspaceUUID)
	p, err := one[Policy](rows, err)
	if errors.Is(err, ErrNotFound) {
		return Policy{}, nil
	}
	return p, err
}

// PolicyVersion is one version of a workspace's policy, in force or not.
func (s *Store) PolicyVersion(ctx context.Context, workspaceUUID string, version int64) (Policy, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+policyColumns+` FROM policies
		WHERE workspace_uuid = $1 AND version = $2`, workspaceUUID, version)
	p, err := one[Policy](rows, err)
	if err != nil {
		return p, fmt.Errorf("read policy version %d of workspace %s: %w", version, workspaceUUID, err)
	}
	return p, nil
}

// Policies lists the versions of a workspace's policy, newest first, at most limit
// of those below before (0: no bound). Their documents are left out.
func (s *Store) Policies(ctx context.Context, workspaceUUID string, before int64, limit int) ([]Policy, error) {
	rows, err := s.pool.Query(ctx, `SELECT version, applied_by, applied_on FROM policies
		WHERE workspace_uuid = $1 AND version < $2 ORDER BY version DESC LIMIT $3`, workspaceUUID, below(before), limit)
	list, err := all[Policy](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list policies of workspace %s: %w", workspaceUUID, err)
	}
	return list, nil
}

// Workspace is a Bitbucket workspace. Slug is "" where none of its repositories
// has a name that is known.
type Workspace struct {
	UUID string
	Slug string
}

// seenWorkspaces are those that anything is known of.
const seenWorkspaces = `
	WITH seen AS (
		SELECT workspace_uuid FROM repositories
		UNION SELECT workspace_uuid FROM policies
		UNION SELECT workspace_uuid FROM pull_requests
		UNION SELECT workspace_uuid FROM app_tokens
	), named AS (
		SELECT workspace_uuid AS uuid, coalesce((SELECT split_part(full_name, '/', 1) FROM repositories r
			WHERE r.workspace_uuid = seen.workspace_uuid AND full_name IS NOT NULL ORDER BY repository_uuid LIMIT 1), '') AS slug
		FROM seen
	)
	SELECT uuid::text AS uuid, slug FROM named `

// Workspaces lists the workspaces that anything is known of, at most limit.
func (s *Store) Workspaces(ctx context.Context, limit int) ([]Workspace, error) {
	rows, err := s.pool.Query(ctx, seenWorkspaces+`ORDER BY slug, uuid LIMIT $1`, limit)
	list, err := all[Workspace](rows, err)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return list, nil
}

// WorkspaceByPath finds the workspace behind an API path: by slug or by UUID,
// braces or not.
func (s *Store) WorkspaceByPath(ctx context.Context, workspace string) (Workspace, error) {
	id := pathUUID(workspace)
	if id == "" {
		var err error
		if id, err = s.WorkspaceUUID(ctx, workspace); err != nil {
			return Workspace{}, err
		}
	}
	if id == "" {
		return Workspace{}, fmt.Errorf("find workspace %s: %w", workspace, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, seenWorkspaces+`WHERE uuid = $1`, id)
	w, err := one[Workspace](rows, err)
	if err != nil {
		return w, fmt.Errorf("find workspace %s: %w", workspace, err)
	}
	return w, nil
}
