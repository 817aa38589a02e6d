package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// pullRequestArgs name a pull request.
type pullRequestArgs struct {
	Repository  string `arg:"" name:"workspace/repo" help:"The repository, by slugs or UUIDs."`
	PullRequest int64  `arg:"" name:"pr" help:"The pull request's number."`
}

// path is the pull request's in the API.
func (a pullRequestArgs) path() (string, error) {
	repository, err := repositoryPath(a.Repository)
	if err != nil || a.PullRequest <= 0 {
		return "", usageError{errors.New("name the pull request as WORKSPACE/REPO NUMBER")}
	}
	return fmt.Sprintf("%s/pullrequests/%d", repository, a.PullRequest), nil
}

// unknown names the repository, where it is what isn't known.
func (a pullRequestArgs) unknown(err error) error { return unknownRepository(err, a.Repository) }

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
	jsonFlag
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
			return e.unknown(err)
		}
		if e.JSON {
			return writeJSON(p.stdout, raw)
		}
		var v verdict
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		return v.print(p.stdout)
	})
}

func (v verdict) print(w io.Writer) error {
	word := "BLOCKED"
	if v.Success {
		word = "OK"
	}
	fmt.Fprintf(w, "%s  %s  %s\n", word, v.Code, mergecheck.OneLine(v.Message, longestMessage))
	if v.NextStep != "" && !strings.Contains(v.Message, v.NextStep) {
		fmt.Fprintln(w, mergecheck.OneLine(v.NextStep, longestMessage))
	}
	policy := "none"
	if v.PolicyVersion != nil {
		policy = fmt.Sprintf("version %d", *v.PolicyVersion)
	}
	fmt.Fprintf(w, "\nhead %s (%s), into %s; policy %s\n\n",
		orDash(plain(v.Head.Commit)), orDash(plain(v.Head.Branch)), orDash(plain(v.Destination.Branch)), policy)
	if err := v.printTables(w); err != nil {
		return err
	}
	if len(v.WouldChange) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWhat would change it:")
	for _, change := range v.WouldChange {
		fmt.Fprintf(w, "  %s\n", mergecheck.OneLine(change, longestMessage))
	}
	return nil
}

// longestMessage is what a merge check's message may have, and what is said with it.
const longestMessage = 500

func (v verdict) printTables(w io.Writer) error {
	projects := newTable(w, "PROJECT", "REQUIRED", "CODE", "BUILD", "URL")
	for _, project := range v.Projects {
		var version, address string
		if project.Build != nil {
			version, address = project.Build.Version, project.Build.URL
		}
		projects.row(project.Project.Slug, yesNo(project.Required), project.Code, version, address)
	}
	if err := projects.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rules := newTable(w, "RULE", "MET", "DETAIL")
	for _, rule := range v.Rules {
		rules.row(rule.Rule, yesNo(rule.Met), rule.Detail)
	}
	return rules.flush()
}
