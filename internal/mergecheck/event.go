package mergecheck

import "time"

// Event is what Bitbucket tells, by Forge or by webhook, of a repository: new
// heads of branches, or a pull request as it is now. Parts that an event doesn't
// have are zero. Events make facts fresher; no verdict is concluded from one.
type Event struct {
	WorkspaceUUID  string // lower case, no braces; "" when not told
	RepositoryUUID string
	FullName       string    // "workspace/repo", "" when not told
	On             time.Time // when it happened, by Bitbucket's clock; zero when not told
	Branches       []BranchHead
	PullRequest    *PullRequestEvent
}

// BranchHead is a branch's new head.
type BranchHead struct {
	Branch string
	Commit string // 40 hex characters
}

// PullRequestEvent is a pull request in an event. Bitbucket abbreviates commits
// there to 12 characters.
type PullRequestEvent struct {
	ID                int64
	State             string
	SourceBranch      string
	SourceCommit      string
	SourceRepository  string // UUID, "" when not told
	DestinationBranch string
	DestinationCommit string
}

// Closed reports whether nothing can be merged any more.
func (e PullRequestEvent) Closed() bool { return !isOpen(e.State) }
