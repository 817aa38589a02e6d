package gate

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
	"mergegate/internal/mergecheck/messagetest"
)

// TestTexts writes out what a merge check says when something can't be read.
func TestTexts(t *testing.T) {
	t.Parallel()
	open := mergecheck.PullRequest{ID: 7, State: "OPEN", Head: strings.Repeat("a", 40), DestinationBranch: "main"}
	// of is the message of a head that can't be read, whole of one that needs something else.
	of := func(facts string, p problem) messagetest.Row {
		var s Snapshot
		s.set(p)
		v := mergecheck.Evaluate(mergecheck.Facts{PullRequest: s.pullRequest(7), Now: time.Now()})
		return messagetest.Row{Facts: facts, Code: string(v.Code), Message: v.Message, NextStep: v.NextStep}
	}
	whole := func(facts string, p problem) messagetest.Row {
		v := mergecheck.Unanswerable(open, p.text, p.nextStep, time.Now())
		return messagetest.Row{Facts: facts, Code: string(v.Code), Message: v.Message, NextStep: v.NextStep}
	}
	refused := func(status int) problem { return problemOf(&bitbucket.Error{StatusCode: status}, true) }
	covered := map[string]messagetest.Row{
		"problemDatabase": whole("the database is down", problemDatabase),
		"problemPolicy":   whole("the policy in force can't be read", problemPolicy(3)),
		"problemName":     whole("the repository's name can't be read", problemName(refused(403))),
		"problemLate":     of("Bitbucket is slow", problemOf(context.DeadlineExceeded, true)),
		"problemDown":     of("Bitbucket can't be reached", problemOf(errors.New("connection refused"), true)),
		"problemNoToken":  of("mergegate has no credential", problemOf(&bitbucket.Error{StatusCode: 404}, false)),
		"problemRateKept": of("a page is looked at while little of the rate limit is left", problemRateKept),
	}
	var rows []messagetest.Row
	for _, name := range declaredProblems(t) {
		row, ok := covered[name]
		if !ok {
			t.Errorf("no row shows %s", name)
		}
		rows = append(rows, row)
	}
	first, next, _ := strings.Cut(TooManyChecks, ". ")
	rows = append(rows, messagetest.Row{Facts: "too many merge checks at once", Message: first + ". " + next, NextStep: next})
	messagetest.Hold(t, "mergegate can't answer", messagetest.Messages, rows)

	rows = nil
	for _, tt := range []struct {
		facts  string
		status int
	}{
		{facts: "no answer", status: 0},
		{facts: "an answer that isn't Bitbucket's", status: 200},
		{facts: "a redirect", status: 302},
		{facts: "a request that Bitbucket rejects", status: 400},
		{facts: "a credential that Bitbucket rejects", status: 401},
		{facts: "a scope is missing", status: 403},
		{facts: "nothing to see", status: 404},
		{facts: "the rate limit is used up", status: 429},
		{facts: "a fault of Bitbucket's", status: 503},
	} {
		rows = append(rows, of(tt.facts, refused(tt.status)))
	}
	messagetest.Hold(t, "Bitbucket can't be read", messagetest.Messages, rows)
}

// declaredProblems are the problems that problems.go declares, as variables and as
// functions that return one, but those that pass on what Bitbucket answered.
func declaredProblems(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "problems.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name != "problemOf" {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					names = append(names, values.Names[0].Name)
				}
			}
		}
	}
	return names
}
