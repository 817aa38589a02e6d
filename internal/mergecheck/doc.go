// Package mergecheck is the domain of mergegate: AppVeyor builds, the heads of
// pull requests, and the verdict that joins them. It does no I/O, imports only
// the standard library, and every function in it is a pure function of its
// arguments.
//
// Facts become a verdict, and every answer, commit status, page and API
// document renders that one verdict:
//
//	verdict := mergecheck.Evaluate(mergecheck.Facts{
//		PullRequest: pr,       // as Bitbucket tells it now
//		Heads:       heads,    // the 40-character heads seen so far
//		Builds:      builds,   // confirmed by AppVeyor
//		Seen:        projects, // every project seen and not forgotten
//		Policy:      policy,   // the zero value is the default
//		Now:         now,
//	})
//	fmt.Println(verdict.Code, verdict.Message)
//
// Three rules run through it. What is not known is not a pass. Only equal
// 40-character commits are the same commit. Any order and repetition of the
// same observations ends in the same build ([Build.Merge]).
package mergecheck
