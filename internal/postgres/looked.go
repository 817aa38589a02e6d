package postgres

import (
	"context"
	"fmt"
	"time"
)

// NoteLooked records that a project's newest builds were read from AppVeyor so long
// ago, counted from when the reading began.
func (s *Store) NoteLooked(ctx context.Context, projectID int64, ago time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE projects SET looked_on = greatest(looked_on, now() - $2::interval) WHERE project_id = $1`, projectID, ago)
	if err != nil {
		return fmt.Errorf("note a look at project %d: %w", projectID, err)
	}
	return nil
}
