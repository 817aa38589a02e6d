package mergecheck_test

import (
	"testing"

	"mergegate/internal/mergecheck"
)

func TestAccountsThatMaySpeak(t *testing.T) {
	t.Parallel()
	const acme, other = "b7ea02c9-0871-4858-a2a6-a190d7de977c", "0c3a7799-53ae-4a5b-9e7e-03338980abb5"
	accounts := mergecheck.Accounts{"acme": {"team", "second"}, "byid": {acme}}
	tests := []struct {
		name, account, workspaceUUID, fullName string
		want                                   bool
	}{
		{name: "by slug", account: "acme", workspaceUUID: other, fullName: "team/widgets", want: true},
		{name: "by another slug", account: "ACME", workspaceUUID: other, fullName: "Second/widgets", want: true},
		{name: "by UUID", account: "byid", workspaceUUID: acme, fullName: "team/widgets", want: true},
		{name: "by UUID of a repository without a name", account: "byid", workspaceUUID: acme, want: true},
		{name: "another workspace", account: "acme", workspaceUUID: acme, fullName: "elsewhere/widgets"},
		{name: "another UUID", account: "byid", workspaceUUID: other, fullName: "team/widgets"},
		{name: "a slug that is somebody's UUID", account: "byid", workspaceUUID: other, fullName: acme + "/widgets"},
		{name: "another account", account: "mallory", workspaceUUID: acme, fullName: "team/widgets"},
		{name: "no account", workspaceUUID: acme, fullName: "team/widgets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := accounts.MaySpeakFor(tt.account, tt.workspaceUUID, tt.fullName); got != tt.want {
				t.Errorf("may speak: %v, want %v", got, tt.want)
			}
			if mergecheck.Accounts(nil).MaySpeakFor(tt.account, tt.workspaceUUID, tt.fullName) {
				t.Error("the zero value trusts somebody")
			}
		})
	}
}
