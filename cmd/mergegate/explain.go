package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"mergegate/internal/postgres"
)

// pullRequestArgs name a pull request.
type pullRequestArgs struct {
	Repository  string `arg:"" placeholder:"WORKSPACE/REPO" help:"The repository, by slugs or UUIDs."`
	PullRequest int64  `arg:"" placeholder:"PR" help:"The pull request's number."`
}

// path is the pull request's in the API.
func (a pullRequestArgs) path() (string, error) {
	repository, err := repositoryPath(a.Repository)
	if err != nil || a.PullRequest <= 0 {
		return "", usageError{errors.New("name the pull request as WORKSPACE/REPO NUMBER")}
	}
	return fmt.Sprintf("%s/pullrequests/%d", repository, a.PullRequest), nil
}

// repositoryPath is the path of "workspace/repo" in the API.
func repositoryPath(name string) (string, error) {
	workspace, slug, found := strings.Cut(name, "/")
	if !found || workspace == "" || slug == "" || strings.Contains(slug, "/") {
		return "", usageError{fmt.Errorf("%q is not WORKSPACE/REPO", name)}
	}
	return "/api/v1/repositories/" + url.PathEscape(workspace) + "/" + url.PathEscape(slug), nil
}

type explainCommand struct {
	pullRequestArgs
	remote
	JSON bool `name:"json" help:"The verdict as the API has it."`
}

// Help shows an example.
func (explainCommand) Help() string {
	return `The exit code is 0 whatever the verdict is.

Examples:
  mergegate explain acme/widgets 7
  MERGEGATE_URL=https://mergegate.example.com MERGEGATE_TOKEN_FILE=token mergegate explain acme/widgets 7 --json`
}

// verdict is what the API tells of a pull request, as far as people are told.
type verdict struct {
	Success     bool
	Code        string
	Message     string
	NextStep    string `json:"next_step"`
	Head        struct{ Commit, Branch string }
	Destination struct{ Branch string }
	Projects    []struct {
		Project  struct{ Slug string }
		Required bool
		Code     string
		Build    *struct{ Version, State, URL string }
	}
	Rules []struct {
		Rule   string
		Met    bool
		Detail string
	}
	WouldChange   []string `json:"would_change"`
	PolicyVersion *int64   `json:"policy_version"`
}

// Run explains a pull request's verdict.
func (e explainCommand) Run(p *program) error {
	path, err := e.path()
	if err != nil {
		return err
	}
	return p.withAPI(e.remote, postgres.Token{Name: "mergegate explain"}, func(ctx context.Context, api *apiClient) error {
		var raw json.RawMessage
		if err := api.get(ctx, path, nil, &raw); err != nil {
			return err
		}
		if e.JSON {
			return printJSON(p.stdout, raw)
		}
		var v verdict
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		return v.print(p.stdout)
	})
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func (v verdict) print(w io.Writer) error {
	word := "BLOCKED"
	if v.Success {
		word = "OK"
	}
	fmt.Fprintf(w, "%s  %s  %s\n", word, v.Code, v.Message)
	if v.NextStep != "" && !strings.Contains(v.Message, v.NextStep) {
		fmt.Fprintln(w, v.NextStep)
	}
	policy := "none"
	if v.PolicyVersion != nil {
		policy = fmt.Sprintf("version %d", *v.PolicyVersion)
	}
	fmt.Fprintf(w, "\nhead %s (%s), into %s; policy %s\n\n", orDash(v.Head.Commit), orDash(v.Head.Branch), orDash(v.Destination.Branch), policy)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROJECT\tREQUIRED\tCODE\tBUILD\tURL")
	for _, project := range v.Projects {
		version, address := "-", "-"
		if project.Build != nil {
			version, address = project.Build.Version, orDash(project.Build.URL)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", project.Project.Slug, yesNo(project.Required), project.Code, version, address)
	}
	fmt.Fprintln(table, "\nRULE\tMET\tDETAIL")
	for _, rule := range v.Rules {
		fmt.Fprintf(table, "%s\t%s\t%s\n", rule.Rule, yesNo(rule.Met), rule.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(v.WouldChange) > 0 {
		fmt.Fprintf(w, "\nWhat would change it:\n  %s\n", strings.Join(v.WouldChange, "\n  "))
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
