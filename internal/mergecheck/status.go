package mergecheck

import (
	"fmt"
	"strconv"
	"strings"
)

// The states of a Bitbucket commit status.
const (
	StatusInProgress = "INPROGRESS"
	StatusSuccessful = "SUCCESSFUL"
	StatusFailed     = "FAILED"
	StatusStopped    = "STOPPED"
)

// MaxStatusKey is how long Bitbucket lets a commit status key be.
const MaxStatusKey = 40

// Bitbucket's limits for the texts of a commit status. Its OpenAPI document has
// none; it answers 400 to a key over 40 characters, and others who post statuses
// found it to refuse a URL from 450 characters on
// (https://github.com/jenkinsci/bitbucket-branch-source-plugin/pull/928).
const (
	maxStatusName        = 255
	maxStatusDescription = 255
	maxStatusURL         = 449
)

// CommitStatus is what Bitbucket is to show on a source commit.
type CommitStatus struct {
	Key         string
	State       string
	Name        string
	Description string
	URL         string
	Refname     string // the source branch: ties the status to the pull request
}

// StatusNamePrefix begins the name of every commit status of ours.
const StatusNamePrefix = "AppVeyor PR #"

// StatusKey is the commit status key of one project on one pull request. It is
// stable, at most [MaxStatusKey] characters, and different for every pair:
// numbers too long to be written in decimal are written in base 36, never cut.
func StatusKey(projectID, pullRequestID int64) string {
	key := fmt.Sprintf("appveyor-%d-pr-%d", projectID, pullRequestID)
	if len(key) <= MaxStatusKey {
		return key
	}
	return "appveyor." + strconv.FormatInt(projectID, 36) + ".pr." + strconv.FormatInt(pullRequestID, 36)
}

// StatusOf is the commit status that shows b. A live waiver, nil where there is
// none, makes it successful.
func StatusOf(b Build, waiver *Waiver) CommitStatus {
	status := statusOf(b)
	if waiver != nil && b.State != Success {
		status.State = StatusSuccessful
		status.Description = OneLine("Waived "+strings.TrimSuffix(waiver.words(), ".")+". "+statusDescription(b), maxStatusDescription)
	}
	return status
}

// Stopped is the status of a build that decides nothing any more, and says why.
func (s CommitStatus) Stopped(why string) CommitStatus {
	s.State, s.Description = StatusStopped, OneLine(why, maxStatusDescription)
	return s
}

func statusOf(b Build) CommitStatus {
	return CommitStatus{
		Key:         StatusKey(b.Project.ID, b.PullRequestID),
		State:       statusState(b.State),
		Name:        OneLine(fmt.Sprintf(StatusNamePrefix+"%d %s", b.PullRequestID, b.Project.Name()), maxStatusName),
		Description: OneLine(statusDescription(b), maxStatusDescription),
		URL:         statusURL(b.URL),
		Refname:     b.SourceBranch,
	}
}

func statusState(s State) string {
	switch s {
	case Success:
		return StatusSuccessful
	case Failed:
		return StatusFailed
	case Cancelled:
		return StatusStopped
	default:
		return StatusInProgress
	}
}

func statusDescription(b Build) string {
	target := ""
	if b.DestinationBranch != "" {
		target = " for " + b.DestinationBranch
	}
	switch b.State {
	case Success, Failed, Cancelled:
		return fmt.Sprintf("Build %s%s %s%s", b.Version, target, ended(b), testsOf(b, b.State))
	default:
		return fmt.Sprintf("Build %s%s is %s", b.Version, target, b.State)
	}
}

// statusURL leaves out a URL that Bitbucket would refuse: a longer one only
// comes from a project slug that AppVeyor doesn't allow.
func statusURL(url string) string {
	if len(url) > maxStatusURL {
		return ""
	}
	return url
}
