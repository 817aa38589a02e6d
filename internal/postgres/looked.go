package postgres

import (
	"context"
	"fmt"
)

// NoteLooked records that a project's newest builds were read from AppVeyor just now.
func (s *Store) NoteLooked(ctx context.Context, projectID int64) error {
	_, err := s.pool.Exec(ctx, `UPDATE projects SET looked_on = now() WHERE project_id = $1`, projectID)
	if err != nil {
		return fmt.Errorf("note a look at project %d: %w", projectID, err)
	}
	return nil
}
