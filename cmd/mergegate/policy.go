package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/postgres"
)

type policyCommand struct {
	Show     policyShow     `cmd:"" help:"Print the policy in force, or what it means for one branch."`
	Validate policyValidate `cmd:"" help:"Say what is wrong with a policy document; nothing else is needed for it."`
	Apply    policyApply    `cmd:"" help:"Put a policy document in force."`
	Simulate policySimulate `cmd:"" help:"Judge past merges by a policy that is not in force."`
}

type policyShow struct {
	Effective bool     `help:"Show every setting for a repository and branch, and which rule it is of."`
	Place     []string `arg:"" optional:"" name:"REPOSITORY BRANCH" help:"With --effective: of what."`
	Version   int64    `placeholder:"N" help:"This version instead of the one in force."`
	JSON      bool     `name:"json" help:"As the API has it."`
	workspaceFlag
}

// Help shows examples.
func (policyShow) Help() string {
	return `Where no policy is set, what applies is printed as a document. What is printed
can be changed and applied.

Examples:
  mergegate policy show > policy.yaml
  mergegate policy show --version 3
  mergegate policy show --effective acme/widgets main`
}

// Run prints a policy.
func (s policyShow) Run(p *program) error {
	switch {
	case s.Effective && len(s.Place) != 2:
		return usageError{errors.New("name the repository and the branch: policy show --effective acme/widgets main")}
	case !s.Effective && len(s.Place) > 0:
		return usageError{errors.New("a repository and a branch are for --effective")}
	}
	if s.asks(p) {
		return s.ask(p, func(ctx context.Context, api *apiClient, path string) error {
			query := url.Values{}
			if s.Version > 0 {
				query.Set("version", strconv.FormatInt(s.Version, 10))
			}
			var inForce shownPolicy
			if err := api.get(ctx, path, query, &inForce); err != nil {
				return err
			}
			return s.print(p, postgres.Workspace{Slug: s.Workspace}, inForce)
		})
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		workspace, err := s.choose(ctx, store)
		if err != nil && !errors.Is(err, errNoWorkspace) {
			return err
		}
		inForce, err := s.read(ctx, store, workspace)
		if err != nil {
			return err
		}
		return s.print(p, workspace, inForce)
	})
}

func (s policyShow) print(p *program, w postgres.Workspace, inForce shownPolicy) error {
	switch {
	case s.Effective:
		return s.effective(p.stdout, w, inForce)
	case s.JSON:
		return writeJSON(p.stdout, inForce)
	default:
		fmt.Fprintln(p.stderr, inForce.heading())
		_, err := io.WriteString(p.stdout, inForce.Document)
		return err
	}
}

// shownPolicy has the shape that the API has.
type shownPolicy struct {
	Version   *int64     `json:"version"`
	Document  string     `json:"document"`
	AppliedBy *string    `json:"applied_by"`
	AppliedOn *time.Time `json:"applied_on"`
}

func (p shownPolicy) heading() string {
	if p.Version == nil {
		return "No policy is set; this is what applies:"
	}
	return fmt.Sprintf("Version %d, applied by %s on %s:", *p.Version, plain(*p.AppliedBy), when(p.AppliedOn, ""))
}

// read is the document with its rules; where no policy is set it has none.
func (p shownPolicy) read() (*policy.Document, error) {
	if p.Version == nil {
		return new(policy.Document), nil
	}
	document, err := policy.Parse([]byte(p.Document))
	if err != nil {
		return nil, fmt.Errorf("version %d can't be read any more, so nothing passes by it; apply one that can:\n%w", *p.Version, err)
	}
	return document, nil
}

