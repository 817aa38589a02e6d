package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"mergegate/internal/doctor"
	"mergegate/internal/mergecheck"
	"mergegate/internal/terminal"
)

type doctorCommand struct {
	Commit string `placeholder:"WORKSPACE/REPO" help:"Also post a commit status in this repository, on the commit SHA"`
	SHA    string `arg:"" optional:"" name:"sha" help:"With --commit: the commit's full hash"`
	JSON   bool   `name:"json" help:"Print a JSON array of checks"`
}

// Help explains what is done, and what stays of it.
func (doctorCommand) Help() string {
	return `Tests what mergegate is configured with, the way serve would use it: run it with the
same environment. Each check is ok, a warning or a fault, and says what to do. The exit
code is 1 where there is a fault.

Nothing is changed, with one exception: --commit posts a successful commit status with
the key mergegate-doctor. Bitbucket cannot delete a status, so that it stays, and counts
for "minimum number of successful builds": name a commit that no pull request ends in.

Examples:
  mergegate doctor
  mergegate doctor --json | jq '.[] | select(.state != "ok")'
  mergegate doctor --commit acme/widgets 9c1ab7e3b0a4d7e6f1f53c6b0a6c1de2f3a4b5c6`
}

// Run examines the configuration and what it leads to.
func (c doctorCommand) Run(p *program) error {
	if (c.Commit == "") != (c.SHA == "") {
		return usageError{errors.New("name the repository and the commit: doctor --commit acme/widgets SHA")}
	}
	if c.Commit != "" {
		if workspace, slug, found := strings.Cut(c.Commit, "/"); !found || workspace == "" || slug == "" || strings.Contains(slug, "/") {
			return usageError{fmt.Errorf("%q is not WORKSPACE/REPO", c.Commit)}
		}
		if !mergecheck.IsFullCommit(c.SHA) {
			return usageError{errors.New("the commit is not a hash of 40 characters")}
		}
	}
	o := doctor.Options{Environ: p.environ, Stderr: p.stderr, Commit: c.Commit, SHA: c.SHA}
	if !c.JSON {
		o.Show = func(f doctor.Finding) { printFinding(p.stdout, f) }
	}
	findings := doctor.Examine(p.ctx, o)
	if c.JSON {
		if err := writeJSON(p.stdout, findings); err != nil {
			return err
		}
	}
	states := map[string]int{}
	for _, f := range findings {
		states[f.State]++
	}
	if !c.JSON {
		fmt.Fprintf(p.stdout, "\n%d ok, %s, %s\n", states[doctor.OK], terminal.Counted(states[doctor.Warning], "warning"), terminal.Counted(states[doctor.Fault], "fault"))
	}
	if states[doctor.Fault] > 0 {
		return errTold
	}
	return nil
}

func printFinding(w io.Writer, f doctor.Finding) {
	fmt.Fprintf(w, "%-8s %s: %s\n", f.State, f.Check, f.Detail)
	if f.Fix != "" {
		fmt.Fprintf(w, "         to do: %s\n", f.Fix)
	}
}
