package builds

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"mergegate/internal/postgres"
)

// Accounts says which AppVeyor account may speak for which Bitbucket
// workspaces: by account in lower case, workspaces by slug or by UUID, both in
// lower case and without braces. The zero value trusts nobody.
type Accounts map[string][]string

// ParseAccounts reads "account=workspace,account=workspace,…". A workspace is a
// slug or a UUID, with or without braces.
func ParseAccounts(s string) (Accounts, error) {
	accounts := Accounts{}
	for _, pair := range strings.Split(s, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		account, workspace, found := strings.Cut(pair, "=")
		account, workspace = strings.ToLower(strings.TrimSpace(account)), normalize(workspace)
		if !found || account == "" || workspace == "" || strings.ContainsAny(workspace, "/ ={}") {
			return nil, fmt.Errorf("%q is not account=workspace", pair)
		}
		accounts[account] = append(accounts[account], workspace)
	}
	return accounts, nil
}

func normalize(workspace string) string {
	return strings.ToLower(strings.Trim(strings.TrimSpace(workspace), "{}"))
}

// known reports whether the account is trusted for any workspace.
func (a Accounts) known(account string) bool { return len(a[strings.ToLower(account)]) > 0 }

// mayName reports whether the account is trusted for the workspace by its slug.
func (a Accounts) mayName(account, slug string) bool {
	return slices.Contains(a[strings.ToLower(account)], strings.ToLower(slug))
}

// MaySpeakFor reports whether the account is trusted for a repository that Bitbucket has told.
func (a Accounts) MaySpeakFor(account string, r postgres.Repository) bool {
	workspace, _, _ := strings.Cut(r.FullName, "/")
	return a.mayName(account, r.WorkspaceUUID) || !isUUID(workspace) && a.mayName(account, workspace)
}

// needsUUID reports whether the account is trusted for workspaces by UUID, so
// that the slug alone does not decide.
func (a Accounts) needsUUID(account string) bool {
	return slices.ContainsFunc(a[strings.ToLower(account)], isUUID)
}

func isUUID(s string) bool { return uuid.Validate(s) == nil }