// read reads the version that is asked for; the defaults where no workspace is
// known, as in one that has no policy.
func (s policyShow) read(ctx context.Context, store *postgres.Store, w postgres.Workspace) (shownPolicy, error) {
	var found postgres.Policy
	var err error
	switch {
	case s.Version > 0:
		found, err = store.PolicyVersion(ctx, w.UUID, s.Version)
		if errors.Is(err, postgres.ErrNotFound) {
			return shownPolicy{}, fmt.Errorf("there is no version %d", s.Version)
		}
	case w.UUID != "":
		found, err = store.Policy(ctx, w.UUID)
	}
	if err != nil || found.Version == 0 {
		return shownPolicy{Document: policy.Default}, err
	}
	return shownPolicy{Version: &found.Version, Document: found.Document, AppliedBy: &found.AppliedBy, AppliedOn: new(found.AppliedOn.UTC())}, nil
}

func (s policyShow) effective(stdout io.Writer, w postgres.Workspace, inForce shownPolicy) error {
	document, err := inForce.read()
	if err != nil {
		return err
	}
	repository, branch := s.Place[0], s.Place[1]
	if !strings.Contains(repository, "/") && w.Slug != "" {
		repository = w.Slug + "/" + repository
	}
	settings := document.Explain(repository, branch)
	if s.JSON {
		return writeJSON(stdout, effectivePolicy{Version: inForce.Version, Repository: repository, Branch: branch, Settings: settings})
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, setting := range settings {
		from := "default"
		if setting.Rule != nil {
			from = fmt.Sprintf("rule %d, line %d", setting.Rule.Number, setting.Rule.Line)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", setting.Name, mergecheck.OneLine(shownValue(setting.Value), longestMessage), from)
	}
	return table.Flush()
}

// shownValue is a value in a form that YAML reads too.
func shownValue(value any) string {
	if s, ok := value.(string); ok && s != "" {
		return s
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // what a document has always marshals
	return strings.TrimSpace(text.String())
}

type effectivePolicy struct {
	Version    *int64           `json:"version"`
	Repository string           `json:"repository"`
	Branch     string           `json:"branch"`
	Settings   []policy.Setting `json:"settings"`
}

type policyValidate struct {
	File string `arg:"" help:"The document; - is standard input."`
}

// Help shows examples.
func (policyValidate) Help() string {
	return `Every fault is printed as FILE:LINE:COLUMN: what is wrong; then the exit code is 1.

Examples:
  mergegate policy validate policy.yaml
  mergegate policy show | mergegate policy validate -`
}

// Run says what is wrong with a document.
func (v policyValidate) Run(p *program) error {
	if _, err := p.readPolicy(v.File); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s is a valid policy\n", v.File)
	return nil
}

// readPolicy reads a document from a file. What is wrong with it is printed.
func (p *program) readPolicy(file string) (string, error) {
	content, err := readFile(file)
	if err != nil {
		return "", err
	}
	_, err = policy.Parse(content)
	var faults policy.Faults
	if !errors.As(err, &faults) {
		return string(content), err
	}
	for _, fault := range faults {
		fmt.Fprintf(p.stderr, "%s:%d:%d: %s\n", file, fault.Line, fault.Column, fault.Message)
	}
	return "", fmt.Errorf("%s is not a valid policy", file)
}

// readFile reads no more than shows that a document is too large.
func readFile(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, policy.MaxSize+1))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, policy.MaxSize+1))
}

type policyApply struct {
	File string `arg:"" help:"The document; - is standard input."`
	workspaceFlag
}

// Help shows examples.
func (policyApply) Help() string {
	return `The document becomes the policy's next version, which decides from the next merge
check on. Older versions are kept.

Examples:
  mergegate policy apply policy.yaml
  mergegate policy show --version 3 | mergegate policy apply -
  mergegate policy apply policy.yaml --workspace '{b7ea02c9-0871-4858-a2a6-a190d7de977c}'`
}

