package gate

import (
	"context"
	"errors"
	"fmt"

	"mergegate/internal/bitbucket"
	"mergegate/internal/mergecheck"
)

// problem is why a verdict can't be given: what is the case, and what to do about it.
type problem struct {
	// text is a whole sentence where the database or the policy is at fault. Of a head
	// that can't be read it is the reason alone, without a full stop.
	text     string
	nextStep string
}

// The problems that don't depend on an answer of Bitbucket's.
var (
	problemDatabase = problem{"mergegate can't reach its database, so it can't approve this merge.", mergecheck.RetryLater}
	problemLate     = problem{"Bitbucket didn't answer in time", mergecheck.RetryLater}
	problemDown     = problem{"mergegate can't reach Bitbucket", mergecheck.RetryLater}
	problemNoToken  = problem{
		"mergegate has no Bitbucket credential", "Ask your mergegate admin to install the Forge app or to set MERGEGATE_BITBUCKET_TOKEN.",
	}
	problemRateKept = problem{
		"mergegate is keeping the rest of its Bitbucket rate limit for merge checks", "Try again in a few minutes.",
	}
)

// TooManyChecks is the message of a merge check that has to wait for too many others.
const TooManyChecks = "mergegate is busy with other merge checks. Re-run this check in a minute."

const askAdmin = "Ask your mergegate admin to run `mergegate doctor`."

// problemPolicy is for a version of the policy that this program can't read.
func problemPolicy(version int64) problem {
	return problem{
		fmt.Sprintf("mergegate can't read version %d of this workspace's policy.", version),
		"Ask your mergegate admin to apply the policy again with `mergegate policy apply`.",
	}
}

// problemName is for a repository whose name has to be known and can't be read.
func problemName(why problem) problem {
	return problem{"mergegate can't read this repository's name: " + why.text + ".", why.nextStep}
}

// bitbucketProblem says in a few words why Bitbucket couldn't be read, and what to do.
// The log has the whole error.
func (g *Gate) bitbucketProblem(ctx context.Context, client *bitbucket.Client, err error) problem {
	g.log.WarnContext(ctx, "reading Bitbucket failed", "error", err)
	return problemOf(err, client.HasCredential())
}

func problemOf(err error, hasCredential bool) problem {
	var unknown *bitbucket.HeadUnknown
	if errors.As(err, &unknown) {
		return problem{unknown.Cause(), unknown.NextStep}
	}
	var e *bitbucket.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return problemLate
	case !errors.As(err, &e):
		return problemDown
	case e.Temporary():
		return problem{e.Cause(), mergecheck.RetryLater}
	case !hasCredential:
		return problemNoToken
	default:
		return problem{e.Cause(), askAdmin}
	}
}

// storeProblem is for facts that can't be read. The log has the error.
func (g *Gate) storeProblem(ctx context.Context, err error) problem {
	g.log.ErrorContext(ctx, "reading the facts of a merge check failed", "error", err)
	return problemDatabase
}
