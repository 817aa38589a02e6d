package mergecheck

import (
	"maps"
	"slices"
	"strings"
)

// Accounts says which AppVeyor account may speak for which Bitbucket workspaces: by
// account in lower case, workspaces by slug or by UUID, both in lower case and without
// braces. The zero value trusts no account.
type Accounts map[string][]string

// String is the mapping as it is configured, in the order of the accounts.
func (a Accounts) String() string {
	var pairs []string
	for _, account := range slices.Sorted(maps.Keys(a)) {
		for _, workspace := range a[account] {
			pairs = append(pairs, account+"="+workspace)
		}
	}
	return strings.Join(pairs, ",")
}

// Known reports whether the account is trusted for any workspace.
func (a Accounts) Known(account string) bool { return len(a[strings.ToLower(account)]) > 0 }

// Names reports whether the account is trusted for the workspace by what it is given as,
// a slug or a UUID.
func (a Accounts) Names(account, workspace string) bool {
	return slices.Contains(a[strings.ToLower(account)], strings.ToLower(workspace))
}

// MaySpeakFor reports whether the account is trusted for a repository whose workspace
// Bitbucket has named. A slug that looks like a UUID never matches: anyone could choose it.
func (a Accounts) MaySpeakFor(account, workspaceUUID, fullName string) bool {
	slug, _, _ := strings.Cut(fullName, "/")
	return a.Names(account, workspaceUUID) || a.MayName(account, slug)
}

// MayName reports whether the account is trusted for the workspace by its slug.
func (a Accounts) MayName(account, slug string) bool {
	return BareUUID(slug) == "" && a.Names(account, slug)
}

// NeedsUUID reports whether the account is trusted for workspaces by UUID, so that the
// slug alone doesn't decide.
func (a Accounts) NeedsUUID(account string) bool {
	return slices.ContainsFunc(a[strings.ToLower(account)], func(w string) bool { return BareUUID(w) != "" })
}