// Run puts a document in force.
func (a policyApply) Run(p *program) error {
	document, err := p.readPolicy(a.File)
	if err != nil {
		return err
	}
	if a.asks(p) {
		return a.ask(p, func(ctx context.Context, api *apiClient, path string) error {
			var before, applied shownPolicy
			if err := api.get(ctx, path, nil, &before); err != nil {
				return err
			}
			if err := api.do(ctx, http.MethodPut, api.base+path, map[string]string{"document": document}, &applied); err != nil {
				return err
			}
			return printApplied(p.stdout, versionOf(before), versionOf(applied))
		})
	}
	return p.withStore(func(ctx context.Context, store *postgres.Store) error {
		workspace, err := a.choose(ctx, store)
		if err != nil {
			return err
		}
		before, err := store.Policy(ctx, workspace.UUID)
		if err != nil {
			return err
		}
		applied, err := store.ApplyPolicy(ctx, workspace.UUID, document, p.operator())
		if err != nil {
			return err
		}
		return printApplied(p.stdout, before.Version, applied.Version)
	})
}

// versionOf is 0 for the defaults.
func versionOf(p shownPolicy) int64 {
	if p.Version == nil {
		return 0
	}
	return *p.Version
}

func printApplied(stdout io.Writer, before, applied int64) error {
	already := ""
	if applied == before {
		already = " already"
	}
	_, err := fmt.Fprintf(stdout, "version %d is in force%s\n", applied, already)
	return err
}

// operator is who runs a command, as far as the machine tells.
func (p *program) operator() string {
	if user := p.getenv("USER"); user != "" {
		return "command line of " + user
	}
	return "command line"
}

type workspaceFlag struct {
	Workspace string `placeholder:"W" help:"The workspace, by slug or UUID; needed where several are known, and for a running service."`
	remote
}

// asks reports whether a running service is to be asked, not the database.
func (f workspaceFlag) asks(p *program) bool { return f.URL != "" || p.getenv("MERGEGATE_URL") != "" }

// ask gives do the API of a running service, and the path of the workspace's policy
// there.
func (f workspaceFlag) ask(p *program, do func(ctx context.Context, api *apiClient, path string) error) error {
	if f.Workspace == "" {
		return usageError{errors.New("name the workspace with --workspace: a running service may have several")}
	}
	return p.withAPI(f.remote, postgres.Token{}, func(ctx context.Context, api *apiClient) error {
		return do(ctx, api, "/api/v1/workspaces/"+url.PathEscape(f.Workspace)+"/policy")
	})
}

var errNoWorkspace = errors.New("no workspace is known yet: name one by its UUID with --workspace")

// choose is the workspace that is named, else the only one there is. One that
// nothing is known of yet can be named by its UUID.
func (f workspaceFlag) choose(ctx context.Context, store *postgres.Store) (postgres.Workspace, error) {
	if f.Workspace == "" {
		return onlyWorkspace(ctx, store)
	}
	w, err := store.WorkspaceByPath(ctx, f.Workspace)
	if !errors.Is(err, postgres.ErrNotFound) {
		return w, err
	}
	if id := mergecheck.BareUUID(f.Workspace); id != "" {
		return postgres.Workspace{UUID: id}, nil
	}
	return w, fmt.Errorf("workspace %s is not known: name it by its UUID, or wait until something of it was built", f.Workspace)
}

func onlyWorkspace(ctx context.Context, store *postgres.Store) (postgres.Workspace, error) {
	const named = 10
	list, err := store.Workspaces(ctx, named)
	switch {
	case err != nil:
		return postgres.Workspace{}, err
	case len(list) == 0:
		return postgres.Workspace{}, errNoWorkspace
	case len(list) == 1:
		return list[0], nil
	}
	names := make([]string, len(list))
	for i, w := range list {
		if names[i] = w.Slug; w.Slug == "" {
			names[i] = "{" + w.UUID + "}"
		}
	}
	return postgres.Workspace{}, usageError{fmt.Errorf("several workspaces are known: name one with --workspace: %s", strings.Join(names, ", "))}
}
