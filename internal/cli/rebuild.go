package cli

import (
	"fmt"

	"mergegate/api"
	"mergegate/internal/client"
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
	pr, err := r.named()
	if err != nil {
		return err
	}
	return p.withAPI(r.remote, command("rebuild"), func(c *client.Client) error {
		list, err := c.Rebuild(p.ctx, pr)
		if err != nil {
			return r.unknown(err)
		}
		columns := []string{"PROJECT", "APPVEYOR BUILD ID", "REASON"}
		return printList(p, r.JSON, list, false, columns, func(a api.Rebuild) []any {
			build := "none"
			if a.BuildID != nil {
				build = fmt.Sprint(*a.BuildID)
			}
			return []any{a.Project.Slug, build, text(a.Reason)}
		})
	})
}
