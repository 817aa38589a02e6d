package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"mergegate/api"
	"mergegate/internal/app"
	"mergegate/internal/client"
	"mergegate/internal/mergecheck"
	"mergegate/internal/policy"
	"mergegate/internal/server"
	"mergegate/internal/terminal"
)

type policyCommand struct {
	Show     policyShow     `cmd:"" help:"Print the policy in force, or what it means for one branch"`
	Validate policyValidate `cmd:"" help:"Check a policy document; needs no database and no service"`
	Apply    policyApply    `cmd:"" help:"Apply a policy document"`
	Simulate policySimulate `cmd:"" help:"Show what a policy would have made of past merges"`
}

type policyShow struct {
	Effective bool     `help:"Show every setting for a repository and branch, and the rule it comes from"`
	Place     []string `arg:"" optional:"" name:"REPOSITORY BRANCH" help:"With --effective: repository and target branch"`
	Version   int64    `placeholder:"N" help:"Show this version instead of the one in force"`
	JSON      bool     `name:"json" help:"Print JSON, as the API has it"`
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
	return p.withAPI(s.remote, command("policy show"), func(c *client.Client) error {
		workspace, err := s.choose(p.ctx, c)
		switch {
		case errors.Is(err, errNoWorkspace):
			return s.printDefault(p)
		case err != nil:
			return err
		case s.Effective:
			return s.effective(p, c, workspace)
		}
		inForce, err := c.Policy(p.ctx, workspace, s.Version)
		if err != nil {
			return unknown(err, fmt.Sprintf("there is no version %d", s.Version))
		}
		return s.print(p, inForce)
	})
}

// printDefault prints what applies where no workspace is known, as in one that has no
// policy.
func (s policyShow) printDefault(p *program) error {
	if s.Effective {
		settings := new(policy.Document).Explain(s.Place[0], s.Place[1])
		return s.printSettings(p, api.EffectivePolicy{Repository: s.Place[0], Branch: s.Place[1], Settings: server.Settings(settings)})
	}
	return s.print(p, api.Policy{Document: policy.Default})
}

func (s policyShow) print(p *program, inForce api.Policy) error {
	if s.JSON {
		return writeJSON(p.stdout, inForce)
	}
	heading := "No policy is set; this is what applies:"
	if inForce.Version != nil {
		heading = fmt.Sprintf("Version %d, applied by %s on %s:", *inForce.Version, terminal.Plain(text(inForce.AppliedBy)), terminal.Time(inForce.AppliedOn, ""))
	}
	fmt.Fprintln(p.stderr, heading)
	_, err := io.WriteString(p.stdout, inForce.Document)
	return err
}

func (s policyShow) effective(p *program, c *client.Client, workspace string) error {
	effective, err := c.EffectivePolicy(p.ctx, workspace, s.Place[0], s.Place[1], s.Version)
	if err != nil {
		return unknown(err, fmt.Sprintf("there is no version %d", s.Version))
	}
	return s.printSettings(p, effective)
}

func (s policyShow) printSettings(p *program, effective api.EffectivePolicy) error {
	if s.JSON {
		return writeJSON(p.stdout, effective)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, setting := range effective.Settings {
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

type policyValidate struct {
	File string `arg:"" help:"Policy document; - reads standard input"`
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
	File string `arg:"" help:"Policy document; - reads standard input"`
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
	return p.withAPI(a.remote, app.Operator{Name: p.operator()}, func(c *client.Client) error {
		workspace, err := a.choose(p.ctx, c)
		if err != nil {
			return err
		}
		before, err := c.Policy(p.ctx, workspace, 0)
		if err != nil {
			return a.unknown(err)
		}
		applied, err := c.ApplyPolicy(p.ctx, workspace, document)
		if err != nil {
			return err
		}
		already := ""
		if before.Version != nil && *before.Version == *applied.Version {
			already = " already"
		}
		_, err = fmt.Fprintf(p.stdout, "version %d is in force%s\n", *applied.Version, already)
		return err
	})
}

type workspaceFlag struct {
	Workspace string `placeholder:"W" help:"Workspace, by slug or UUID; required if mergegate knows several"`
	remote
}

var errNoWorkspace = errors.New("no workspace is known yet: name one by its UUID with --workspace")

// choose is the workspace that is named, else the only one that is known.
func (f workspaceFlag) choose(ctx context.Context, c *client.Client) (string, error) {
	if f.Workspace != "" {
		return f.Workspace, nil
	}
	list, err := c.Workspaces(ctx)
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", errNoWorkspace
	case len(list) == 1:
		return list[0].UUID, nil
	}
	const named = 10
	var names []string
	for _, w := range list[:min(len(list), named)] {
		names = append(names, cmp.Or(text(w.Slug), w.UUID))
	}
	return "", usageError{fmt.Errorf("several workspaces are known: name one with --workspace: %s", terminal.Plain(strings.Join(names, ", ")))}
}

// unknown says what to do about a workspace that isn't known.
func (f workspaceFlag) unknown(err error) error {
	return unknown(err, fmt.Sprintf("workspace %s is not known: name it by its UUID, or wait until something of it was built", terminal.Plain(f.Workspace)))
}
