package bitbucket

import (
	"context"
	"net/http"

	"mergegate/internal/mergecheck"
)

// Repository is a repository as Bitbucket names it. UUIDs are in lower case and without braces, "" when not told.
type Repository struct {
	UUID          string
	FullName      string // workspace/slug as it is now; may change
	WorkspaceUUID string // only in answers that have a "workspace" or, older, an "owner" object
}

// Repository reads a repository: the one place to learn which UUID a slug has now, and the other way round.
func (c *Client) Repository(ctx context.Context, workspace, repo string) (Repository, error) {
	op := "get repository " + workspace + "/" + repo
	u, err := c.repositoryURL(op, workspace, repo)
	if err != nil {
		return Repository{}, err
	}
	var answer repositoryAnswer
	if err := c.do(ctx, call{op: op, method: http.MethodGet, url: u}, &answer); err != nil {
		return Repository{}, err
	}
	repository := answer.repository()
	if repository.UUID == "" || repository.FullName == "" {
		return Repository{}, &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer isn't a repository"}
	}
	return repository, nil
}

// repositoryAnswer is the part of Bitbucket's repository schema that is used here.
type repositoryAnswer struct {
	UUID      string      `json:"uuid"`
	FullName  string      `json:"full_name"`
	Workspace *identified `json:"workspace"`
	// Owner is the workspace as Bitbucket called it before it had workspaces; they kept the UUIDs.
	Owner *identified `json:"owner"`
}

type identified struct {
	UUID string `json:"uuid"`
}

func (a *repositoryAnswer) repository() Repository {
	if a == nil {
		return Repository{}
	}
	r := Repository{UUID: mergecheck.BareUUID(a.UUID), FullName: a.FullName}
	for _, place := range []*identified{a.Workspace, a.Owner} {
		if place != nil && r.WorkspaceUUID == "" {
			r.WorkspaceUUID = mergecheck.BareUUID(place.UUID)
		}
	}
	return r
}
