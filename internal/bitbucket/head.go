package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mergegate/internal/mergecheck"
)

// ErrHeadUnknown says that the full SHA of a pull request's source commit can't be told for certain.
var ErrHeadUnknown = errors.New("the head of the pull request can't be told for certain")

const (
	fullHash       = 40  // characters of a SHA-1
	commitsPerPage = 100 // Bitbucket's most
	maxCommitPages = 10
)

// PullRequestHead answers the full, 40-character SHA of pr.Source.Commit, which Bitbucket abbreviates to 12. It is
// looked for among the pull request's commits, all of them: an author can make two commits that share 12 characters,
// so a prefix decides nothing while several fit, and neither does the order of the list.
//
// The error wraps ErrHeadUnknown when the commits don't tell, and *Error when Bitbucket refused.
func (c *Client) PullRequestHead(ctx context.Context, workspace, repo string, pr PullRequest) (string, error) {
	short := mergecheck.CommitHash(pr.Source.Commit)
	if len(short) == fullHash {
		return short, nil
	}
	op := fmt.Sprintf("find the head of pull request %d of %s/%s", pr.ID, workspace, repo)
	if short == "" {
		return "", fmt.Errorf("%s: %w: it has no source commit", op, ErrHeadUnknown)
	}
	u, err := c.repositoryURL(op, workspace, repo, "pullrequests", strconv.FormatInt(pr.ID, 10), "commits")
	if err != nil {
		return "", err
	}
	commits, err := c.commits(ctx, op, u)
	if err != nil {
		return "", err
	}
	head, err := pickHead(commits, short)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	return head, nil
}

// commitGraph has the parents of each commit, by full hash.
type commitGraph map[string][]string

// commits reads every page, or fails: a missing page may hold the commit that makes a prefix ambiguous.
func (c *Client) commits(ctx context.Context, op string, u *url.URL) (commitGraph, error) {
	commits := commitGraph{}
	u.RawQuery = "pagelen=" + strconv.Itoa(commitsPerPage)
	for range maxCommitPages {
		var page commitPage
		if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &page); err != nil {
			return nil, headError(err)
		}
		page.addTo(commits)
		if page.Next == "" {
			return commits, nil
		}
		next, err := url.Parse(page.Next)
		if err != nil || !sameOrigin(next, c.base) {
			return nil, fmt.Errorf("%s: %w: the next page of commits is elsewhere", op, ErrHeadUnknown)
		}
		u = next
	}
	return nil, fmt.Errorf("%s: %w: it has more than %d commits", op, ErrHeadUnknown, maxCommitPages*commitsPerPage)
}

// headError adds ErrHeadUnknown to a 404: that is Bitbucket's answer when the fork of the source branch is gone.
func headError(err error) error {
	var refused *Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrHeadUnknown, err)
	}
	return err
}

type commitPage struct {
	Values []struct {
		Hash    string `json:"hash"`
		Parents []struct {
			Hash string `json:"hash"`
		} `json:"parents"`
	} `json:"values"`
	Next string `json:"next"`
}

func (p commitPage) addTo(commits commitGraph) {
	for _, commit := range p.Values {
		hash := mergecheck.CommitHash(commit.Hash)
		if len(hash) != fullHash {
			continue
		}
		parents := make([]string, 0, len(commit.Parents))
		for _, parent := range commit.Parents {
			parents = append(parents, mergecheck.CommitHash(parent.Hash))
		}
		commits[hash] = parents
	}
}

// pickHead answers the only commit that has the prefix. Of several it is the one that no listed commit builds upon.
func pickHead(commits commitGraph, prefix string) (string, error) {
	var fit, tips []string
	for hash := range commits {
		if !strings.HasPrefix(hash, prefix) {
			continue
		}
		fit = append(fit, hash)
		if !commits.hasChild(hash) {
			tips = append(tips, hash)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(tips) == 1:
		return tips[0], nil
	case len(fit) == 0:
		return "", fmt.Errorf("%w: none of its %d commits begins with %s", ErrHeadUnknown, len(commits), prefix)
	default:
		return "", fmt.Errorf("%w: %d of its commits begin with %s", ErrHeadUnknown, len(fit), prefix)
	}
}

// hasChild takes an abbreviated parent for every commit that it fits: that errs towards not knowing.
func (g commitGraph) hasChild(hash string) bool {
	for _, parents := range g {
		for _, parent := range parents {
			if parent != "" && strings.HasPrefix(hash, parent) {
				return true
			}
		}
	}
	return false
}
