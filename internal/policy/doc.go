// Package policy reads the policy document of a workspace: one YAML text with
// rules for repositories and branches.
//
//	document, err := policy.Parse([]byte("rules:\n  - {branches: main, freshness: strict}\n"))
//	if err != nil {
//		return err // a policy.Faults: every fault with its line and column
//	}
//	rules := document.For("acme/widgets", "main") // a mergecheck.Policy
//
// Each setting is that of the most specific rule that gives it: a repository
// without wildcards comes before one with, then more literal characters, then
// the same of the branch, then the earlier rule. A setting that no rule gives
// has its default. A setting is never mixed from two rules.
package policy
