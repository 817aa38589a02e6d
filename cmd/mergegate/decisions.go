package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

type decisionsCommand struct {
	List decisionsList `cmd:"" help:"List the answers that merge checks were given, newest first."`
}

type decisionsList struct {
	Repository  string `arg:"" name:"workspace/repo" help:"The repository, by slugs or UUIDs."`
	PullRequest int64  `arg:"" optional:"" name:"pr" help:"Of this pull request; all of the repository's without."`
	Limit       int    `default:"20" placeholder:"N" help:"At most so many."`
	remote
	jsonFlag
}

// Help shows examples.
func (decisionsList) Help() string {
	return `Each answer is kept with what it was decided from: see --json.

Examples:
  mergegate decisions list acme/widgets
  mergegate decisions list acme/widgets 7 --limit 100 --json`
}

// Run lists decisions.
func (d decisionsList) Run(p *program) error {
	path, err := repositoryPath(d.Repository)
	switch {
	case err != nil:
		return err
	case d.PullRequest < 0:
		return usageError{errors.New("name the pull request by its number")}
	case d.PullRequest > 0:
		path += fmt.Sprintf("/pullrequests/%d", d.PullRequest)
	}
	return p.withAPI(d.remote, p.token("decisions list"), func(ctx context.Context, api *apiClient) error {
		list, err := api.list(ctx, path+"/decisions", url.Values{}, d.Limit)
		if err != nil {
			return unknownRepository(err, d.Repository)
		}
		type decision struct {
			ID, Trigger, Code, Message, Head string
			Success                          bool
			PullRequest                      int64     `json:"pullrequest"`
			CreatedOn                        time.Time `json:"created_on"`
		}
		columns := []string{"ID", "WHEN", "PR", "TRIGGER", "PASSED", "CODE", "HEAD", "MESSAGE"}
		return printDocuments(p, d.JSON, list, columns, func(d decision) []any {
			return []any{d.ID, when(&d.CreatedOn, ""), d.PullRequest, d.Trigger, yesNo(d.Success), d.Code, short(d.Head), d.Message}
		})
	})
}
