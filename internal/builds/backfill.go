package builds

import (
	"context"
	"fmt"
	"time"

	"mergegate/internal/appveyor"
	"mergegate/internal/postgres"
)

// Progress is how far a backfill has come.
type Progress struct {
	Looked    int       // builds in the history so far
	Confirmed int       // of these, pull request builds that were new or changed
	At        time.Time // when the last of them was created
}

// Backfill reads a project's history from its newest build back to since and
// confirms the pull request builds in it, as deliveries would have. What is
// recorded already and has not changed is passed over, so that it can be broken
// off and begun again. Errors are AppVeyor's, as *[appveyor.Error], or the
// database's; progress is told after every page.
func (s *Service) Backfill(ctx context.Context, account, slug string, since time.Time, told func(Progress)) error {
	if !s.accounts.Known(account) {
		return fmt.Errorf("%w: %s; see MERGEGATE_APPVEYOR_ACCOUNTS", ErrUntrustedAccount, account)
	}
	var progress Progress
	project := postgres.SeenProject{Account: account, Slug: slug}
	for before := int64(0); ; {
		page, err := s.appveyor.History(ctx, project.Project(), before, historyLength)
		if err != nil {
			return err
		}
		wanted := createdSince(page, since)
		confirmed, _, err := s.reconcilePage(ctx, project, wanted, "backfill")
		if err != nil {
			return err
		}
		progress.Looked += len(wanted)
		progress.Confirmed += confirmed
		if len(wanted) > 0 {
			progress.At = wanted[len(wanted)-1].Build.CreatedOn
		}
		told(progress)
		if len(page) == 0 || len(wanted) < len(page) {
			return nil
		}
		oldest := oldestOf(page)
		if oldest == 0 || before != 0 && oldest >= before {
			return nil // AppVeyor does not page back any further
		}
		before = oldest
	}
}

func createdSince(page []appveyor.Answer, since time.Time) []appveyor.Answer {
	for i, a := range page {
		if a.Build.CreatedOn.Before(since) {
			return page[:i]
		}
	}
	return page
}
