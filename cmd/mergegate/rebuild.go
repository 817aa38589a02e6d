package main

import (
	"context"
	"encoding/json"
	"fmt"
)

type rebuildCommand struct {
	pullRequestArgs
	remote
	jsonFlag
}

// Help shows examples.
func (rebuildCommand) Help() string {
	return `Every project of the repository is asked once for a head and a destination head.
It needs a token of AppVeyor that may run builds, and to a running service one of its
own with scope waive.

Examples:
  mergegate rebuild acme/widgets 7
  mergegate rebuild acme/widgets 7 --json`
}

// Run asks AppVeyor to build a pull request again.
func (r rebuildCommand) Run(p *program) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	return p.withAPI(r.remote, p.token("rebuild"), func(ctx context.Context, api *apiClient) error {
		var answer struct{ Values []json.RawMessage }
		if err := api.post(ctx, path+"/rebuild", nil, &answer); err != nil {
			return r.unknown(err)
		}
		type asked struct {
			Project struct{ Slug string }
			BuildID *int64 `json:"build_id"`
			Reason  string
		}
		columns := []string{"PROJECT", "BUILD", "REASON"}
		return printDocuments(p, r.JSON, documents{values: answer.Values}, columns, func(a asked) []any {
			build := "none"
			if a.BuildID != nil {
				build = fmt.Sprint(*a.BuildID)
			}
			return []any{a.Project.Slug, build, a.Reason}
		})
	})
}
